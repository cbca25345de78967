"""Faster ways to compute the same: equal to the plain ones but for rounding, checked in float64."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
from conftest import config_of
from torch import Tensor, nn

from pairbench.interfaces import PairBatch
from pairbench.model import PairModel, build_model
from pairbench.training.kernels import matrix_convolutions, suits

DEEP = "encoder=deep_cnn encoder.dropout=[]"


def model_of(words: str) -> PairModel:
    torch.manual_seed(0)
    return build_model(config_of(*words.split())).double().to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def gradients(model: PairModel, within: Callable[[nn.Module], AbstractContextManager[None]]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(6, 2, 1, 14, 14, generator=generator, dtype=torch.float64)
    batch = PairBatch(images, torch.tensor([0, 1] * 3), torch.randint(10, (6, 2), generator=generator))
    model.zero_grad()
    with within(model):
        total, _ = model.loss(model(batch.images), batch)
        total.backward()
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


def test_a_convolution_as_a_matrix_product_has_equal_gradients() -> None:
    model = model_of(DEEP)
    plain = gradients(model, lambda _: nullcontext())
    torch.testing.assert_close(gradients(model, matrix_convolutions), plain, rtol=1e-9, atol=1e-12)


def test_convolutions_are_their_own_again_afterwards() -> None:
    model = model_of(DEEP)
    with matrix_convolutions(model):
        changed = [layer for layer in model.modules() if "forward" in vars(layer)]
    assert changed
    assert not [layer for layer in model.modules() if "forward" in vars(layer)]


@pytest.mark.parametrize(
    ("layer", "size", "suited"),
    [
        (nn.Conv2d(80, 160, 3), 4, True),
        (nn.Conv2d(40, 80, 3), 6, True),
        (nn.Conv2d(64, 80, 3), 6, False),
        (nn.Conv2d(5, 10, 3), 12, False),
        (nn.Conv2d(8, 8, 1), 2, False),
        (nn.Conv2d(8, 8, 3), 2, False),
    ],
)
def test_few_output_positions_make_a_matrix_product(layer: nn.Conv2d, size: int, suited: bool) -> None:
    assert suits(layer, torch.zeros(2, layer.in_channels, size, size)) is suited


def test_autocast_keeps_its_own_convolutions() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert not suits(nn.Conv2d(80, 160, 3), torch.zeros(2, 80, 4, 4))


def test_one_pass_over_both_images_equals_batch_norm_over_each_in_turn() -> None:
    folded, apart = model_of(DEEP), model_of(DEEP)
    apart.parts_for_norms = False
    assert folded.parts_for_norms
    plain = gradients(apart, lambda _: nullcontext())
    torch.testing.assert_close(gradients(folded, lambda _: nullcontext()), plain, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(dict(folded.named_buffers()), dict(apart.named_buffers()), rtol=1e-9, atol=1e-12)


def test_an_encoder_full_of_batch_norm_sees_one_image_after_the_other() -> None:
    assert not model_of("encoder=wide_cnn head=posterior").parts_for_norms
