"""Layers that compute with the batch last: equal to the plain ones but for rounding, checked in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
import torch
from conftest import config_of
from torch import Tensor, nn
from torch.nn import functional

from pairbench.model.pair_model import PairModel, build_model
from pairbench.plugin.accelerators import CannotBatch
from pairbench.plugin.components import PairBatch
from pairbench_cpu import autograd, conv, ir_builder, jit
from pairbench_cpu.amx import has_matrices
from pairbench_cpu.conv import form_of
from pairbench_cpu.patching import fast_layers, fast_parts

MODELS = [
    "encoder=deep_cnn loss=aux",
    "encoder=deep_cnn encoder.batch_norm=[1,6] encoder.channels=[3,7,8,9,16,5]",
    "encoder=deep_cnn pairing=two_channel loss=cross_entropy",
    "encoder=cnn pairing=pseudo_siamese",
    "encoder=cnn encoder.kernel_size=4 encoder.channels=[2,13]",
    "encoder=cnn encoder.kernel_size=1 encoder.channels=[4]",
    "encoder=wide_cnn encoder.channels=[4,6]",
    "encoder=wide_cnn encoder.channels=[4,6,3] pairing=pseudo_siamese",
    "encoder=pooled_cnn",
    "encoder=residual_cnn encoder.channels=[4,8] encoder.blocks=1",
]
Within = Callable[[nn.Module], AbstractContextManager[object]]


def model_of(words: str) -> PairModel:
    torch.manual_seed(0)
    model: PairModel = build_model(config_of(*words.split())).double()
    model.views_together = model.batch_coupled
    return model


def gradients(model: PairModel, within: Within, pairs: int) -> list[Tensor]:
    """The logits, every gradient, and the buffers that a step leaves behind."""
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(pairs, 2, 1, 14, 14, generator=generator, dtype=torch.float64)
    target = torch.randint(2, (pairs,), generator=generator)
    batch = PairBatch(images, target, torch.randint(10, (pairs, 2), generator=generator))
    model.zero_grad()
    torch.manual_seed(2)
    with within(model):
        comparison = model(batch.images)
        total, _ = model.loss(comparison, batch)
        total.backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    return [comparison.logits, *gradients, *(buffer.clone() for buffer in model.buffers())]


def plain(_: nn.Module) -> AbstractContextManager[object]:
    return nullcontext()


@pytest.mark.parametrize("words", MODELS)
@pytest.mark.parametrize("pairs", [16, 13, 5, 1])
def test_a_step_is_the_same_but_for_rounding(words: str, pairs: int) -> None:
    expected = gradients(model_of(words), plain, max(pairs, 2))
    found = gradients(model_of(words), fast_layers, max(pairs, 2))
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("words", MODELS)
def test_answers_in_evaluation_are_the_same_but_for_rounding(words: str) -> None:
    model = model_of(words).eval()
    images = torch.rand(7, 2, 1, 14, 14, dtype=torch.float64)
    with torch.no_grad():
        expected = model(images).logits
        with fast_layers(model):
            found = model(images).logits
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kernel", [(1, 2), (2, 1), (3, 3), (5, 4), (2, 7)])
@pytest.mark.parametrize("padding", [0, 1, (2, 0)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_convolution_of_any_kernel_is_the_same(
    kernel: tuple[int, int], padding: int | tuple[int, int], bias: bool
) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 7, kernel, padding=padding, bias=bias).double()
    images = torch.randn(19, 3, 9, 8, dtype=torch.float64, requires_grad=True)
    wanted = [images, *layer.parameters()]
    answer = layer(images)
    back = torch.randn_like(answer)
    expected = torch.autograd.grad(answer, wanted, back)
    with fast_layers(layer) as found:
        assert len(found) == 1
        faster = layer(images)
        assert faster.stride(0) == 1, "the batch is last in memory"
        torch.testing.assert_close(torch.autograd.grad(faster, wanted, back), expected)
    torch.testing.assert_close(faster, answer)


@pytest.mark.parametrize("channels", [(9, 37), (20, 17), (33, 64)])
@pytest.mark.parametrize("shape", [(19, 8, 6), (33, 4, 4), (70, 10, 34), (1, 6, 4)])
def test_a_convolution_in_tiles_is_the_same(channels: tuple[int, int], shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    (count, height, width), (inputs, outputs) = shape, channels
    layers = nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.Conv2d(outputs, inputs, 3), nn.ReLU(), nn.Dropout2d(0.4)
    ).double()
    images = torch.randn(max(count, 4), inputs, height, width, dtype=torch.float64, requires_grad=True)
    x, weight = (torch.empty(size) for size in ((inputs, height, width, count), (outputs, inputs, 3, 3)))
    assert form_of(x, weight, False) == "full"
    wanted = [images, *layers.parameters()]
    torch.manual_seed(1)
    answer = layers(images)
    back = torch.randn_like(answer)
    expected = torch.autograd.grad(answer, wanted, back)
    torch.manual_seed(1)
    with fast_layers(layers):
        faster = layers(images)
        torch.testing.assert_close(torch.autograd.grad(faster, wanted, back), expected)
    torch.testing.assert_close(faster, answer)


@pytest.mark.parametrize("narrow", [ir_builder.Machine(32, 2), ir_builder.Machine(16, 4)])
@pytest.mark.parametrize(
    "words", ["encoder=deep_cnn encoder.channels=[3,18,20,9] encoder.batch_norm=[1,3]", "encoder=pooled_cnn"]
)
def test_processors_with_narrower_vectors_give_the_same(
    narrow: ir_builder.Machine, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words += " encoder.dropout=[]" if "deep" in words else " encoder.dropout=0"
    expected = gradients(model_of(words), plain, 13)
    for room in (ir_builder, conv, autograd):
        monkeypatch.setattr(room, "this_machine", lambda: narrow)
    ir_builder.compiled.cache_clear()
    try:
        torch.testing.assert_close(gradients(model_of(words), fast_layers, 13), expected, rtol=1e-8, atol=1e-10)
    finally:
        ir_builder.compiled.cache_clear()


def test_tiles_lose_little_in_single_precision() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(80, 160, 3)
    images = torch.randn(64, 80, 4, 4)
    exact = copy.deepcopy(layer).double()(images.double())
    with fast_layers(layer):
        found = layer(images).double()
    plain = nn.Conv2d.forward(layer, images).double()
    assert (found - exact).abs().max() < 4 * (plain - exact).abs().max()


def in_halves(layers: nn.Sequential, images: Tensor, *, half: bool) -> list[Tensor]:
    """The answer in training and all gradients, the images' first, in single precision."""
    torch.manual_seed(1)
    images = images.clone().requires_grad_()
    with fast_layers(layers) as found:
        for layer in found:
            layer.half = half
        answer = layers(images)
        back = torch.randint(-2, 3, answer.shape, generator=torch.Generator().manual_seed(2)).float()
        return [answer, *torch.autograd.grad(answer, [images, *layers.parameters()], back)]


