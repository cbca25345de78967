"""The figures of an evaluation, from scores and targets alone.

The area under the curve is the rank statistic of Mann and Whitney with ties counted as half, as in scikit-learn.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


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
    score = logits[:, 1] - torch.cat([logits[:, :1], logits[:, 2:]], dim=1).logsumexp(dim=1)
    return {
        "accuracy": float((answer == hard).double().mean()),
        "f1": 2 * int(hit.sum()) / max(claimed + positive, 1),
        "auc": roc_auc(score, hard == 1),
        "loss": float(loss),
    }


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
