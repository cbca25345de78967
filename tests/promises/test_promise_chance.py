"""Promise 19: where all configs are equally good, a table calls one of them worse in at most 5% of cases."""

from __future__ import annotations

import math
import random
from typing import Any

import attack
import pytest

from pairbench.results.ranking import MANY, against_best, ranked
from pairbench.results.results import Result


def equals(draw: random.Random, configs: int, rounds: int) -> list[Result]:
    """Results of equally good configs, whose rounds share the luck of their data."""
    luck = [draw.gauss(0, 0.02) for _ in range(rounds)]
    found = []
    for number in range(configs):
        records: list[dict[str, Any]] = [
            {
                "round": round_,
                "status": "finished",
                "metrics": {"accuracy": 0.8 + luck[round_] + draw.gauss(0, 0.01)},
                "provenance": {"data": "d", "locations": []},
                "cost": {},
            }
            for round_ in range(rounds)
        ]
        found.append(Result(str(number), f"{number:012d}", {"train.seed": 0}, tuple(records)))
    return found


@pytest.mark.parametrize(
    ("tables", "fast"), [(300, False), (300, True), pytest.param(3000, False, marks=pytest.mark.slow)]
)
def test_a_leaderboard_of_equals_shows_a_winner_in_at_most_5_percent(tables: int, fast: bool) -> None:
    draw, wrong = attack.chance("equals", tables), 0
    for _ in range(tables):
        results = ranked(equals(draw, 5, 10), "accuracy")
        wrong += "worse" in against_best(results, "accuracy", many=1 if fast else MANY)
    # Three standard deviations above 5% of the tables.
    limit = 0.05 * tables + 3 * math.sqrt(tables * 0.05 * 0.95)
    print(f"\n{tables} leaderboards of five equal configs: {wrong} showed a winner ({100 * wrong / tables:.1f}%)")
    assert wrong <= limit
