"""The functions that compute the core's metrics from a model's outputs; None where a metric is undefined."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from pairbench.plugin.metric_specs import ScoredPairs
from pairbench.training.metrics import accuracy_at, equal_error_rate, fold_accuracies, fpr_at_tpr, roc_auc, tpr_at_fpr


def accuracy(pairs: ScoredPairs) -> float:
    """The fraction of pairs answered correctly; for votes, as the majority says."""
    return float((pairs.answer == pairs.right).double().mean())


def f1(pairs: ScoredPairs) -> float:
    """2 TP / (2 TP + FP + FN) of outcome 1; 0 if there are no positives and none were predicted."""
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
    """The fraction of images of known class that are classified correctly."""
    assert pairs.class_logits is not None
    known = pairs.classes >= 0
    count = int(known.sum())
    right = (pairs.class_logits.argmax(dim=-1) == pairs.classes) & known
    return int(right.sum()) / count if count else None


def agreement(pairs: ScoredPairs) -> float:
    """The mean fraction of votes that agree with the answer."""
    votes = pairs.target.double()
    return float(torch.where(pairs.answer == 1, votes, 1 - votes).mean())


def swap_consistency(pairs: ScoredPairs) -> float | None:
    """The fraction of examples whose answer is consistent with the one after the images, or candidates, are exchanged.

    For verification the two answers must be equal; for ordering and preference, opposite. If both images of an
    ordering have the same known class, both answers must be outcome 1, "at most". None if an ordering does not have
    exactly two outcomes, since only two can be opposites.
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
    """The lowest FPR at a TPR of at least 0.95."""
    return _existing(fpr_at_tpr(pairs.score, pairs.positive, 0.95))


def tar_at_far_0_1(pairs: ScoredPairs) -> float | None:
    """The highest TPR at an FPR of at most 0.1."""
    return _existing(tpr_at_fpr(pairs.score, pairs.positive, 0.1))


def tar_at_far_0_01(pairs: ScoredPairs) -> float | None:
    """The highest TPR at an FPR of at most 0.01."""
    return _existing(tpr_at_fpr(pairs.score, pairs.positive, 0.01))


def tar_at_far_0_001(pairs: ScoredPairs) -> float | None:
    """The highest TPR at an FPR of at most 0.001."""
    return _existing(tpr_at_fpr(pairs.score, pairs.positive, 0.001))


def threshold(pairs: ScoredPairs) -> float | None:
    """The lowest score that counts as the same."""
    return pairs.threshold


def accuracy_at_threshold(pairs: ScoredPairs) -> float | None:
    """The fraction of pairs that the threshold classifies correctly."""
    assert pairs.threshold is not None
    return None if math.isnan(pairs.threshold) else accuracy_at(pairs.score, pairs.positive, pairs.threshold)


def fold_accuracy(pairs: ScoredPairs) -> float:
    """The mean accuracy on a fold at the best threshold of the other folds."""
    return float(_by_fold(pairs).mean())


def fold_accuracy_std(pairs: ScoredPairs) -> float:
    """The standard deviation of those accuracies."""
    return float(_by_fold(pairs).std())


def _existing(value: float) -> float | None:
    return None if math.isnan(value) else value


def _by_fold(pairs: ScoredPairs) -> Tensor:
    assert pairs.folds is not None
    return fold_accuracies(pairs.score, pairs.positive, pairs.folds)
