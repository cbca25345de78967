"""What a run or a leaderboard gives back."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import hostile
import pytest
from conftest import config_of, fill, simulated_record
from rich.console import Console

import pairbench
from pairbench.config.suite import Published
from pairbench.results.results import Result, Results
from pairbench.results.statistics import summarise
from pairbench.store.record import COSTS
from pairbench.store.store import Store


def result(name: str, *records: dict[str, Any], **changes: Any) -> Result:
    config = config_of("encoder=cnn")
    return Result(name, config.config_id, config.flat(), records, **changes)


def finished(number: int, **metrics: float | None) -> dict[str, Any]:
    return simulated_record(config_of("encoder=cnn"), number, metrics)


FAILED = simulated_record(
    config_of("encoder=cnn"), 8, {}, status="failed", cost={}, error={"reason": "boom", "traceback": "T"}
)
DIVERGED = simulated_record(config_of("encoder=cnn"), 9, {}, status="diverged")


@pytest.mark.parametrize("count", [0, 1, 2])
def test_the_parts_of_a_document_make_the_same_as_the_whole(count: int) -> None:
    damaged = {Path("a\nb.json"): "not JSON"} if count else {}
    results = Results(
        tuple(result(str(number), finished(0, accuracy=0.5)) for number in range(count)), Path("x"), damaged
    )
    assert results.to_json() == json.dumps(results.to_dict(), indent=1)


def test_only_finished_rounds_and_finite_figures_count() -> None:
    item = result(
        "a",
        finished(0, accuracy=0.5, auc=None),
        finished(1, accuracy=0.7, auc=math.nan),
        finished(2, accuracy=math.inf),
        DIVERGED,
        FAILED,
    )
    assert item.summary == {"accuracy": summarise([0.5, 0.7])}
    assert item.values("accuracy") == {0: 0.5, 1: 0.7}
    assert (len(item.finished), len(item.diverged), len(item.failed)) == (3, 1, 1)


def test_what_a_config_costs_is_told_by_the_median_round() -> None:
    records = [finished(number, accuracy=0.5) for number in range(3)]
    for record, seconds in zip(records, (9.0, 1.0, 2.0), strict=True):
        record["cost"] |= {"train_seconds": seconds}
    cost = result("a", *records, FAILED).cost
    assert set(cost) == set(COSTS)
    assert (cost["train_seconds"], cost["parameters"]) == (2.0, 10)
    assert result("a", FAILED).cost == {}
    assert result("a").cost == {}


def test_results_are_a_sequence_that_also_knows_names_and_ids() -> None:
    first, second = result("a"), Result("b", "1" * 12, {}, ())
    found = Results((first, second), Path("store"))
    assert (len(found), list(found), found[1], found[-1]) == (2, [first, second], second, second)
    assert (found["a"], found["1" * 12], found[:1]) == (first, second, (first,))
    assert first in found
    with pytest.raises(KeyError):
        found["c"]
    with pytest.raises(IndexError):
        found[2]


def test_the_json_has_the_form_of_the_contract() -> None:
    item = result("a", finished(0, accuracy=0.5), finished(1, accuracy=0.7), published={"accuracy": Published(0.6)})
    value = hostile.check_json(Results((item,), Path("store")).to_json())
    assert set(value) == {"schema", "results"}
    (one,) = value["results"]
    assert set(one) == {"name", "config_id", "config", "summary", "rounds", "timing", "published"}
    assert one["config"] == item.config
    assert set(one["summary"]["accuracy"]) == {"mean", "std", "low", "high", "rounds"}
    assert one["summary"]["accuracy"]["mean"] == pytest.approx(0.6)
    assert one["rounds"] == list(item.records)
    assert one["timing"] is None


def test_the_frame_has_a_row_for_each_round() -> None:
    pytest.importorskip("pandas")
    frame = Results((result("a", finished(0, accuracy=0.5), FAILED),), Path("store")).to_pandas()
    assert list(frame["status"]) == ["finished", "failed"]
    assert list(frame["round"]) == [0, 8]
    assert frame["accuracy"][0] == 0.5
    assert frame["encoder"][0] == "cnn"
    assert frame["encoder.channels"][0] == "[3, 6, 12]"


def test_results_print_as_a_table_and_show_as_html() -> None:
    found = Results((result("mine", finished(0, accuracy=0.5)),), Path("store"))
    assert "50.00 %" in str(found)
    assert "50.00 %" in hostile.check_html(found._repr_html_())
    assert "50.00 %" in found.to_markdown()
    console = Console(file=io.StringIO(), width=120)
    console.print(found)
    assert "50.00 %" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_leaderboard_ranks_the_store(store: Store) -> None:
    fill(store, config_of("encoder=mlp"), (0.5, 0.6), name="low")
    fill(store, config_of("encoder=cnn"), (0.8, 0.9), name="high")
    assert [item.name for item in pairbench.leaderboard()] == ["high", "low"]
    assert [item.name for item in pairbench.leaderboard(metric="loss")] == ["high", "low"]
    assert list(pairbench.leaderboard(store.root.parent / "empty")) == []


def test_a_leaderboard_keeps_results_of_other_code_apart(store: Store) -> None:
    from pairbench.store.record import Context

    for source in ("a", "b"):
        context = Context("data", {"core": {"distribution": "pairbench", "version": "0", "source": source}})
        fill(store, config_of("encoder=cnn"), (0.5, 0.6), context=context)
    assert [len(item.records) for item in pairbench.leaderboard()] == [2, 2]


def test_a_leaderboard_shows_a_failure_until_the_round_is_done(store: Store) -> None:
    store.write(FAILED)
    assert [len(item.failed) for item in pairbench.leaderboard()] == [1]
    store.write(finished(8, accuracy=0.5))
    (item,) = pairbench.leaderboard()
    assert (len(item.failed), len(item.finished)) == (0, 1)


def test_a_leaderboard_names_damaged_files(store: Store) -> None:
    fill(store, config_of("encoder=cnn"), (0.5, 0.6))
    path = next(store.root.rglob("*.json"))
    path.write_text("{")
    found = pairbench.leaderboard()
    assert found.damaged == {path: "not JSON"}
    assert "not JSON; skipped" in " ".join(str(found).split())  # a long path wraps the note
    assert found[0].summary["accuracy"].rounds == 1


def test_an_unknown_metric_of_a_leaderboard_comes_with_those_that_there_are(store: Store) -> None:
    fill(store, config_of("encoder=cnn"), (0.5, 0.6))
    with pytest.raises(pairbench.SpecError, match=r"unknown metric 'f2'\. Choose from accuracy, loss\."):
        pairbench.leaderboard(metric="f2")
