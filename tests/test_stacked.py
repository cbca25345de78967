"""The engine that trains all rounds at once: equal gradients, equal data, and a clear reason where it cannot."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from conftest import config_of
from torch import nn

from pairbench.config.run_config import RunConfig
from pairbench.data.round_data import RoundData, scaling
from pairbench.plugin.components import PairBatch
from pairbench.training.loop import RoundSplits
from pairbench.training.stacked import Stack, Stacked, _Step

CPU = torch.device("cpu")
SMALL = ("dataset.train_pairs=24", "dataset.validation_pairs=10", "dataset.test_pairs=20")
# What each bundled component needs beside it; encoders that download or read files have tests of their own.
CONFIGS = [
    "encoder=mlp",
    "encoder=mlp encoder.hidden=[8,8] encoder.embedding_dim=2 encoder.bias=false loss=cross_entropy",
    "encoder=mlp pairing=two_channel loss=cross_entropy",
    "encoder=mlp pairing=pseudo_siamese",
    "encoder=cnn",
    "encoder=pooled_cnn",
    "encoder=elman_rnn encoder.hidden=8",
    "encoder=deep_cnn encoder.channels=[4,8] encoder.batch_norm=[1,2] encoder.dropout=[0.2,0.3]",
    "encoder=deep_cnn encoder.channels=[4,4,4,4] encoder.batch_norm=[2] encoder.dropout=[]",
    "encoder=deep_cnn encoder.channels=[3,20,18,9] encoder.batch_norm=[1,3] encoder.dropout=[]",
    "encoder=cnn encoder.channels=[5,7,3] pairing=pseudo_siamese",
    "encoder=wide_cnn encoder.channels=[4,8] head=posterior",
    "encoder=residual_cnn encoder.channels=[4,8] head=concat_mlp",
    "encoder=cnn encoder.embedding_dim=7 loss=aux loss.classifier=linear",
]


def splits_of(config: RunConfig, rounds: int, dtype: torch.dtype = torch.float32) -> dict[int, RoundSplits]:
    pools = {
        split: config.dataset.load(split, rounds=rounds, seed=config.train.seed)
        for split in ("train", "validation", "test")
    }
    found = {}
    for number in range(rounds):
        scale = scaling(config.train.normalize, pools["train"], number)
        parts = [RoundData(pools[split], number, scale, CPU) for split in ("train", "validation", "test")]
        for part in parts:
            assert part._images is not None
            part._images = part._images.to(dtype)
        found[number] = RoundSplits(*parts)
    return found


def without_dropout(model: nn.Module) -> None:
    for part in model.modules():
        if isinstance(part, nn.modules.dropout._DropoutNd):
            part.p = 0.0


def batches(engine: Stacked) -> list[PairBatch]:
    return [next(layer.sampler.epoch()) for layer in engine.layers]


def both_gradients(
    config: RunConfig, rounds: int = 3, *, fast: bool = False
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """For each model of a stack its gradients and buffers after one step, trained alone and trained stacked."""
    engine = Stacked(config, CPU)
    engine.prepare({number: part.train for number, part in splits_of(config, rounds, torch.float64).items()})
    models = [layer.model.double() for layer in engine.layers]
    drawn = batches(engine)
    alone = []
    for model, batch in zip(models, drawn, strict=True):
        without_dropout(model)
        before = {name: buffer.clone() for name, buffer in model.named_buffers()}
        total, _ = model.loss(model(batch.images), batch)
        total.backward()
        found = {name: item.grad.clone() for name, item in model.named_parameters() if item.grad is not None}
        alone.append(found | {name: buffer.clone() for name, buffer in model.named_buffers()})
        for name, buffer in model.named_buffers():
            buffer.copy_(before[name])
        model.zero_grad()
    supervises = config.loss.supervises_classes
    stack = Stack(models, lambda model: _Step(model, supervises, False, "cpu").double())
    with engine.accelerated() if fast else nullcontext():
        stack.backward(
            torch.stack([batch.images for batch in drawn]),
            torch.stack([batch.target for batch in drawn]),
            torch.stack([batch.classes for batch in drawn]),
        )
    together = [
        {
            name.removeprefix("model."): item.grad[row]
            for name, item in stack.parameters.items()
            if item.grad is not None
        }
        | dict(model.named_buffers())
        for row, model in enumerate(models)
    ]
    return alone, together


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("words", CONFIGS)
def test_stacked_gradients_equal_separate_ones(words: str, fast: bool) -> None:
    alone, together = both_gradients(config_of(*words.split(), *SMALL), fast=fast)
    assert [sorted(item) for item in together] == [sorted(item) for item in alone]
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-9, atol=1e-12)
