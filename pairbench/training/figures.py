"""The core's own metrics: a function for each, from what a model answered; None where a figure does not exist."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from pairbench.plugin.metric_specs import ScoredPairs
from pairbench.training.metrics import accuracy_at, equal_error_rate, fold_accuracies, fpr_at_tpr, roc_auc, tpr_at_fpr


def accuracy(pairs: ScoredPairs) -> float:
    """The share of pairs answered rightly; of votes, as the most of them say."""
    return float((pairs.answer == pairs.right).double().mean())


def f1(pairs: ScoredPairs) -> float:
    """2 TP / (2 TP + FP + FN) of outcome 1; 0 where there is nothing to find and nothing was found."""
    claimed = pairs.answer == 1
    return 2 * int((claimed & pairs.positive).sum()) / max(int(claimed.sum()) + int(pairs.positive.sum()), 1)


def auc(pairs: ScoredPairs) -> float | None:
    """The area under the ROC curve of outcome 1."""
    return _existing(roc_auc(pairs.score, pairs.positive))


def loss(pairs: ScoredPairs) -> float:
    """The mean cross-entropy of the answers, in nats."""
    if not pairs.target.is_floating_point():
        return float(functional.cross_entropy(pairs.logits, pairs.target))
    return float(functional.cross_entropy(pairs.logits, torch.stack([1 - pairs.target, pairs.target], dim=1)))


def total_loss(pairs: ScoredPairs) -> float:
    """The mean of what training minimises."""
    return pairs.total_loss


def class_accuracy(pairs: ScoredPairs) -> float | None:
    """The share of the images of known class that are named rightly."""
    assert pairs.class_logits is not None
    known = pairs.classes >= 0
    count = int(known.sum())
    right = (pairs.class_logits.argmax(dim=-1) == pairs.classes) & known
    return int(right.sum()) / count if count else None


def agreement(pairs: ScoredPairs) -> float:
    """The mean share of votes for outcome 1, or outcomes 0 and 1, that the answers agree with."""
    votes = pairs.target.double()
    return float(torch.where(pairs.answer == 1, votes, 1 - votes).mean())


def swap_consistency(pairs: ScoredPairs) -> float | None:
    """The share of examples whose answer fits the one after the first and second image, or candidate, are exchanged.

    The answers must be equal for verification and opposite for ordering and preference. Where both images of an
    ordering are of the same known class, both answers must be outcome 1, at most. None where an order has other than
    two outcomes, since none is opposite to a third.
    """
    assert pairs.swapped is not None
    answer, other, classes = pairs.answer, pairs.swapped.argmax(dim=1), pairs.classes
    if pairs.task.kind == "verification":
        return float((answer == other).double().mean())
    if pairs.logits.shape[1] != 2:
        return None
    fits = answer != other
    if pairs.task.kind == "ordering":
        alike = (classes[:, 0] == classes[:, 1]) & (classes[:, 0] >= 0)
        fits = torch.where(alike, (answer == 1) & (other == 1), fits)
    return float(fits.double().mean())


def eer(pairs: ScoredPairs) -> float | None:
    """The equal error rate."""
    return _existing(equal_error_rate(pairs.score, pairs.positive))


def fpr95(pairs: ScoredPairs) -> float | None:
    """The lowest FPR at a TPR of 0.95 at least."""
    return _existing(fpr_at_tpr(pairs.score, pairs.positive, 0.95))


def tar_at_far_0_1(pairs: ScoredPairs) -> float | None:
    """The highest TPR at an FPR of 0.1 at most."""
    return _existing(tpr_at_fpr(pairs.score, pairs.positive, 0.1))


def tar_at_far_0_01(pairs: ScoredPairs) -> float | None:
    """The highest TPR at an FPR of 0.01 at most."""
    return _existing(tpr_at_fpr(pairs.score, pairs.positive, 0.01))


def tar_at_far_0_001(pairs: ScoredPairs) -> float | None:
    """The highest TPR at an FPR of 0.001 at most."""
    return _existing(tpr_at_fpr(pairs.score, pairs.positive, 0.001))


def threshold(pairs: ScoredPairs) -> float | None:
    """The score from which on a pair counts as the same."""
    return pairs.threshold


def accuracy_at_threshold(pairs: ScoredPairs) -> float | None:
    """The share of pairs that the threshold tells rightly."""
    assert pairs.threshold is not None
    return None if math.isnan(pairs.threshold) else accuracy_at(pairs.score, pairs.positive, pairs.threshold)


def fold_accuracy(pairs: ScoredPairs) -> float:
    """The mean over the folds of the accuracy on one at the best threshold of the others."""
    return float(_by_fold(pairs).mean())


def fold_accuracy_std(pairs: ScoredPairs) -> float:
    """The standard deviation of those accuracies."""
    return float(_by_fold(pairs).std())


def _existing(value: float) -> float | None:
    return None if math.isnan(value) else value


def _by_fold(pairs: ScoredPairs) -> Tensor:
    assert pairs.folds is not None
    return fold_accuracies(pairs.score, pairs.positive, pairs.folds)
