"""The accelerators of pairbench_cpu as the core uses them: what they suit, their speed figures, and the kit."""

from __future__ import annotations

import pytest
import torch
from conftest import config_of
from torch import nn

import pairbench
from pairbench.config.train_options import TrainOptions
from pairbench.execution.time_configs import modes_of, side_by_side
from pairbench.model.pair_model import build_model
from pairbench.plugin.registry import installed
from pairbench.testing.kit import examine
from pairbench.timing import backends
from pairbench.training.acceleration import accelerated, suitable

CPU = torch.device("cpu")
SMALL = ("encoder=cnn", "encoder.channels=[2]")


def test_the_mode_batch_last_is_not_torch_by_another_name() -> None:
    model = build_model(config_of(*SMALL)).eval()
    answer = backends.mode_of("batch_last", model, torch.zeros(64, 2, 1, 14, 14))
    images = torch.rand(64, 2, 1, 14, 14)
    assert backends.checked("batch_last", answer, model, images) < 1e-5
    with torch.profiler.profile() as seen:
        answer(images)
    assert not [event.key for event in seen.key_averages() if event.key.startswith("aten::") and "conv" in event.key]


def test_a_mode_says_where_it_has_no_faster_code() -> None:
    model = build_model(config_of("encoder=mlp")).eval()
    with pytest.raises(backends.Unavailable, match="no faster code for this model"):
        backends.mode_of("batch_last", model, torch.zeros(2, 2, 1, 14, 14))


def test_both_speeds_of_training_are_measured_and_the_plain_one_first(tmp_path: object) -> None:
    found = side_by_side([" ".join(SMALL)], repeats=3, modes=modes_of("batch_last"), store=str(tmp_path))
    timing = found["results"][0]["timing"]
    assert timing["accelerated"]["by"] == ["batch_last"]
    assert len(timing["accelerated"]["training_pairs_per_second"]["repeats"]) == 3
    assert timing["modes"]["batch_last"]["largest_difference"] < 1e-4


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("encoder=deep_cnn", ["batch_last"]),
        ("encoder=elman_rnn", ["elman_backward"]),
        ("encoder=mlp", []),
        ("encoder=deep_cnn train.compile=on", []),
    ],
)
def test_each_network_has_the_accelerators_that_suit_it(words: str, names: list[str]) -> None:
    config = config_of(*words.split())
    model = build_model(config)
    assert list(suitable(model, config.train, CPU)) == names
    assert suitable(model, config.train, torch.device("cuda")) == {}


def test_a_model_is_as_before_after_its_block() -> None:
    model = build_model(config_of("encoder=wide_cnn", "encoder.channels=[4,6]"))
    together = model.views_together
    with accelerated(TrainOptions(), CPU, model) as names:
        assert names == ("batch_last",)
        assert model.views_together
        assert any("forward" in vars(part) for part in model.modules() if isinstance(part, nn.Conv2d))
    assert model.views_together == together
    assert not any("forward" in vars(part) for part in model.modules())


@pytest.mark.parametrize("name", ["batch_last", "elman_backward"])
def test_they_pass_the_conformance_kit(name: str) -> None:
    accelerator: pairbench.Accelerator = installed().accelerators[name].accelerator
    assert [finding for finding in examine(accelerator) if finding.result != "passed"] == []