@pytest.mark.skipif(not has_matrices(), reason="this processor has no tile registers")
@pytest.mark.parametrize("channels", [(9, 37), (16, 8), (33, 64), (100, 49)])
@pytest.mark.parametrize("shape", [(19, 8, 6), (33, 4, 4), (70, 10, 34), (16, 6, 4)])
def test_products_in_bf16_lose_what_bf16_loses(channels: tuple[int, int], shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    (count, height, width), (inputs, outputs) = shape, channels
    # Without a ReLU, which passes all or nothing of what comes back where an answer is nearly zero.
    layers = nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, inputs, 3))
    images = torch.randn(count, inputs, height, width)
    exact, found = (in_halves(layers, images, half=half) for half in (False, True))
    # Eight bits of each factor stay, and errors of sums of many are of either sign.
    errors = [((other - one).norm() / one.norm()).item() for one, other in zip(exact, found, strict=True)]
    assert errors[0] > 1e-4
    assert max(errors) < 8e-3


@pytest.mark.skipif(not has_matrices(), reason="this processor has no tile registers")
def test_products_of_numbers_that_bf16_holds_are_exact() -> None:
    generator = torch.Generator().manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(21, 34, 3), nn.ReLU(), nn.Dropout2d(0.5))
    with torch.no_grad():
        for parameter in layers.parameters():
            # Sums of a few of them, and halves and quarters, are numbers of eight bits too.
            parameter.copy_(torch.randint(-1, 2, parameter.shape, generator=generator) * 4.0)
    images = torch.randint(-3, 4, (50, 21, 6, 8), generator=generator).float()
    exact, found = (in_halves(layers, images, half=half) for half in (False, True))
    assert all(map(torch.equal, found, exact))


