"""Promise 7: a stored result is used only for what it was asked for, in every option of every component."""

from __future__ import annotations

import copy
import dataclasses
import random
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import pytest
from conftest import config_of, simulated_record
from pydantic import BaseModel, ValidationError

from pairbench.config.run_config import DEFAULTS, PAIRINGS, RunConfig, from_flat, id_of
from pairbench.config.train_options import TrainOptions
from pairbench.execution.plan import PlannedConfig, pending
from pairbench.plugin.components import INTERFACES
from pairbench.plugin.registry import installed
from pairbench.store.known_rounds import Known
from pairbench.store.record import Context

CONTEXT = Context("data", {"core": {"distribution": "pairbench", "version": "0", "source": "a"}})
WORDS = ["x", "adamw", "sgd", "linear", "none", "cosine", "resnet18", "mobilenetv3_small_050", "adam", "l2", "test"]
NUMBERS = [2, 3, 5, 7, 11, 16, 33, 64, 1, 0.25, 0.5, 0.125, 1.5]


# What some options cannot be set without.
NEEDS: dict[str, dict[str, Any]] = {
    "train.tta": {"train.augment": {"rotate": 1.0}},
    **{f"dataset.{view}_class": {"dataset.num_classes": 5} for view in ("first", "second", "third")},
    "dataset.third_class": {"dataset.num_classes": 5, "dataset.task": "preference"},
}


