"""The figures of an evaluation, from scores and targets alone.

The area under the curve is the rank statistic of Mann and Whitney with ties counted as half, as in scikit-learn.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from pairbench.plugin.components import TaskKind


def answer_metrics(logits: Tensor, target: Tensor) -> dict[str, float]:
    """Accuracy, F1 of outcome 1, AUC of outcome 1 and mean cross-entropy of logits (N, O) against targets (N,).

    A float target is the probability of outcome 1; accuracy, F1 and AUC then count its nearer outcome. AUC is NaN
    where only one outcome occurs.
    """
    logits = logits.float()
    if target.is_floating_point():
        soft = torch.stack([1 - target, target], dim=1)
        loss = functional.cross_entropy(logits, soft)
        hard = (target > 0.5).long()
    else:
        loss = functional.cross_entropy(logits, target)
        hard = target
    answer = logits.argmax(dim=1)
    hit = (answer == 1) & (hard == 1)
    claimed, positive = int((answer == 1).sum()), int((hard == 1).sum())
    return {
        "accuracy": float((answer == hard).double().mean()),
        "f1": 2 * int(hit.sum()) / max(claimed + positive, 1),
        "auc": roc_auc(log_odds(logits), hard == 1),
        "loss": float(loss),
    }


def log_odds(logits: Tensor) -> Tensor:
    """The score (N,) float32 of outcome 1 in logits (N, O): the logarithm of its odds against all others."""
    logits = logits.float()
    return logits[:, 1] - torch.cat([logits[:, :1], logits[:, 2:]], dim=1).logsumexp(dim=1)


def agreement(logits: Tensor, target: Tensor) -> float:
    """The mean share of votes (N,) for outcome 1, or outcomes 0 and 1, that the answers of logits (N, 2) agree with."""
    votes = target.double()
    return float(torch.where(logits.argmax(dim=1) == 1, votes, 1 - votes).mean())


def swap_consistency(logits: Tensor, swapped: Tensor, classes: Tensor, kind: TaskKind) -> float:
    """The share of examples whose answer fits the one after the first and second image, or candidate, are exchanged.

    The answers, of logits (N, O) and swapped (N, O), must be equal for verification and opposite for ordering and
    preference. Where classes (N, V) says that both images of an ordering are of the same known class, both answers
    must be outcome 1, at most. NaN where an order has other than two outcomes, since none is opposite to a third.
    """
    answer, other = logits.argmax(dim=1), swapped.argmax(dim=1)
    if kind == "verification":
        return float((answer == other).double().mean())
    if logits.shape[1] != 2:
        return math.nan
    fits = answer != other
    if kind == "ordering":
        alike = (classes[:, 0] == classes[:, 1]) & (classes[:, 0] >= 0)
        fits = torch.where(alike, (answer == 1) & (other == 1), fits)
    return float(fits.double().mean())


def class_accuracy(class_logits: Tensor, classes: Tensor) -> float:
    """The share of images (N, M) of known class that logits (N, M, K) name rightly; NaN where none is known."""
    known = classes >= 0
    right = (class_logits.argmax(dim=-1) == classes) & known
    count = int(known.sum())
    return int(right.sum()) / count if count else math.nan


def roc_auc(score: Tensor, positive: Tensor) -> float:
    """The chance that a positive outscores a negative, ties counted as half; NaN where one of them is missing."""
    score = score.double()
    if score.isnan().any():
        return math.nan
    wins, lost = score[positive], score[~positive].sort().values
    if not len(wins) or not len(lost):
        return math.nan
    below = torch.searchsorted(lost, wins, right=False) + torch.searchsorted(lost, wins, right=True)
    return float(below.sum()) / (2 * len(wins) * len(lost))


def roc_curve(score: Tensor, positive: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """False positive rates, true positive rates and thresholds, one for each different score and one above all.

    A pair counts as same where its score is at least the threshold. Rates are NaN where an outcome is missing.
    """
    order = score.double().argsort(descending=True)
    score, hit = score.double()[order], positive[order].double()
    last = torch.cat([(score[1:] != score[:-1]).nonzero().flatten(), torch.tensor([len(score) - 1])])
    true = torch.cat([torch.zeros(1, dtype=torch.double), hit.cumsum(0)[last]])
    false = torch.cat([torch.zeros(1, dtype=torch.double), (1 - hit).cumsum(0)[last]])
    return false / false[-1], true / true[-1], torch.cat([torch.tensor([math.inf], dtype=torch.double), score[last]])


def verification_metrics(score: Tensor, positive: Tensor) -> dict[str, float]:
    """EER, FPR at 95% recall and TAR at FAR 0.1, 0.01 and 0.001 of scores (N,); NaN where an outcome is missing.

    EER is where the ROC curve, straight between its points, crosses the line FPR = 1 - TPR; TAR@FAR is the highest
    TPR of a threshold whose FPR is at most the FAR.
    """
    rates = ("0.1", "0.01", "0.001")
    if not len(score) or score.isnan().any() or bool(positive.all()) or not bool(positive.any()):
        return dict.fromkeys(("eer", "fpr95", *(f"tar_at_far_{rate}" for rate in rates)), math.nan)
    false, true, _ = roc_curve(score, positive)
    gap = false - (1 - true)  # rises from -1 to 1
    after = int((gap >= 0).nonzero()[0])
    share = -gap[after - 1] / (gap[after] - gap[after - 1])
    figures = {
        "eer": float(false[after - 1] + share * (false[after] - false[after - 1])),
        "fpr95": float(false[true >= 0.95].min()),
    }
    return figures | {f"tar_at_far_{rate}": float(true[false <= float(rate)].max()) for rate in rates}


def best_threshold(score: Tensor, positive: Tensor) -> float:
    """The threshold of highest accuracy, halfway to the next lower score; the highest of equally good ones."""
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
    """`best_threshold` as a finite number: just above the highest score where no pair should count as same.

    NaN where a score is.
    """
    if score.isnan().any():
        return math.nan
    # Beyond any float32, and far enough from the end of float64 to be added.
    score = score.double().clamp(-1e50, 1e50)
    threshold = best_threshold(score, positive)
    return math.nextafter(float(score.max()), math.inf) if math.isinf(threshold) else threshold


def accuracy_at(score: Tensor, positive: Tensor, threshold: float) -> float:
    """The share of pairs that `threshold` tells rightly."""
    return float(((score.double() >= threshold) == positive).double().mean())


def fold_accuracies(score: Tensor, positive: Tensor, folds: Tensor) -> Tensor:
    """(F,) accuracies, each on one of the folds (N,) at the best threshold of the others: LFW's protocol."""
    accuracies = []
    for fold in folds.unique():
        held = folds == fold
        accuracies.append(accuracy_at(score[held], positive[held], best_threshold(score[~held], positive[~held])))
    return torch.tensor(accuracies, dtype=torch.double)
