"""Means with intervals, and paired comparisons corrected for how many there are.

Rounds of two configs that see the same data are paired: their differences leave the data's own spread out. The paired
t-test gives each comparison its p-value; Holm's step-down correction keeps the chance of any false "better" in a table
at 5%.
"""

from __future__ import annotations

import functools
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


@functools.lru_cache(maxsize=4096)
def _t_quantile(freedom: float) -> float:
    """The t statistic that two-sided chance exceeds in 5% of cases."""
    low, high = 0.0, 13.0  # 12.7 with one degree of freedom, and there are never fewer
    while high - low > 1e-14 * high:
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if _t_tail(middle, freedom) > 1 - LEVEL else (low, middle)
    return (low + high) / 2


def _t_tail(statistic: float, freedom: float) -> float:
    """The two-sided p-value of a t statistic.

    Written out because importing scipy costs more than all else that a leaderboard does.
    """
    square = statistic * statistic
    return _beta_share(freedom / 2, 0.5, freedom / (freedom + square), square / (freedom + square))


def _beta_share(a: float, b: float, x: float, rest: float) -> float:
    """The regularised incomplete beta function I_x(a, b), where rest = 1 - x (DLMF 8.17.22)."""
    if x <= 0 or rest <= 0:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        # The fraction converges fast on this side of the mean alone.
        return 1.0 - _beta_share(b, a, rest, x)
    logarithm = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(rest)
    return math.exp(logarithm) / (a * _beta_fraction(a, b, x))


def _beta_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction 1 + d1 / (1 + d2 / (1 + ...)) of the incomplete beta function, by Lentz's method."""
    value, upper, lower = 1.0, 1.0, 0.0
    for step in range(1, 10_000):
        m = step // 2
        if step % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        lower = 1 / (1 + term * lower)
        upper = 1 + term / upper
        value *= upper * lower
        if abs(upper * lower - 1) < 1e-15:
            break
    return value
