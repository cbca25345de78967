"""What is in a record, and what it is known by."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from conftest import config_of, simulated_record

from pairbench.config.run_config import id_of
from pairbench.plugin.registry import installed
from pairbench.seeds import round_seed, stream_seed
from pairbench.store.record import (
    COSTS,
    Context,
    checksum,
    core_source,
    group_of,
    key_of,
    make_record,
    misshapen,
    round_key,
)

CONTEXT = Context("data", {"encoder": {"distribution": "d", "version": "1", "source": "s"}})


def test_a_record_holds_what_the_design_promises() -> None:
    record = simulated_record(config_of("encoder=cnn"), 3)
    assert set(record) == {
        "schema",
        "config",
        "config_id",
        "round",
        "seed",
        "status",
        "metrics",
        "curves",
        "cost",
        "environment",
        "provenance",
    }
    assert record["config"] == config_of("encoder=cnn").flat()
    assert record["seed"] == round_seed(0, 3)
    assert json.loads(json.dumps(record)) == record


def test_a_failure_keeps_its_reason_and_traceback() -> None:
    record = simulated_record(config_of(), 0, {}, status="failed", cost={}, error={"reason": "r", "traceback": "t"})
    assert record["error"] == {"reason": "r", "traceback": "t"}
    assert misshapen(record) == ""


@pytest.mark.parametrize(
    ("number", "seed", "context"),
    [
        (1, 0, CONTEXT),
        (0, 1, CONTEXT),
        (0, 0, dataclasses.replace(CONTEXT, data="other")),
        (0, 0, Context("data", {"encoder": {"distribution": "e", "version": "1", "source": "s"}})),
        (0, 0, Context("data", {"encoder": {"distribution": "d", "version": "2", "source": "s"}})),
        (0, 0, Context("data", {"encoder": {"distribution": "d", "version": "1", "source": "t"}})),
    ],
    ids=["round", "seed", "data", "distribution", "version", "source"],
)
def test_each_thing_that_a_result_depends_on_changes_its_key(number: int, seed: int, context: Context) -> None:
    base = round_key("0" * 12, 0, 0, CONTEXT)
    assert round_key("0" * 12, number, seed, context) != base
    assert round_key("1" * 12, 0, 0, CONTEXT) != base


def test_the_key_of_a_record_is_that_which_its_plan_asks_for() -> None:
    config = config_of("encoder=cnn")
    record = json.loads(json.dumps(simulated_record(config, 2, context=CONTEXT)))
    assert key_of(record) == round_key(CONTEXT.id_of(config), 2, round_seed(0, 2), CONTEXT)


def test_rounds_of_one_config_data_and_code_are_one_group() -> None:
    config = config_of("encoder=cnn")
    first, second = simulated_record(config, 0), simulated_record(config, 1)
    assert group_of(first) == group_of(second)
    others = [
        simulated_record(config_of("encoder=mlp"), 0),
        simulated_record(config, 0, context=dataclasses.replace(CONTEXT, data="other")),
        simulated_record(config, 0, context=Context("data", {})),
    ]
    assert len({group_of(record) for record in [first, *others]}) == 4


def test_a_context_names_the_code_of_every_slot_and_of_the_core() -> None:
    context = Context.of(config_of(), "digest", installed())
    assert sorted(context.code) == ["core", "dataset", "encoder", "head", "loss"]
    assert all(code["source"] for code in context.code.values())
    assert context.code["core"]["source"] == core_source()


def test_the_checksum_is_of_everything_but_itself() -> None:
    record = simulated_record(config_of(), 0)
    total = checksum(record)
    assert checksum(record | {"checksum": total}) == total
    assert checksum(record | {"round": 1}) != total
    assert checksum(json.loads(json.dumps(record))) == total


# The id of a config that names no locations.
BARE = id_of(config_of().flat())


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({}, ""),
        ({"metrics": {"accuracy": None}}, ""),
        ({"metrics": {"accuracy": "high"}}, "metrics"),
        ({"metrics": {"accuracy": True}}, "metrics"),
        ({"metrics": {"accuracy": [1]}}, "metrics"),
        ({"metrics": {"loss": 1e308}}, "metrics"),
        ({"metrics": {"loss": 10**400}}, "metrics"),
        ({"cost": {}}, "cost"),
        ({"cost": dict.fromkeys(COSTS, 1)}, ""),
        ({"cost": dict.fromkeys(COSTS, 1) | {"parameters": "many"}}, "cost"),
        ({"cost": dict.fromkeys(COSTS[1:], 1)}, "cost"),
        ({"provenance": {"data": "", "code": {}}, "config_id": BARE}, "provenance"),
        ({"provenance": {"data": "", "code": {}, "name": 3, "created": ""}, "config_id": BARE}, "provenance"),
        ({"error": "boom"}, "error"),
        ({"status": "failed"}, "error"),
        ({"error": {"reason": "boom"}}, "error"),
        ({"config_id": "0" * 12}, "config"),
        ({"config": {}, "config_id": id_of({})}, "config"),
    ],
)
def test_a_record_that_its_readers_could_not_use_is_found_out(change: dict[str, Any], part: str) -> None:
    assert misshapen(simulated_record(config_of(), 0) | change) == part


def test_an_option_that_was_changed_by_hand_no_longer_matches_the_id() -> None:
    record = simulated_record(config_of(), 0)
    record["config"]["train.epochs"] += 1
    assert misshapen(record) == "config"


def test_the_streams_of_seeds_differ_by_seed_round_and_purpose_and_fit_in_json() -> None:
    seeds = {
        stream_seed(seed, number, purpose)
        for seed in range(10)
        for number in range(100)
        for purpose in ("weights", "order")
    }
    assert len(seeds) == 2000
    assert all(0 <= seed < 2**53 for seed in seeds)


def test_seeds_stay_the_same_from_version_to_version() -> None:
    assert [round_seed(0, 0), round_seed(0, 1), round_seed(1, 0)] == [
        round_seed_by_hand("weights/0/0"),
        round_seed_by_hand("weights/0/1"),
        round_seed_by_hand("weights/1/0"),
    ]


def round_seed_by_hand(text: str) -> int:
    """The first 53 bits of the SHA-256 of `text`."""
    import hashlib

    return int(hashlib.sha256(text.encode()).hexdigest()[:14], 16) >> 3


def test_a_record_made_without_figures_has_empty_parts() -> None:
    record = make_record(
        config_of(), 0, CONTEXT, status="diverged", name="n", suite="s", cost={"parameters": 1}, environment={}
    )
    assert (record["metrics"], record["curves"]) == ({}, {})
    assert record["provenance"]["suite"] == "s"
