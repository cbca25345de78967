"""Differentiable layers over images whose last axis is the batch, (C, H, W, N)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.grad import conv2d_input, conv2d_weight

import pairbench
from pairbench_cpu.batch_norm import normalise, normalise_back
from pairbench_cpu.conv import convolve_forward, images_gradient, places, weights_gradient
from pairbench_cpu.ir_builder import Shape, compiled, this_machine
from pairbench_cpu.max_pool import pool, pool_back
from pairbench_cpu.vmap_function import VmapFunction, in_front


def lanes(kind: torch.dtype) -> int:
    """Images in one vector of the processor."""
    return this_machine().lanes(kind.itemsize)


class Convolution(VmapFunction):
    """x (C, H, W, N) -> (K, O, Q, N): a convolution, and after it a ReLU and a mask (K, N) where they are asked for.

    apply(x, weight, bias, relu, mask, scale, follows_relu, gated_later, half).

    The mask holds 0 or `scale`, and comes with a ReLU alone: what it hides is zero, so the answer itself shows where
    gradients pass. N is a multiple of the images in a vector.

    follows_relu: x is what such a ReLU answered, and its gradient is left out here already.
    gated_later: what comes back has passed this one's ReLU already.
    half: products are of bf16 where that is faster, the gradients' too.
    """

    @staticmethod
    def forward(
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        relu: bool,
        mask: Tensor | None,
        *rest: Any,
    ) -> Tensor:
        return convolve_forward(x, weight, bias, relu, mask, rest[-1])[0]

    @staticmethod
    def forward_and_kept(*args: Any) -> tuple[Tensor, Tensor | None]:
        x, weight, bias, relu, mask, *_, half = args
        return convolve_forward(x, weight, bias, relu, mask, half)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, bias, relu, _, ctx.scale, ctx.follows_relu, gated_later, ctx.half = inputs
        ctx.kept = None
        ctx.save_for_backward(x, weight, output if relu and not gated_later else None)
        ctx.biased = bias is not None

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, answer = ctx.saved_tensors
        # In one layout first: an operation over two layouts at once is several times slower.
        back = gradients[0].contiguous()
        back = back if answer is None else _through_relu(back, answer)
        if torch.is_grad_enabled():
            if x.ndim > 4:
                raise pairbench.CannotBatch("convolutions with the batch last have no second derivative in a vmap")
            again = _again(x, weight, back * ctx.scale, ctx.biased)
            for_images = again[0] * (x > 0) if ctx.follows_relu else again[0]
            return for_images, *again[1:], *[None] * 6
        for_weight = weights_gradient(back, weight, x, ctx.half)
        for_bias = back.sum((-3, -2, -1)) if ctx.biased else None
        for_images = None
        if ctx.needs_input_grad[0]:
            for_images = images_gradient(back, weight, x, ctx.follows_relu, ctx.scale, ctx.kept, ctx.half)
        if ctx.scale != 1:
            for_weight *= ctx.scale
            for_bias = for_bias * ctx.scale if for_bias is not None else None
        return for_images, for_weight, for_bias, *[None] * 6


class BatchNorm(VmapFunction):
    """x (C, H, W, N) -> the same shape and, for each view, mean and variance (C, V): batch norm over each view in turn.

    The first `count` images hold `views` equal parts one after the other; what is left of N is filled with zeros. A
    ReLU and a mask (C, N) may follow.
    """

    @staticmethod
    def forward(
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        count: int,
        views: int,
        eps: float,
        relu: bool,
        mask: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        answer, mean = _whole(x, count), x.new_empty(x.shape[0], views)
        variance = torch.empty_like(mean)
        tables = (x, weight, bias, mask, x.new_tensor([eps]), mean, variance, answer)
        compiled(normalise, Shape(x.element_size()))(*places(*tables), *_sizes(x, count, views, relu))
        return answer, mean, variance

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        x, weight, bias, count, views, ctx.eps, relu, mask = inputs
        ctx.save_for_backward(x, weight, bias, mask, *output[1:])
        ctx.sizes = _sizes(x, count, views, relu)
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*output[1:])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        x, weight, bias, mask, *moments = ctx.saved_tensors
        if gradients[0] is None:
            return (None,) * 8
        back, answer = gradients[0].contiguous(), _whole(x, ctx.sizes[3])
        to_weight, to_bias = torch.zeros_like(weight), torch.zeros_like(bias)
        tables = (x, weight, bias, mask, x.new_tensor([ctx.eps]), *moments, back, answer, to_weight, to_bias)
        compiled(normalise_back, Shape(back.element_size()))(*places(*tables), *ctx.sizes)
        return answer, to_weight, to_bias, *[None] * 5

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        # Each channel is by itself, whichever model it belongs to.
        apart = in_front(info.batch_size, in_dims, inputs)
        joined = [item.flatten(0, 1) if isinstance(item, Tensor) else item for item in apart]
        found = BatchNorm.apply(*joined)
        return tuple(item.unflatten(0, (info.batch_size, -1)) for item in found), (0, 0, 0)


class MaxPool(VmapFunction):
    """x (C, H, W, N) -> (C, H // size, W // size, N), the largest of each window of size x size."""

    @staticmethod
    def forward(x: Tensor, size: int) -> Tensor:
        channels, height, width, count = x.shape
        answer = x.new_empty(channels, height // size, width // size, count)
        compiled(pool, Shape(x.element_size(), columns=size))(*places(x, answer), *x.shape)
        return answer

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, ctx.size = inputs
        ctx.save_for_backward(x, output)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Tensor, int]:
        x, size = in_front(info.batch_size, in_dims, inputs)
        answer: Tensor = MaxPool.apply(x.flatten(0, 1), size)
        return answer.unflatten(0, (info.batch_size, -1)), 0

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, answer = ctx.saved_tensors
        back = torch.zeros_like(x)
        tables = places(x, answer, gradients[0].contiguous(), back)
        compiled(pool_back, Shape(x.element_size(), columns=ctx.size))(*tables, *x.shape)
        return back, None


def _sizes(x: Tensor, count: int, views: int, relu: bool) -> tuple[int, ...]:
    return x.shape[0], x.shape[1] * x.shape[2], x.shape[3], count, views, int(relu)


def _whole(like: Tensor, count: int) -> Tensor:
    """A table like `like` (C, H, W, N), zero behind the first `count` images."""
    table = torch.empty_like(like)
    if count < like.shape[3]:
        table[..., count:] = 0
    return table


def _through_relu(back: Tensor, answer: Tensor) -> Tensor:
    """What passes back through a ReLU (and a mask) that answered `answer`."""
    passed: Tensor = torch.ops.aten.threshold_backward(back, answer, 0)
    return passed


def _again(x: Tensor, weight: Tensor, back: Tensor, biased: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """The gradients of images, weight and bias, in operations that can be differentiated once more."""
    images, upstream = x.permute(3, 0, 1, 2), back.permute(3, 0, 1, 2)
    to_images = conv2d_input(images.shape, weight, upstream).permute(1, 2, 3, 0)
    to_weight = conv2d_weight(images, weight.shape, upstream)
    return to_images, to_weight, back.sum((1, 2, 3)) if biased else None


def batch_last(images: Tensor, padding: tuple[int, int]) -> Tensor:
    """(N, C, H, W) -> (C, H, W, N) in that order in memory, edges padded with zeros, N filled to whole vectors."""
    x = images.permute(1, 2, 3, 0)
    missing = -x.shape[3] % lanes(x.dtype)
    if missing or any(padding):
        return functional.pad(x, (0, missing, padding[1], padding[1], padding[0], padding[0]))
    return x.contiguous()


def batch_first(x: Tensor, count: int) -> Tensor:
    """(C, H, W, N) -> its first `count` images as (count, C, H, W), whose memory stays as it is."""
    return x[..., :count].permute(3, 0, 1, 2)
