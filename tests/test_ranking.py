"""Which result is better, said only where the evidence says so."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy import stats

from pairbench.config.suite import Published
from pairbench.errors import SpecError
from pairbench.plugin.metrics import spec_of
from pairbench.results.ranking import (
    against_best,
    agreement,
    check_metric,
    comparable_key,
    ranked,
    same_data_key,
    verdict_dict,
    verdicts,
)
from pairbench.results.results import Result
from pairbench.results.statistics import Difference, Summary, holm


def result(name: str, accuracies: Sequence[float | None], **changes: Any) -> Result:
    """A result in memory, one finished round for each accuracy; `changes` are of its config."""
    records = tuple(
        {
            "round": number,
            "status": "finished",
            "metrics": {"accuracy": accuracy, "loss": None if accuracy is None else 1 - accuracy},
            "cost": {},
            "provenance": {"data": changes.pop("digest", "d")},
        }
        for number, accuracy in enumerate(accuracies)
    )
    return Result(name, name, {"dataset": "pairs", "dataset.size": 14, "train.seed": 0} | changes, records)


GOOD = result("good", [0.91, 0.92, 0.90, 0.93])
POOR = result("poor", [0.81, 0.83, 0.79, 0.84])
LIKE = result("like", [0.92, 0.91, 0.90, 0.92])


def test_a_real_difference_is_better_one_way_and_worse_the_other() -> None:
    assert verdicts([GOOD, POOR], "accuracy")[0, 1].word == "better"
    assert verdicts([POOR, GOOD], "accuracy")[0, 1].word == "worse"


def test_a_lower_loss_is_better() -> None:
    assert verdicts([GOOD, POOR], "loss")[0, 1].word == "better"
    better = {name: spec_of(name).higher_is_better for name in ("loss", "validation_loss", "total_loss", "auc")}
    assert better == {"loss": False, "validation_loss": False, "total_loss": False, "auc": True}


def test_fewer_errors_are_better_in_every_error_rate() -> None:
    names = ("eer", "validation_fpr95", "tar_at_far_0.01", "agreement")
    assert [spec_of(name).higher_is_better for name in names] == [False, False, True, True]


def test_nothing_is_ranked_by_a_threshold() -> None:
    check_metric("validation_eer", ["validation_eer", "threshold"])
    with pytest.raises(SpecError, match=r"^metric 'threshold' cannot be ranked by: .*Use accuracy_at_threshold\.$"):
        check_metric("threshold", ["eer", "threshold", "accuracy"])
    with pytest.raises(SpecError, match=r"^unknown metric 'er'\. Did you mean 'eer'"):
        check_metric("er", ["eer", "threshold", "accuracy"])


def test_a_difference_within_chance_is_a_tie() -> None:
    assert verdicts([GOOD, LIKE], "accuracy")[0, 1].word == "tie"


def test_one_round_each_leaves_it_unknown() -> None:
    verdict = verdicts([result("a", [0.9]), result("b", [0.1])], "accuracy")[0, 1]
    assert (verdict.word, verdict.corrected, verdict.difference.rounds) == ("unknown", None, 1)


def test_all_pairs_of_a_table_are_corrected_together() -> None:
    found = verdicts([GOOD, POOR, LIKE], "accuracy")
    assert list(found) == [(0, 1), (0, 2), (1, 2)]
    plain = [verdict.difference.p for verdict in found.values()]
    assert [verdict.corrected for verdict in found.values()] == holm([p for p in plain if p is not None])


def test_results_of_the_same_rounds_are_paired_over_the_rounds_that_both_have() -> None:
    gaps = result("gaps", [0.81, None, 0.79, 0.84])
    difference = verdicts([GOOD, gaps], "accuracy")[0, 1].difference
    assert (difference.test, difference.rounds) == ("paired", 3)
    assert difference.p == pytest.approx(stats.ttest_rel([0.91, 0.90, 0.93], [0.81, 0.79, 0.84]).pvalue)


def test_results_of_other_seeds_are_compared_without_pairing() -> None:
    other = result("other", [0.81, 0.83, 0.79, 0.84], **{"train.seed": 1})
    assert same_data_key(GOOD) != same_data_key(other)
    assert comparable_key(GOOD) == comparable_key(other)
    difference = verdicts([GOOD, other], "accuracy")[0, 1].difference
    assert difference.test == "welch"
    assert difference.p == pytest.approx(
        stats.ttest_ind([0.91, 0.92, 0.90, 0.93], [0.81, 0.83, 0.79, 0.84], equal_var=False).pvalue
    )


def test_other_pairs_are_another_question() -> None:
    assert comparable_key(GOOD) != comparable_key(result("x", [0.5], **{"dataset.size": 28}))
    assert comparable_key(GOOD) != comparable_key(result("x", [0.5], digest="other"))


def test_results_without_common_rounds_have_no_verdict() -> None:
    assert verdicts([result("a", [0.9, None]), result("b", [None, 0.9])], "accuracy") == {}


def test_the_best_mean_comes_first_and_what_has_none_comes_last() -> None:
    nothing, hole = result("nothing", []), result("hole", [None, None])
    nan = result("nan", [math.nan, math.inf])
    order = ranked([nan, nothing, POOR, hole, GOOD], "accuracy")
    assert [item.name for item in order] == ["good", "poor", "hole", "nan", "nothing"]
    assert [item.name for item in ranked([POOR, GOOD], "loss")] == ["good", "poor"]


def test_a_name_decides_between_equals() -> None:
    twins = [result(name, [0.5, 0.6]) for name in "cab"]
    assert [item.name for item in ranked(twins, "accuracy")] == ["a", "b", "c"]


def test_one_infinite_round_does_not_make_a_winner() -> None:
    lucky = result("lucky", [math.inf, 0.1, 0.1])
    assert ranked([lucky, POOR], "accuracy")[0].name == "poor"


def test_each_is_said_to_be_worse_than_the_best_or_a_tie() -> None:
    order = ranked([POOR, LIKE, GOOD, result("once", [0.5]), result("none", [])], "accuracy")
    assert [(item.name, word) for item, word in zip(order, against_best(order, "accuracy"), strict=True)] == [
        ("good", ""),
        ("like", "tie"),
        ("poor", "worse"),
        ("once", "unknown"),
        ("none", "unknown"),
    ]


def test_of_one_result_nothing_is_said() -> None:
    assert against_best([GOOD], "accuracy") == [""]
    assert against_best([], "accuracy") == []
    assert verdicts([GOOD], "accuracy") == {}


@pytest.mark.parametrize(
    ("published", "word"),
    [
        (Published(0.915), "agrees"),
        (Published(0.85), "higher"),
        (Published(0.99), "lower"),
        (Published(0.89), "agrees"),
        (Published(0.88), "higher"),
        (Published(0.915, 0.01, 10), "agrees"),
        (Published(0.85, 0.01, 10), "higher"),
        (Published(0.99, 0.01, 10), "lower"),
        (Published(0.85, 0.01), "higher"),
        (Published(0.85, 0.01, 1), "higher"),
        (Published(0.85, 0.0, 10), "higher"),
    ],
)
def test_a_published_figure_agrees_where_the_spread_allows_it(published: Published, word: str) -> None:
    # Ours: 0.915 with a standard deviation of 0.0129 over four rounds.
    assert agreement(GOOD.summary["accuracy"], published) == word


def test_one_round_of_ours_says_nothing_of_a_published_figure() -> None:
    assert agreement(Summary(0.9, None, None, None, 1), Published(0.5, 0.01, 10)) == "one round"


def test_figures_without_any_spread_agree_only_where_they_are_equal() -> None:
    ours = Summary(0.9, 0.0, 0.9, 0.9, 3)
    assert agreement(ours, Published(0.8, 0.0, 10)) == "higher"
    assert agreement(ours, Published(0.9, 0.0, 10)) == "agrees"


def test_a_verdict_as_plain_values_names_both_and_how_it_was_tested() -> None:
    verdict = verdicts([GOOD, POOR], "accuracy")[0, 1]
    value = verdict.difference
    assert verdict_dict(GOOD, POOR, verdict) == {
        "first": "good",
        "second": "poor",
        "metric": "accuracy",
        "difference": value.mean,
        "low": value.low,
        "high": value.high,
        "p": value.p,
        "p_corrected": verdict.corrected,
        "rounds": 4,
        "test": "paired",
        "verdict": "better",
    }
    assert isinstance(value, Difference)


def tables(seed: int, tables: int, configs: int, rounds: int, gain: float = 0.0, pairs: int = 1000) -> Any:
    """Leaderboards of simulated configs: shares of right answers, harder and easier rounds shared by all configs.

    gain: how much the first config is really better.
    """
    draw = np.random.default_rng(seed)
    for _ in range(tables):
        level = draw.normal(0.85, 0.01, rounds)
        yield [
            result(
                f"config {number}",
                [float(share) for share in draw.binomial(pairs, level + (gain if number == 0 else 0)) / pairs],
            )
            for number in range(configs)
        ]


# 600 tables of equal configs show a winner in 5% of cases or less; three standard errors of that share are 2.7 points.
TOLERANCE = 0.05 + 3 * math.sqrt(0.05 * 0.95 / 600)


@pytest.mark.parametrize(("configs", "rounds"), [(2, 10), (6, 5), (6, 10)])
def test_a_leaderboard_of_equals_shows_a_winner_in_at_most_one_case_in_twenty(configs: int, rounds: int) -> None:
    winners = sum(
        "worse" in against_best(ranked(items, "accuracy"), "accuracy")
        for items in tables(seed=configs * rounds, tables=600, configs=configs, rounds=rounds)
    )
    assert winners / 600 <= TOLERANCE


def test_equals_of_other_seeds_show_a_winner_in_at_most_one_case_in_twenty() -> None:
    found = 0
    for items in tables(seed=7, tables=600, configs=4, rounds=8):
        apart = [
            dataclasses.replace(item, config=item.config | {"train.seed": seed}) for seed, item in enumerate(items)
        ]
        found += any(verdict.word != "tie" for verdict in verdicts(apart, "accuracy").values())
    assert found / 600 <= TOLERANCE


def test_a_config_that_is_really_better_is_found() -> None:
    found = 0
    for items in tables(seed=3, tables=50, configs=4, rounds=10, gain=0.04):
        order = ranked(items, "accuracy")
        found += against_best(order, "accuracy") == ["", "worse", "worse", "worse"] and order[0].name == "config 0"
    # Four points are 3.5 standard deviations of a difference of rounds; ten rounds nearly always show that.
    assert found >= 45
