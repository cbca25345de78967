"""Which engine trains a config: as asked, or as a few steps show; and what happens where one cannot."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import config_of
from test_stacked import SMALL, splits_of
from torch import nn

import pairbench
from pairbench.errors import SpecError
from pairbench.store.store import Store
from pairbench.training import acceleration, engines
from pairbench.training.engines import Choice, choose, neutral_in_bf16, remember, remembered, settle, train_rounds

CPU = torch.device("cpu")
TINY = ("encoder=mlp", "encoder.hidden=[4]", "train.epochs=2", *SMALL)


class Halves(pairbench.Accelerator):
    """Suits convolutions on a CPU in bf16."""

    name = "halves"

    def suits(self, model: nn.Module, device: torch.device, precision: str) -> bool:
        convolutions = any(isinstance(part, nn.Conv2d) for part in model.modules())
        return convolutions and device.type == "cpu" and precision == "bf16"

    def applied(self, model: nn.Module, device: torch.device, precision: str) -> AbstractContextManager[None]:
        return nullcontext()


class NeutralHalves(Halves):
    neutral_in_bf16 = True


def choice_of(*words: str, numbers: Sequence[int] = (0, 1), clock: engines.Clock | None = None) -> Choice:
    config = config_of(*TINY, *words)
    return choose(config, CPU, numbers, config.train.rounds, splits_of(config, 2).__getitem__, clock)


def clock_of(*seconds: float) -> engines.Clock:
    """Each way of training takes as long as `seconds` say, in the order in which they are tried."""
    return lambda calls, _: list(seconds[: len(calls)])


def test_an_engine_that_is_asked_for_is_taken() -> None:
    assert choice_of("train.engine=stacked") == Choice("stacked", "fp32", False, "asked")
    assert choice_of("train.engine=loop") == Choice("loop", "fp32", False, "asked")


def test_little_work_is_not_measured() -> None:
    assert choice_of(clock=clock_of(0.001)) == Choice("loop", "fp32", False, "too little work to measure")


@pytest.mark.parametrize(("stacked", "engine"), [(8.0, "stacked"), (19.0, "loop"), (30.0, "loop")])
def test_the_clearly_faster_engine_is_taken(stacked: float, engine: str) -> None:
    chosen = choice_of(clock=clock_of(10.0, stacked))
    assert (chosen.engine, chosen.why) == (engine, "measured")
    assert chosen.cost() == {"loop_ms": 10_000.0, "stacked_ms": 1000 * stacked / 2}


def test_what_cannot_be_stacked_says_why() -> None:
    reason = choice_of("train.carry_over=true", "train.engine=stacked").why
    assert reason == "cannot stack: train.carry_over passes the model of one round on to the next"


def test_bf16_is_chosen_only_where_it_has_been_shown_neutral(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = config_of("train.normalize=raw", "encoder=deep_cnn")
    monkeypatch.setattr(acceleration, "usable", dict)
    assert not neutral_in_bf16(raw, CPU)
    monkeypatch.setattr(acceleration, "usable", lambda: {"doubtful": Halves()})
    assert not neutral_in_bf16(raw, CPU), "nobody has shown it"
    monkeypatch.setattr(acceleration, "usable", lambda: {"neutral": NeutralHalves()})
    assert neutral_in_bf16(raw, CPU), "it multiplies in bf16 itself, and figures stay"
    assert not neutral_in_bf16(raw, torch.device("cuda")), "it is for a CPU"
    assert not neutral_in_bf16(config_of("train.normalize=raw", "encoder=mlp"), CPU), "it does not suit"
    clock = clock_of(10.0, 5.0)
    words = ("train.precision=auto", "train.engine=loop")
    assert choice_of(*words, clock=clock).precision == "fp32"
    assert choice_of(*words, "train.normalize=standard", clock=clock).precision == "bf16"


def test_the_precision_is_chosen_first_and_then_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("train.precision=auto", "train.normalize=standard")
    chosen = choice_of(*words, clock=clock_of(10.0, 8.0))
    assert (chosen.precision, chosen.engine) == ("bf16", "stacked")
    assert chosen.cost() == {"loop_ms": 10_000.0, "stacked_ms": 4_000.0, "bf16_ms": 10_000.0}


def test_a_choice_is_taken_once_for_a_config_on_a_machine(tmp_path: Path) -> None:
    config = config_of(*TINY)
    splits = splits_of(config, 2)
    first = settle(config, CPU, (0, 1), splits.__getitem__, tmp_path / "one.json", clock_of(10.0, 4.0))
    later = clock_of(10.0, 40.0)
    assert settle(config, CPU, (0, 1), splits.__getitem__, tmp_path / "two.json", later) == first
    assert settle(config, CPU, (1,), splits.__getitem__, tmp_path / "three.json", later) == first
    assert first.engine == "stacked"


@pytest.mark.parametrize("text", ["", "{}", '{"engine": 1}', "\x00", "[]"])
def test_a_damaged_choice_is_taken_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / "choice").write_text(text)
    assert remembered(tmp_path / "choice") is None


@pytest.mark.parametrize("how", ["swapped", "changed"])
def test_a_choice_made_for_something_else_is_taken_anew(tmp_path: Path, how: str) -> None:
    path = tmp_path / "one.json"
    remember(Choice("loop", "bf16", False, "measured", 1.0), path)
    if how == "swapped":
        path = path.rename(tmp_path / "two.json")
    else:
        path.write_text(path.read_text().replace("loop", "stacked"))
    assert remembered(path) is None


def test_a_choice_survives_its_file(tmp_path: Path) -> None:
    choice = Choice("stacked", "bf16", False, "measured", 1.0, 0.5)
    remember(choice, tmp_path / "choice")
    assert remembered(tmp_path / "choice") == choice


def test_a_stack_that_fails_is_trained_round_by_round(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no such\nkernel")

    monkeypatch.setattr(engines.Stacked, "run", broken)
    config = config_of(*TINY)
    choice = Choice("stacked", "fp32", False, "asked")
    done = list(train_rounds(config, CPU, choice, (0, 1), splits_of(config, 2).__getitem__))
    assert [(item.number, item.choice) for item in done] == [
        (number, replace(choice, engine="loop", why="stacked failed: no such kernel")) for number in (0, 1)
    ]


def test_half_of_the_rounds_are_trained_at_a_time_where_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    true = engines.Stacked.run

    def scarce(self: Any, splits: Any, on_epoch: Any = None) -> Any:
        if len(splits) > 2:
            raise torch.OutOfMemoryError("too much")
        return true(self, splits, on_epoch)

    monkeypatch.setattr(engines.Stacked, "run", scarce)
    config = config_of(*TINY)
    done = list(
        train_rounds(config, CPU, Choice("stacked", "fp32", False, "asked"), range(4), splits_of(config, 4).__getitem__)
    )
    assert [item.number for item in done] == [0, 1, 2, 3]
    assert {item.choice.why for item in done} == {"2 rounds at once, since 4 need more memory than there is"}


@pytest.mark.parametrize("engine", ["loop", "stacked"])
def test_a_record_names_its_engine(tmp_path: Path, engine: str) -> None:
    results = pairbench.run(
        *TINY, f"train.engine={engine}", "train.rounds=2", store=tmp_path / "s", workers=0, timing=False
    )
    records = Store(results.store).read().records
    assert {record["environment"]["engine"] for record in records} == {engine}
    assert {record["status"] for record in records} == {"finished"}


def test_both_engines_reach_the_same_figures_without_chance_inside_the_network(tmp_path: Path) -> None:
    figures = [
        pairbench.run(
            *TINY, f"train.engine={engine}", "train.rounds=3", store=tmp_path / engine, workers=0, timing=False
        )[0].records
        for engine in ("loop", "stacked")
    ]
    for one, other in zip(*figures, strict=True):
        assert one["metrics"]["loss"] == pytest.approx(other["metrics"]["loss"], rel=1e-3)


def test_a_resumed_stack_equals_one_that_was_not_interrupted(tmp_path: Path) -> None:
    words = (*TINY[:2], "encoder=pooled_cnn", "train.epochs=1", *SMALL, "train.engine=stacked", "train.rounds=3")
    words = tuple(word for word in words if "mlp" not in word and "hidden" not in word)

    def go() -> list[Any]:
        return [r["metrics"] for r in pairbench.run(*words, store=tmp_path / "s", workers=0, timing=False)[0].records]

    whole = go()
    next((tmp_path / "s").rglob("0001-*.json")).unlink()
    assert go() == whole


def test_compiling_and_stacking_exclude_each_other() -> None:
    with pytest.raises(SpecError, match="compile=on works with a single model"):
        config_of("train.compile=on", "train.engine=stacked")
