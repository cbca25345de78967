"""Location and spread of repeated measurements: quartiles, percentiles, and a distribution-free interval."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any


def spread(values: Sequence[float]) -> dict[str, Any]:
    """The median, its 95% interval, the quartiles, and the values in their original order."""
    ordered = sorted(values)
    low, _, high = median_interval(ordered)
    return {
        "median": statistics.median(ordered),
        "low": quantile(ordered, 0.25),
        "high": quantile(ordered, 0.75),
        "interval": [low, high],
        "repeats": list(values),
    }


def tail(values: Sequence[float]) -> dict[str, float]:
    """The 50th, 95th and 99th percentile."""
    ordered = sorted(values)
    return {"p50": quantile(ordered, 0.5), "p95": quantile(ordered, 0.95), "p99": quantile(ordered, 0.99)}


def quantile(ordered: Sequence[float], share: float) -> float:
    """The quantile of sorted values, interpolated."""
    at = share * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The distribution-free 95% interval of the median from order statistics, and the median: low, median, high.

    With few values the interval is their full range.
    """
    ordered, count = sorted(values), len(values)
    rank, below = 0, 0.0
    # The interval from the k-th smallest to the k-th largest misses the median with twice this binomial tail.
    while rank < count // 2 and 2 * (below + math.comb(count, rank) / 2**count) <= 0.05:
        below += math.comb(count, rank) / 2**count
        rank += 1
    cut = max(rank - 1, 0)
    return ordered[cut], statistics.median(ordered), ordered[-1 - cut]
