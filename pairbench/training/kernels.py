"""Faster ways to compute what a network says, for training on a CPU; the numbers differ by rounding alone."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

# Up to this many output positions one matrix product beats oneDNN's convolution (docs/explanation/speed.md).
FEW_POSITIONS = 4
# And up to this many where the input channels do not fill oneDNN's blocks of 16.
FEW_UNALIGNED_POSITIONS = 16


class _Convolution(torch.autograd.Function):
    """A convolution of stride 1 without padding as one matrix product, over channels-last images."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        count, channels, height, width = images.shape
        outputs, _, rows, columns = weight.shape
        high, wide = height - rows + 1, width - columns + 1
        pixels = images.permute(0, 2, 3, 1).contiguous()  # (N, H, W, C)
        windows = pixels.as_strided(
            (count, high, wide, rows, columns * channels),
            (height * width * channels, width * channels, channels, width * channels, 1),
        ).reshape(count * high * wide, rows * columns * channels)
        matrix = weight.permute(2, 3, 1, 0).reshape(rows * columns * channels, outputs)
        answer = windows @ matrix if bias is None else torch.addmm(bias, windows, matrix)
        ctx.save_for_backward(windows, weight)
        ctx.shape, ctx.biased = images.shape, bias is not None
        return answer.view(count, high, wide, outputs).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None]:
        windows, weight = ctx.saved_tensors
        count, channels, height, width = ctx.shape
        outputs, _, rows, columns = weight.shape
        high, wide = height - rows + 1, width - columns + 1
        flat = gradients[0].permute(0, 2, 3, 1).reshape(-1, outputs)
        to_weight = (flat.t() @ windows).view(outputs, rows, columns, channels).permute(0, 3, 1, 2)
        to_bias = flat.sum(0) if ctx.biased else None
        if not ctx.needs_input_grad[0]:
            return None, to_weight, to_bias
        matrix = weight.permute(0, 2, 3, 1).reshape(outputs, -1)
        pieces = (flat @ matrix).view(count, high, wide, rows, columns, channels)
        to_images = flat.new_zeros(count, height, width, channels)
        for row in range(rows):
            for column in range(columns):
                to_images[:, row : row + high, column : column + wide] += pieces[:, :, :, row, column]
        return to_images.permute(0, 3, 1, 2), to_weight, to_bias


def suits(layer: nn.Conv2d, images: Tensor) -> bool:
    """Whether `layer` over `images` is faster as one matrix product: few output positions, and nothing unusual."""
    if images.device.type != "cpu" or images.ndim != 4 or torch.is_autocast_enabled("cpu"):
        return False
    if images.dtype != layer.weight.dtype or images.dtype not in (torch.float32, torch.float64):
        return False
    high, wide = images.shape[2] - layer.kernel_size[0] + 1, images.shape[3] - layer.kernel_size[1] + 1
    few = FEW_UNALIGNED_POSITIONS if layer.in_channels % 16 else FEW_POSITIONS
    return min(high, wide) > 0 and high * wide <= few and layer.kernel_size != (1, 1)


def _forward(self: nn.Conv2d, images: Tensor) -> Tensor:
    if suits(self, images):
        return _Convolution.apply(images, self.weight, self.bias)  # type: ignore[no-any-return]
    return nn.Conv2d.forward(self, images)


@contextmanager
def matrix_convolutions(model: nn.Module) -> Generator[None]:
    """Within this block, convolutions of `model` that suit it are computed as matrix products."""
    plain = [
        layer
        for layer in model.modules()
        if type(layer) is nn.Conv2d
        and "forward" not in vars(layer)
        and (layer.stride, layer.dilation, layer.groups) == ((1, 1), (1, 1), 1)
        and layer.padding in ((0, 0), "valid")
    ]
    for layer in plain:
        layer.forward = MethodType(_forward, layer)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in plain:
            del layer.forward
