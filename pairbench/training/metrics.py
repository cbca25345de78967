"""ROC curves, their areas and thresholds, from scores (N,) and whether each is positive (N,).

The area under the curve is the Mann-Whitney statistic with ties counted as half, as in scikit-learn.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def roc_auc(score: Tensor, positive: Tensor) -> float:
    """The probability that a positive outscores a negative, ties counted as half; NaN if either is missing."""
    score = score.double()
    if score.isnan().any():
        return math.nan
    wins, lost = score[positive], score[~positive].sort().values
    if not len(wins) or not len(lost):
        return math.nan
    below = torch.searchsorted(lost, wins, right=False) + torch.searchsorted(lost, wins, right=True)
    return float(below.sum()) / (2 * len(wins) * len(lost))


def roc_curve(score: Tensor, positive: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """False positive rates, true positive rates and thresholds: one for each distinct score, and one above all.

    A pair counts as the same if its score is at least the threshold. Rates are NaN if an outcome is missing.
    """
    order = score.double().argsort(descending=True)
    score, hit = score.double()[order], positive[order].double()
    last = torch.cat([(score[1:] != score[:-1]).nonzero().flatten(), torch.tensor([len(score) - 1])])
    true = torch.cat([torch.zeros(1, dtype=torch.double), hit.cumsum(0)[last]])
    false = torch.cat([torch.zeros(1, dtype=torch.double), (1 - hit).cumsum(0)[last]])
    return false / false[-1], true / true[-1], torch.cat([torch.tensor([math.inf], dtype=torch.double), score[last]])


def equal_error_rate(score: Tensor, positive: Tensor) -> float:
    """The FPR where the linearly interpolated ROC curve crosses FPR = 1 - TPR; NaN if there is no curve."""
    if not _readable(score, positive):
        return math.nan
    false, true, _ = roc_curve(score, positive)
    gap = false - (1 - true)  # rises from -1 to 1
    after = int((gap >= 0).nonzero()[0])
    share = -gap[after - 1] / (gap[after] - gap[after - 1])
    return float(false[after - 1] + share * (false[after] - false[after - 1]))


def fpr_at_tpr(score: Tensor, positive: Tensor, least: float) -> float:
    """The lowest FPR of a threshold whose TPR is at least `least`; NaN if there is no curve."""
    if not _readable(score, positive):
        return math.nan
    false, true, _ = roc_curve(score, positive)
    return float(false[true >= least].min())


def tpr_at_fpr(score: Tensor, positive: Tensor, most: float) -> float:
    """The highest TPR of a threshold whose FPR is at most `most`; NaN if there is no curve."""
    if not _readable(score, positive):
        return math.nan
    false, true, _ = roc_curve(score, positive)
    return float(true[false <= most].max())


def _readable(score: Tensor, positive: Tensor) -> bool:
    """Whether there is a curve: both outcomes occur, and no score is NaN."""
    return bool(len(score)) and not score.isnan().any() and not bool(positive.all()) and bool(positive.any())


def best_threshold(score: Tensor, positive: Tensor) -> float:
    """The threshold with the highest accuracy, halfway between two scores; the highest if several are equally good."""
    score = score.double()
    order = score.argsort(descending=True)
    ranked, hit = score[order], positive[order].double()
    right = torch.cat([torch.zeros(1, dtype=torch.double), (2 * hit - 1).cumsum(0)])
    allowed = torch.ones(len(ranked) + 1, dtype=torch.bool)
    allowed[1:-1] = ranked[1:] != ranked[:-1]
    cut = int(right.masked_fill(~allowed, -math.inf).argmax())
    if cut == 0:
        return math.inf
    return float(ranked[cut - 1]) if cut == len(ranked) else float(ranked[cut - 1] + ranked[cut]) / 2


def finite_threshold(score: Tensor, positive: Tensor) -> float:
    """`best_threshold` as a finite number: just above the highest score if no pair should count as the same.

    NaN if any score is NaN.
    """
    if score.isnan().any():
        return math.nan
    # Beyond any float32, and far enough from the end of float64 to be added.
    score = score.double().clamp(-1e50, 1e50)
    threshold = best_threshold(score, positive)
    return math.nextafter(float(score.max()), math.inf) if math.isinf(threshold) else threshold


def accuracy_at(score: Tensor, positive: Tensor, threshold: float) -> float:
    """The fraction of pairs that `threshold` classifies correctly."""
    return float(((score.double() >= threshold) == positive).double().mean())


def fold_accuracies(score: Tensor, positive: Tensor, folds: Tensor) -> Tensor:
    """(F,) the accuracy on each of the folds (N,) at the best threshold of the others, as in LFW's protocol."""
    accuracies = []
    for fold in folds.unique():
        held = folds == fold
        accuracies.append(accuracy_at(score[held], positive[held], best_threshold(score[~held], positive[~held])))
    return torch.tensor(accuracies, dtype=torch.double)