@pytest.mark.skipif(not has_matrices(), reason="this processor has no tile registers")
def test_models_of_one_vmap_multiply_in_bf16_as_one_does() -> None:
    layers = nn.Sequential(nn.Conv2d(12, 20, 3), nn.ReLU(), nn.Conv2d(20, 16, 3))
    torch.manual_seed(0)
    weights = {name: torch.randn(3, *item.shape, requires_grad=True) for name, item in layers.named_parameters()}
    images = torch.randn(3, 24, 12, 8, 8)
    with fast_layers(layers) as found:
        for layer in found:
            layer.half = True
        together = torch.func.vmap(lambda own, images: torch.func.functional_call(layers, own, images))(weights, images)
        gradients = torch.autograd.grad(together.square().sum(), list(weights.values()))
        for number in range(3):
            own = {name: item[number] for name, item in weights.items()}
            answer = torch.func.functional_call(layers, own, images[number])
            torch.testing.assert_close(together[number], answer)
            alone = torch.autograd.grad(answer.square().sum(), list(own.values()))
            torch.testing.assert_close([gradient[number] for gradient in gradients], list(alone))


def test_models_of_one_vmap_drop_channels_of_their_own() -> None:
    layers = nn.Sequential(nn.Conv2d(2, 50, 2), nn.ReLU(), nn.Dropout2d(0.4)).train()
    weights = {name: torch.stack([item.detach().abs() + 0.1] * 3) for name, item in layers.named_parameters()}
    images = torch.ones(3, 40, 2, 5, 5)
    with fast_layers(layers):

        def answer(own: dict[str, Tensor], images: Tensor) -> Tensor:
            said: Tensor = torch.func.functional_call(layers, own, images)
            return said

        found = torch.func.vmap(answer, randomness="different")(weights, images)
    kept = found[:, :, :, 0, 0] > 0
    assert torch.equal(kept[..., None, None].expand_as(found), found > 0), "a channel is dropped whole"
    assert not torch.equal(kept[0], kept[1])
    assert 0.55 < kept.double().mean() < 0.65  # 6000 draws: a standard deviation of 0.006
    expected = torch.func.functional_call(layers[0], {k[2:]: v[0] for k, v in weights.items()}, images[0]).relu() / 0.6
    torch.testing.assert_close(found[0][kept[0]], expected[kept[0]])


def test_a_second_derivative_of_models_of_one_vmap_is_refused_and_not_left_out() -> None:
    layer = nn.Conv2d(1, 2, 2).double()
    weights = {name: torch.stack([item.detach()] * 2).requires_grad_() for name, item in layer.named_parameters()}
    with fast_layers(layer):
        answers = torch.func.vmap(lambda own, images: torch.func.functional_call(layer, own, images))(
            weights, torch.rand(2, 16, 1, 4, 4, dtype=torch.float64)
        )
        with pytest.raises(CannotBatch, match="no second derivative"):
            torch.autograd.grad(answers.square().sum(), list(weights.values()), create_graph=True)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("shape", [(9, 8), (6, 6), (7, 3)])
def test_pooling_picks_the_first_of_the_largest(size: int, shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 3, (2, 1)), nn.MaxPool2d(size)).double()
    # Whole numbers are often equal.
    images = torch.randint(0, 3, (17, 3, *shape)).double().requires_grad_()
    with torch.no_grad():
        layers[0].weight.round_()  # type: ignore[operator]
    answer = layers(images)
    back = torch.randn_like(answer)
    expected = torch.autograd.grad(answer, images, back)
    with fast_layers(layers) as found:
        assert len(found) == 2
        torch.testing.assert_close(layers(images), answer)
        torch.testing.assert_close(torch.autograd.grad(layers(images), images, back), expected)


