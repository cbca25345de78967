"""Means with intervals, and paired comparisons corrected for how many there are.

Rounds of two configs that see the same data are paired: their differences leave the data's own spread out. The paired
t-test gives each comparison its p-value; Holm's step-down correction keeps the chance of any false "better" in a table
at 5%.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.95
# Differences that are equal but for the last digits of a float64, relative to the values.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Summary:
    """mean, std (n - 1), the 95% t interval of the mean (None where one round leaves them open), and rounds."""

    mean: float
    std: float | None
    low: float | None
    high: float | None
    rounds: int


@dataclass(frozen=True)
class Difference:
    """first - second: mean, 95% interval, two-sided p-value (None where it cannot be tested), rounds, and how it was
    tested: "paired" by round or "welch" for rounds that share no data."""

    mean: float
    low: float | None
    high: float | None
    p: float | None
    rounds: int
    test: str


def summarise(values: Sequence[float]) -> Summary | None:
    """The summary of finite `values`; None where there are none."""
    kept = [value for value in values if math.isfinite(value)]
    if not kept:
        return None
    mean = statistics.fmean(kept)
    if len(kept) == 1:
        return Summary(mean, None, None, None, 1)
    std = statistics.stdev(kept)
    half = _t_quantile(len(kept) - 1) * std / math.sqrt(len(kept))
    return Summary(mean, std, mean - half, mean + half, len(kept))


def paired(first: Sequence[float], second: Sequence[float]) -> Difference:
    """The difference of values of the same rounds.

    Raises:
        ValueError: the sequences are of unequal length or empty.
    """
    differences = [a - b for a, b in zip(first, second, strict=True)]
    summary = summarise(differences)
    if summary is None:
        raise ValueError("no rounds to compare")
    if summary.std is None:
        return Difference(summary.mean, None, None, None, summary.rounds, "paired")
    if summary.std <= _ROUNDING * max(map(abs, (*first, *second))):
        # Equal differences leave the t-test nothing to divide by; the sign test still counts them.
        equal = abs(summary.mean) <= _ROUNDING * max(map(abs, (*first, *second)))
        p = 1.0 if equal else 2 * 0.5**summary.rounds
    else:
        p = _t_tail(summary.mean / (summary.std / math.sqrt(summary.rounds)), summary.rounds - 1)
    return Difference(summary.mean, summary.low, summary.high, p, summary.rounds, "paired")


def welch(first: Summary, second: Summary) -> Difference:
    """The difference of two summaries whose rounds share no data, by Welch's t-test."""
    mean = first.mean - second.mean
    rounds = min(first.rounds, second.rounds)
    if first.std is None or second.std is None or rounds < 2:
        return Difference(mean, None, None, None, rounds, "welch")
    parts = [summary.std**2 / summary.rounds for summary in (first, second)]  # type: ignore[operator]
    variance = sum(parts)
    if variance == 0:
        return Difference(mean, mean, mean, 1.0 if mean == 0 else None, rounds, "welch")
    spare = sum(part**2 / (summary.rounds - 1) for part, summary in zip(parts, (first, second), strict=True))
    freedom = variance**2 / spare
    half = _t_quantile(freedom) * math.sqrt(variance)
    return Difference(mean, mean - half, mean + half, _t_tail(mean / math.sqrt(variance), freedom), rounds, "welch")


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down corrected p-values, in the order given (Holm, 1979)."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def _t_quantile(freedom: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.5 + LEVEL / 2))


def _t_tail(statistic: float, freedom: float) -> float:
    """The two-sided p-value of a t statistic."""
    from scipy.special import stdtr

    return float(2 * stdtr(freedom, -abs(statistic)))
