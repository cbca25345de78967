"""Means with intervals, paired and unpaired comparisons, and Holm's correction, beside scipy and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pairbench.results.statistics import Difference, Summary, holm, paired, summarise, welch

FIGURES = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=12)


def sample(seed: int, count: int, mean: float = 0.85, spread: float = 0.01) -> list[float]:
    return [float(value) for value in np.random.default_rng(seed).normal(mean, spread, count)]


@pytest.mark.parametrize("count", [2, 3, 10, 50])
def test_a_summary_is_the_mean_the_sample_deviation_and_the_t_interval(count: int) -> None:
    values = sample(1, count)
    summary = summarise(values)
    assert summary is not None
    mean, error = np.mean(values), stats.sem(values)
    low, high = stats.t.interval(0.95, count - 1, loc=mean, scale=error)
    assert summary == Summary(
        pytest.approx(mean), pytest.approx(np.std(values, ddof=1)), pytest.approx(low), pytest.approx(high), count
    )


def test_one_round_has_a_mean_and_nothing_else() -> None:
    assert summarise([0.5]) == Summary(0.5, None, None, None, 1)


def test_equal_rounds_have_no_spread() -> None:
    assert summarise([0.5, 0.5, 0.5]) == Summary(0.5, 0.0, 0.5, 0.5, 3)


def test_what_is_not_finite_is_left_out() -> None:
    assert summarise([math.nan, 0.5, math.inf, -math.inf]) == summarise([0.5])
    assert summarise([math.nan]) is None
    assert summarise([]) is None


@pytest.mark.parametrize("count", [2, 3, 10, 50])
def test_the_paired_comparison_is_the_paired_t_test(count: int) -> None:
    first, second = sample(1, count), sample(2, count, mean=0.855)
    theirs = stats.ttest_rel(first, second)
    interval = theirs.confidence_interval(0.95)
    assert paired(first, second) == Difference(
        pytest.approx(np.mean(first) - np.mean(second)),
        pytest.approx(interval.low),
        pytest.approx(interval.high),
        pytest.approx(theirs.pvalue),
        count,
        "paired",
    )


@pytest.mark.parametrize(("left", "right"), [(2, 2), (3, 10), (10, 3), (50, 20)])
def test_the_unpaired_comparison_is_welchs_t_test(left: int, right: int) -> None:
    first, second = sample(3, left), sample(4, right, mean=0.86, spread=0.05)
    one, other = summarise(first), summarise(second)
    assert one is not None
    assert other is not None
    theirs = stats.ttest_ind(first, second, equal_var=False)
    interval = theirs.confidence_interval(0.95)
    assert welch(one, other) == Difference(
        pytest.approx(np.mean(first) - np.mean(second)),
        pytest.approx(interval.low),
        pytest.approx(interval.high),
        pytest.approx(theirs.pvalue),
        min(left, right),
        "welch",
    )


def test_one_round_cannot_be_tested() -> None:
    assert paired([0.9], [0.8]) == Difference(pytest.approx(0.1), None, None, None, 1, "paired")
    one, more = Summary(0.9, None, None, None, 1), Summary(0.8, 0.1, 0.7, 0.9, 5)
    assert welch(one, more) == Difference(pytest.approx(0.1), None, None, None, 1, "welch")
    assert welch(more, one) == Difference(pytest.approx(-0.1), None, None, None, 1, "welch")


def test_a_published_spread_over_one_round_cannot_be_tested() -> None:
    assert welch(Summary(0.9, 0.1, 0.8, 1.0, 5), Summary(0.8, 0.1, None, None, 1)).p is None


def test_no_rounds_or_unequal_rounds_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="no rounds to compare"):
        paired([], [])
    with pytest.raises(ValueError, match=r"shorter|longer"):
        paired([1.0], [1.0, 2.0])


def test_equal_results_are_no_evidence() -> None:
    assert paired([0.5, 0.6], [0.5, 0.6]) == Difference(0.0, 0.0, 0.0, 1.0, 2, "paired")


@pytest.mark.parametrize(("rounds", "p"), [(2, 0.5), (5, 0.0625), (6, 0.03125), (10, 2 / 1024)])
def test_a_difference_that_never_varies_counts_as_the_sign_test_does(rounds: int, p: float) -> None:
    first = [0.5 + 0.125 * number for number in range(rounds)]
    assert paired([value + 0.25 for value in first], first).p == p


def test_rounding_in_the_last_digit_is_no_evidence_of_a_constant_difference() -> None:
    second = [0.1, 0.2, 0.3]
    first = [0.1 + 0.01, 0.2 + 0.01, 0.3 + 0.01]
    assert len({a - b for a, b in zip(first, second, strict=True)}) > 1
    assert paired(first, second).p == 0.25


def test_rounding_in_the_last_digit_is_no_difference() -> None:
    assert paired([0.1 + 0.2, 0.5, 0.5], [0.3, 0.5, 0.5]).p == 1.0


def test_constant_results_of_other_seeds_are_equal_or_untested() -> None:
    constant = Summary(0.5, 0.0, 0.5, 0.5, 3)
    assert welch(constant, constant).p == 1.0
    assert welch(constant, Summary(0.6, 0.0, 0.6, 0.6, 3)).p is None


@given(FIGURES)
def test_a_difference_is_the_negative_of_its_reverse(values: list[float]) -> None:
    other = [value * 1.5 + 1 for value in values]
    there, back = paired(values, other), paired(other, values)
    assert there.mean == pytest.approx(-back.mean)
    assert there.p == pytest.approx(back.p)


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1; each at least the one before.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    # Holm (1979), as worked in Wikipedia: 0.01, 0.04, 0.03, 0.005.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=20))
def test_corrected_values_are_larger_below_one_and_in_the_same_order(values: list[float]) -> None:
    corrected = holm(values)
    assert all(p <= q <= 1 for p, q in zip(values, corrected, strict=True))
    pairs = sorted(zip(values, corrected, strict=True))
    assert [q for _, q in pairs] == sorted(corrected)
    assert not corrected or min(corrected) == min(1.0, min(values) * len(values))