def test_float32_is_as_close_to_the_truth_as_the_library() -> None:
    torch.manual_seed(0)
    layer, images = nn.Conv2d(20, 40, 3), torch.randn(128, 20, 8, 8)
    truth = functional.conv2d(images.double(), layer.weight.double(), layer.bias.double())  # type: ignore[union-attr]
    theirs = (layer(images) - truth).abs().max()
    with fast_layers(layer):
        ours = (layer(images) - truth).abs().max()
    assert ours <= 3 * theirs


def test_a_gradient_can_be_differentiated_once_more() -> None:
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU()).double()
    images = torch.randn(16, 2, 5, 5, dtype=torch.float64, requires_grad=True)

    def penalty() -> Tensor:
        (slope,) = torch.autograd.grad(layer(images).sum(), images, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), layer[0].weight)[0]  # type: ignore[arg-type]

    expected = penalty()
    with fast_layers(layer):
        torch.testing.assert_close(penalty(), expected)


def test_nan_is_not_hidden_by_a_relu_or_a_maximum() -> None:
    layer = nn.Sequential(nn.Conv2d(1, 1, 2), nn.ReLU(), nn.MaxPool2d(2))
    images = torch.full((16, 1, 3, 3), torch.nan)
    with fast_layers(layer):
        assert layer(images).isnan().all()


def test_layers_are_their_own_again_afterwards() -> None:
    model = model_of(MODELS[0])
    with fast_layers(model):
        changed = [layer for layer in model.modules() if "forward" in vars(layer)]
    assert len(changed) == 6 + 1 + 6 + 4
    assert not [layer for layer in model.modules() if "forward" in vars(layer)]


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 4, 3, stride=2),
        nn.Conv2d(4, 4, 3, groups=2),
        nn.Conv2d(4, 4, 3, dilation=2),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(4, 4, (3, 9)),
        nn.Sequential(nn.Conv2d(1, 64, 5), nn.Conv2d(64, 64, 5), nn.Conv2d(64, 128, 5)),
        nn.Sequential(nn.Conv2d(4, 4, 3), nn.MaxPool2d(3, stride=2)),
        nn.Sequential(nn.Conv2d(4, 4, 3), nn.MaxPool2d(2, padding=1)),
        nn.Sequential(nn.Conv2d(4, 4, 3), nn.AdaptiveAvgPool2d(1)),
        nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3, stride=2)),
    ],
)
def test_what_has_no_faster_way_stays_as_it_is(layer: nn.Module) -> None:
    assert fast_parts(layer) == []


def test_a_layer_with_a_hook_or_a_second_place_is_not_passed_over() -> None:
    relu = nn.ReLU()
    seen: list[int] = []
    watched = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    watched[1].register_forward_hook(lambda *_: seen.append(1))
    for model in (watched, nn.Sequential(nn.Conv2d(1, 2, 3), relu, nn.Conv2d(2, 2, 3), relu)):
        images = torch.randn(16, 1, 6, 6)
        expected = model(images)
        with fast_layers(model):
            torch.testing.assert_close(model(images), expected)
    assert seen == [1, 1]


def test_a_model_is_left_alone_under_autocast_and_with_another_dtype() -> None:
    layer = nn.Conv2d(1, 2, 3)
    images = torch.randn(16, 1, 6, 6)
    with fast_layers(layer), torch.autocast("cpu", torch.bfloat16):
        assert layer(images).dtype == torch.bfloat16
    with fast_layers(layer.bfloat16()):
        assert layer(images.bfloat16()).dtype == torch.bfloat16


def test_machine_code_is_kept_and_made_anew_where_it_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAIRBENCH_CACHE", str(tmp_path))
    text = "define i64 @seven() { ret i64 7 }"
    jit.machine_code(text, "seven")
    (path,) = tmp_path.rglob("*.o")
    whole = path.read_bytes()
    assert jit.kept_code(path) == whole[32:]
    for damaged in (b"", whole[:-1], whole[:40] + bytes([whole[40] ^ 1]) + whole[41:]):
        path.write_bytes(damaged)
        assert jit.kept_code(path) is None
        jit.machine_code(text, "seven")
        assert path.read_bytes() == whole
