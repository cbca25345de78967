"""Means with intervals, and paired comparisons with correction for multiple testing.

Rounds of two configs that see the same data are paired: the variation between data sets cancels in their differences.
The paired t-test gives each comparison its p-value; Holm's step-down correction limits the chance of any false "better"
in a table to 5%.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

LEVEL = 0.95
# Differences that are equal up to rounding in float64, relative to the values.
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
    # Equal values have a standard deviation of zero, even if their mean is rounded.
    std = 0.0 if min(kept) == max(kept) else _deviation(kept, mean)
    half = _t_quantile(len(kept) - 1) * std / math.sqrt(len(kept))
    return Summary(mean, std, mean - half, mean + half, len(kept))


def _deviation(values: Sequence[float], mean: float) -> float:
    """The standard deviation (n - 1) of `values`; `statistics.stdev` is thirty times slower."""
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


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
        # The t-test would divide by zero if all differences are equal; the sign test still works.
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


def all_p_values(values: Sequence[Mapping[int, float]], data: Sequence[str]) -> list[float]:
    """The p-value of every two of `values` (by round) that can be tested, sorted: paired where both saw the same
    `data`, else Welch's; the same as `paired` and `welch` give one by one.
    """
    import numpy as np

    rounds = sorted({number for one in values for number in one})
    place = {number: at for at, number in enumerate(rounds)}
    table = np.full((len(values), max(1, len(rounds))), np.nan)
    for row, one in enumerate(values):
        table[row, [place[number] for number in one]] = list(one.values())
    seen = np.unique(np.asarray(data), return_inverse=True)[1]
    known = ~np.isnan(table)
    largest = np.abs(table[known]).max(initial=0.0)
    found = []
    with np.errstate(all="ignore"):
        count = known.sum(1)
        mean = np.nansum(table, axis=1) / count
        part = np.nansum((table - mean[:, None]) ** 2, axis=1) / (count - 1) / count
        for row in range(len(values) - 1):
            rest = slice(row + 1, None)
            same = seen[rest] == seen[row]
            if same.all():
                p = _paired_with(table[row], table[rest], largest)
            else:
                p = _welch_with(count[row], mean[row], part[row], count[rest], mean[rest], part[rest])
                p[same] = _paired_with(table[row], table[rest][same], largest)
            found.append(p[~np.isnan(p)])
    return [float(p) for p in np.sort(np.concatenate(found))] if found else []


def _paired_with(one: Values, others: Values, largest: float) -> Values:
    """The p-value of figures by round, (R,), against each of the others, (rows, R); NaN where it cannot be tested.

    largest: at least as large as any of the figures.
    """
    import numpy as np
    from scipy.special import stdtr

    gaps = one - others
    known = ~np.isnan(gaps)
    both, whole = known.sum(1), bool(known.all())
    gap = (gaps if whole else np.where(known, gaps, 0.0)).sum(1) / both
    gaps -= gap[:, None]
    if not whole:
        gaps[~known] = 0.0
    spread = np.sqrt(np.einsum("ij,ij->i", gaps, gaps) / (both - 1))
    p = 2 * stdtr(both - 1, -np.abs(gap / (spread / np.sqrt(both))))
    for at in np.flatnonzero(spread <= _ROUNDING * largest):
        own = max(np.abs(figures[known[at]]).max(initial=0.0) for figures in (one, others[at]))
        if spread[at] <= _ROUNDING * own:
            p[at] = 1.0 if abs(gap[at]) <= _ROUNDING * own else 2 * 0.5 ** both[at]
    return np.where(both < 2, np.nan, p)


def _welch_with(count: Any, mean: Any, part: Any, counts: Values, means: Values, parts: Values) -> Values:
    """The p-value of Welch's test of one row against each of the others; NaN where it cannot be tested.

    part: the variance of the mean.
    """
    import numpy as np
    from scipy.special import stdtr

    freedom = (part + parts) ** 2 / (part**2 / (count - 1) + parts**2 / (counts - 1))
    apart = mean - means
    p = 2 * stdtr(freedom, -np.abs(apart / np.sqrt(part + parts)))
    p = np.where(part + parts == 0, np.where(apart == 0, 1.0, np.nan), p)
    return np.where(np.minimum(count, counts) < 2, np.nan, p)


def holm_among(every: Sequence[float], some: Sequence[float]) -> list[float]:
    """Holm's corrected p-values of `some` of the sorted p-values `every`."""
    import numpy as np

    if not some:
        return []
    ordered = np.asarray(every)
    corrected = np.minimum(1.0, np.maximum.accumulate((len(ordered) - np.arange(len(ordered))) * ordered))
    # The same p-value computed another way may differ in its last digits: take the nearest.
    at = np.clip(np.searchsorted(ordered, [p * (1 - 1e-9) for p in some]), 0, len(ordered) - 1)
    return [float(value) for value in corrected[at]]


@functools.lru_cache(maxsize=1000)
def _t_quantile(freedom: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.5 + LEVEL / 2))


def _t_tail(statistic: float, freedom: float) -> float:
    """The two-sided p-value of a t statistic."""
    from scipy.special import stdtr

    return float(2 * stdtr(freedom, -abs(statistic)))
