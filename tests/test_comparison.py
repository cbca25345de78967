"""Stored results side by side, each found by its spec, its name or its config_id."""

from __future__ import annotations

import json
from pathlib import Path

import hostile
import pytest
from conftest import config_of, fill, simulated_record

import pairbench
from pairbench.errors import SpecError
from pairbench.store.record import Context
from pairbench.store.store import Store

GOOD, POOR = (0.91, 0.92, 0.90, 0.93), (0.81, 0.83, 0.79, 0.84)


@pytest.fixture
def filled(store: Store) -> Store:
    """A store with two configs, one clearly better."""
    fill(store, config_of("encoder=cnn"), GOOD)
    fill(store, config_of("encoder=mlp"), POOR, name="poor one")
    return store


ID = config_of("encoder=cnn").config_id


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    "name",
    [
        ID,
        ID[:4],
        str(config_of("encoder=cnn")),
        "encoder=cnn",
        "encoder=cnn loss=aux",
        " encoder=cnn\ttrain.rounds=3 ",
    ],
)
def test_a_result_is_found_by_id_name_or_spec(name: str) -> None:
    comparison = pairbench.compare(name, "poor one")
    assert [result.name for result in comparison.results] == [str(config_of("encoder=cnn")), "poor one"]
    assert comparison.verdicts[0, 1].word == "better"


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "nothing to compare: expected two different results."),
        (["encoder=cnn"], "nothing to compare: expected two different results."),
        (["encoder=cnn", ID], "nothing to compare: expected two different results."),
        (["encoder=cnn", "encoder=mlp", "poor one"], "nothing to compare: expected two different results."),
        (["poor won", ID], "no result called 'poor won' in store "),
        (["", ID], "no result called '' in store "),
        (
            ["encoder=cnn,mlp", ID],
            "'encoder=cnn,mlp' is a grid of 2 configs: expected one. Name each config separately.",
        ),
        (["encoder=elman_rnn", ID], "'encoder=elman_rnn' is not in store "),
        (["encoder=nope", ID], "unknown encoder 'nope'."),
        (["\x1b[2J", ID], "no result called '\ufffd[2J' in store "),
        (["x" * 10_000, ID], "no result called 'xxxx"),
    ],
)
def test_a_name_that_names_no_result_or_too_many_is_refused_in_one_line(names: list[str], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        pairbench.compare(*names)
    assert str(caught.value).startswith(message)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1500


def test_an_empty_store_has_nothing_of_any_name(store: Store) -> None:
    with pytest.raises(SpecError, match=r"no records in store .*Train something first"):
        pairbench.compare("a", "b")


@pytest.mark.usefixtures("filled")
def test_an_unknown_metric_comes_with_those_that_there_are() -> None:
    with pytest.raises(SpecError, match=r"unknown metric 'acuracy'\. Did you mean 'accuracy'\?"):
        pairbench.compare("encoder=cnn", "encoder=mlp", metric="acuracy")


def test_a_result_without_a_figure_cannot_be_compared(filled: Store) -> None:
    config = config_of("encoder=elman_rnn")
    error = {"reason": "boom", "traceback": ""}
    filled.write(simulated_record(config, 0, {}, status="failed", cost={}, error=error))
    with pytest.raises(SpecError, match="has no accuracy in any round: nothing to compare"):
        pairbench.compare("encoder=cnn", "encoder=elman_rnn")


def test_results_on_other_data_are_another_question(filled: Store) -> None:
    fill(filled, config_of("encoder=mlp", "dataset.size=28"), POOR)
    with pytest.raises(SpecError, match="cannot be compared: their dataset options or data differ"):
        pairbench.compare("encoder=cnn", "encoder=mlp dataset.size=28")


def test_results_of_other_seeds_are_compared_unpaired(filled: Store) -> None:
    fill(filled, config_of("encoder=mlp", "train.seed=1"), POOR)
    assert pairbench.compare("encoder=cnn", "encoder=mlp train.seed=1").verdicts[0, 1].difference.test == "welch"


def test_a_name_of_two_configs_asks_for_an_id(filled: Store) -> None:
    fill(filled, config_of("encoder=elman_rnn"), POOR, name="poor one")
    with pytest.raises(SpecError) as caught:
        pairbench.compare("poor one", ID)
    ids = [config_of("encoder=mlp").config_id, config_of("encoder=elman_rnn").config_id]
    assert str(caught.value).startswith("'poor one' matches 2 results. Use a config_id: ")
    assert all(config_id in str(caught.value) for config_id in ids)


def test_of_results_of_older_code_the_newest_speaks(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    newer = Context("data", {"core": {"distribution": "pairbench", "version": "9", "source": ""}})
    for number, accuracy in enumerate(GOOD):
        record = simulated_record(config_of("encoder=mlp"), number, {"accuracy": accuracy}, context=newer)
        record["provenance"]["created"] = "2999-01-01T00:00:00+00:00"
        filled.write(record)
    assert pairbench.compare("encoder=cnn", "encoder=mlp").verdicts[0, 1].word == "tie"


@pytest.mark.usefixtures("filled")
def test_a_comparison_as_json_has_a_verdict_for_each_pair() -> None:
    comparison = pairbench.compare("encoder=cnn", "encoder=mlp", metric="loss")
    value = hostile.check_json(comparison.to_json())
    assert (value["schema"], value["metric"]) == (1, "loss")
    (verdict,) = value["comparisons"]
    assert (verdict["first"], verdict["second"]) == (str(config_of("encoder=cnn")), "poor one")
    assert (verdict["verdict"], verdict["test"], verdict["rounds"]) == ("better", "paired", 4)
    assert verdict["low"] < verdict["difference"] < verdict["high"] < 0
    assert json.loads(json.dumps(value)) == value


def test_a_hostile_name_can_be_compared_and_stays_inert(store: Store, tmp_path: Path) -> None:
    for number, (key, name) in enumerate(hostile.NAMES.items()):
        other = Store(tmp_path / str(number))
        fill(other, config_of("encoder=cnn"), GOOD, name=name)
        fill(other, config_of("encoder=mlp"), POOR, name="poor one")
        comparison = pairbench.compare(ID, "poor one", store=other.root)
        hostile.check_terminal(str(comparison))
        assert hostile.check_json(comparison.to_json())["comparisons"][0]["first"] == name, key