def others(annotation: Any, now: Any) -> Iterator[Any]:
    """Values that an option of this type might take instead of `now`."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if isinstance(now, bool) or annotation is bool:
        yield not now
    yield from (value for value in inner if isinstance(value, str | int | bool))
    for part in inner:
        if get_origin(part) is not None and get_origin(part) is not origin:
            yield from others(part, now)
    if isinstance(now, list | tuple) and len(set(map(str, now))) > 1:
        yield list(now)[::-1]
    yield from NUMBERS
    yield from WORDS
    yield from (
        [0.5, 0.25, 0.125],
        [3, 5],
        [1, 1, 2],
        [8, 16, 24, 32],
        [1, 2, 3, 4, 5],
        {"rotate": 5.0},
        {"momentum": 0.5},
        ["RandomHorizontalFlip(p=0.5)"],
        ["x"],
        None,
    )


def neighbours(flat: dict[str, Any], owner: str, model: type[BaseModel]) -> Iterator[tuple[str, RunConfig]]:
    """For each option of `model`, a config that differs from `flat` in it alone."""
    for name, info in model.model_fields.items():
        key = f"{owner}.{info.alias or name}"
        for value in others(info.annotation, flat.get(key)):
            changed = copy.deepcopy(flat) | {key: value}
            changed |= NEEDS.get(key, {})
            try:
                config = from_flat(changed)
            except Exception:  # noqa: BLE001 - not every guess is a value of this option
                continue
            if config.flat()[key] != flat.get(key):
                yield key, config
                break
        else:
            yield key, from_flat(flat)


def misses(stored: PlannedConfig, asked: PlannedConfig) -> bool:
    records = [
        simulated_record(stored.config, number, context=stored.context) for number in range(stored.config.train.rounds)
    ]
    (left,) = pending([asked], Known.of(records), fresh=False, retry_failed=False)
    return len(left) == asked.config.train.rounds


def components() -> list[tuple[str, str]]:
    return [(slot, name) for slot in INTERFACES for name in installed().names(slot)]


def base(slot: str, name: str) -> dict[str, Any]:
    """A flat config with this component, required options filled in."""
    component = installed().find(slot, name).component
    flat = config_of("train.rounds=2").flat()
    flat = {key: value for key, value in flat.items() if not key.startswith(slot + ".")} | {slot: name}
    required = {n: i for n, i in component.model_fields.items() if i.is_required()}
    for option, info in required.items():
        for value in others(info.annotation, None):
            try:
                component.model_validate({(f.alias or n): value for n, f in required.items()})
            except (ValidationError, ValueError, TypeError):
                continue
            flat[f"{slot}.{info.alias or option}"] = value
            break
    return from_flat(flat).flat()


@pytest.mark.parametrize(("slot", "name"), components(), ids=lambda value: value)
def test_every_option_of_a_component_makes_another_result(slot: str, name: str) -> None:
    try:
        flat = base(slot, name)
    except Exception as error:  # noqa: BLE001 - an option that only its own test knows how to fill
        pytest.skip(f"{slot}={name} cannot be had by guessing: {error}")
    model = installed().find(slot, name).component
    stored = PlannedConfig("m", from_flat(flat), CONTEXT)
    places = stored.config.locations()
    for key, config in neighbours(flat, slot, model):
        if key in places:
            assert not misses(stored, PlannedConfig("m", config, CONTEXT)), f"{key} only says where data lie"
        elif config.flat()[key] != flat[key]:
            assert misses(stored, PlannedConfig("m", config, CONTEXT)), f"{key} does not count"
        else:
            pytest.fail(f"no other value found for {key}: add one to this file")


def test_every_option_of_training_makes_another_result_but_the_number_of_rounds() -> None:
    flat = config_of("train.rounds=2").flat()
    stored = PlannedConfig("m", from_flat(flat), CONTEXT)
    tried = 0
    for key, config in neighbours(flat, "train", TrainOptions):
        assert config.flat()[key] != flat[key], f"no other value found for {key}: add one to this file"
        assert misses(stored, PlannedConfig("m", config, CONTEXT)) == (key != "train.rounds"), key
        tried += 1
    assert tried == len(TrainOptions.model_fields)


def test_another_component_in_a_slot_or_another_pairing_makes_another_result() -> None:
    stored = PlannedConfig("m", config_of("train.rounds=2"), CONTEXT)
    for slot, name in components():
        if name != DEFAULTS[slot]:
            try:
                config = from_flat(base(slot, name))
            except Exception:  # noqa: BLE001 - needs options that cannot be guessed
                continue
            assert misses(stored, PlannedConfig("m", config, CONTEXT)), f"{slot}={name}"
    for pairing in PAIRINGS:
        if pairing != DEFAULTS["pairing"]:
            assert misses(stored, PlannedConfig("m", config_of("train.rounds=2", f"pairing={pairing}"), CONTEXT))


def test_other_data_code_or_versions_make_another_result() -> None:
    config = config_of("train.rounds=2")
    code = {slot: {"distribution": "a", "version": "1", "source": "s"} for slot in (*INTERFACES, "core")}
    stored = PlannedConfig("m", config, Context("data", code))
    assert not misses(stored, PlannedConfig("other name", config, Context("data", copy.deepcopy(code))))
    assert misses(stored, dataclasses.replace(stored, context=Context("other", code)))
    for slot, parts in code.items():
        for part in parts:
            other = code | {slot: parts | {part: "other"}}
            assert misses(stored, dataclasses.replace(stored, context=Context("data", other))), (slot, part)


def test_the_order_of_words_never_matters() -> None:
    words = [
        "encoder=cnn",
        "loss=aux",
        "train.epochs=3",
        "train.rounds=2",
        "encoder.embedding_dim=10",
        "pairing=siamese",
    ]
    stored, choose = PlannedConfig("m", config_of(*words), CONTEXT), random.Random(0)
    for _ in range(50):
        choose.shuffle(words)
        asked = PlannedConfig("m", config_of(*words), CONTEXT)
        flat = list(asked.config.flat().items())
        choose.shuffle(flat)
        assert asked.round_keys() == stored.round_keys()
        assert from_flat(dict(flat)).config_id == stored.config.config_id


def test_the_order_inside_an_option_that_is_a_table_never_matters() -> None:
    for option, parts in (
        ("train.augment", ["rotate=5.0", "shift=0.1"]),
        ("train.optimizer_options", ["betas=[0.8,0.9]", "eps=0.001"]),
    ):
        first, second = (config_of(f"{option}=[{','.join(order)}]") for order in (parts, parts[::-1]))
        assert list(first.flat()[option]) != list(second.flat()[option])
        assert first.config_id == second.config_id
    flat = config_of("train.augment=[rotate=5.0,shift=0.1]").flat()
    turned = from_flat(flat | {"train.augment": dict(reversed(flat["train.augment"].items()))})
    assert turned.config_id == id_of(flat, ["dataset.root"])
