"""Metrics of verification, from scores and which of the pairs are the same."""

from __future__ import annotations

import math

from pairbench import ScoredPairs


def average_precision(pairs: ScoredPairs) -> float | None:
    """The mean of the precision over the pairs that are the same, each at its own score; None where none is the same.

    Pairs of one score are taken together, as in scikit-learn.
    """
    import torch

    if not pairs.positive.any() or pairs.score.isnan().any():
        return None
    score, order = pairs.score.double().sort(descending=True)
    last = torch.ones(len(pairs), dtype=torch.bool)
    last[:-1] = score[1:] != score[:-1]
    found = pairs.positive[order].double().cumsum(0)[last]
    claimed = torch.arange(1, len(pairs) + 1)[last]
    gained = found.diff(prepend=torch.zeros(1, dtype=torch.double))
    return float((gained * found / claimed).sum() / found[-1])


def d_prime(pairs: ScoredPairs) -> float | None:
    """How far apart the scores of same and different pairs lie: their means' distance over the root mean variance.

    None where there are fewer than two pairs of either kind, or all scores are equal.
    """
    same, different = pairs.score[pairs.positive].double(), pairs.score[~pairs.positive].double()
    if min(len(same), len(different)) < 2:
        return None
    spread = math.sqrt((float(same.var()) + float(different.var())) / 2)
    distance = (float(same.mean()) - float(different.mean())) / spread if spread else math.nan
    return distance if math.isfinite(distance) else None
