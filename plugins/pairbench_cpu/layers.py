"""Layers that compute with the batch last: each stands in for the forward of a module of torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pairbench_cpu import autograd
from pairbench_cpu.conv import fits_tiles
from pairbench_cpu.vmap_function import several


class FastPool:
    """Max pooling in windows that do not overlap."""

    followers: tuple[nn.Module, ...] = ()
    # Whether the layer that comes next computes with the batch last too.
    linked = False
    half = halves = False

    def __init__(self, module: nn.MaxPool2d) -> None:
        self.module = module

    def __call__(self, images: Tensor) -> Tensor:
        size: Any = self.module.kernel_size
        images, count = opened(images, suits(images) and min(images.shape[2:]) >= size)
        if count is None:
            plain: Tensor = nn.MaxPool2d.forward(self.module, images)
            return plain
        answer = autograd.MaxPool.apply(autograd.batch_last(images, (0, 0)), size)
        return closed(answer, count, self.linked)


class FastLayer:
    """A convolution and what follows it in an nn.Sequential: batch norm, ReLU, dropout of channels, or some of them.

    It stands in for the forward of the convolution; the others pass on what they get. Tensors keep their usual shape
    (N, C, H, W) with the batch last in memory, which nearly every other operation keeps as it is.
    """

    def __init__(
        self,
        convolution: nn.Conv2d,
        norm: nn.BatchNorm2d | None = None,
        relu: nn.ReLU | None = None,
        dropout: nn.Dropout2d | None = None,
    ) -> None:
        self.convolution, self.norm, self.relu, self.dropout = convolution, norm, relu, dropout
        # Whether the layer that comes next computes with the batch last too, and what two such convolutions share: the
        # gradient of the ReLU between them.
        self.linked = self.follows_relu = self.gated_later = False
        # Whether it is trained with products of bf16.
        self.half = False

    @property
    def module(self) -> nn.Module:
        """Whose forward this stands in for."""
        return self.convolution

    @property
    def halves(self) -> bool:
        """Whether products of bf16 are worth it."""
        return fits_tiles(self.convolution.weight, half=True)

    @property
    def followers(self) -> list[nn.Module]:
        """The layers after the convolution, in their order."""
        return [part for part in (self.norm, self.relu, self.dropout) if part is not None]

    def __call__(self, images: Tensor) -> Tensor:
        images, count = opened(images, self._suits(images))
        if count is None:
            return self._plain(images)
        layer, norm = self.convolution, self.norm
        x = autograd.batch_last(images, self._padding)
        mask, scale = self._mask(count, x)
        relu = self.relu is not None
        after = (relu, mask, scale) if norm is None else (False, None, 1.0)
        links = (self.follows_relu, self.gated_later)
        half = self.half and layer.training
        x = autograd.Convolution.apply(x, layer.weight, layer.bias, *after, *links, half)
        if norm is None:
            return closed(x, count, self.linked)
        views = self._views()
        if norm.training:
            x, mean, variance = autograd.BatchNorm.apply(x, norm.weight, norm.bias, count, views, norm.eps, relu, mask)
            _remember(norm, mean, variance, x.shape[1] * x.shape[2] * count // views)
            return closed(x, count, self.linked)
        answer = self._normed(x.permute(3, 0, 1, 2))
        x = (answer.relu() if relu else answer).permute(1, 2, 3, 0)
        return closed(x if mask is None else x * mask[:, None, None], count, self.linked)

    def _normed(self, images: Tensor) -> Tensor:
        norm = self.norm
        assert norm is not None
        assert norm.running_mean is not None
        assert norm.running_var is not None
        if norm.training:
            return torch.cat([nn.BatchNorm2d.forward(norm, view) for view in images.chunk(self._views())])
        factor = (norm.running_var + norm.eps).rsqrt() * norm.weight
        offset = norm.bias - norm.running_mean * factor
        return torch.addcmul(offset.view(-1, 1, 1), images, factor.view(-1, 1, 1))

    def _views(self) -> int:
        """Equal parts of the batch that batch norm takes each by itself."""
        return getattr(self.norm, "views", 1)

    def _suits(self, images: Tensor) -> bool:
        kind = self.convolution.weight.dtype
        return suits(images) and images.dtype == kind and min(self._output(images)) > 0

    @property
    def _padding(self) -> Any:
        return (0, 0) if self.convolution.padding == "valid" else self.convolution.padding

    def _output(self, images: Tensor) -> tuple[int, int]:
        sizes = zip(images.shape[2:], self._padding, self.convolution.kernel_size, strict=True)
        high, wide = (size + 2 * edge - kernel + 1 for size, edge, kernel in sizes)
        return high, wide

    def _plain(self, images: Tensor) -> Tensor:
        answer = nn.Conv2d.forward(self.convolution, images)
        for part in self.followers:
            answer = self._normed(answer) if part is self.norm else type(part).forward(part, answer)
        return answer

    def _mask(self, count: int, x: Tensor) -> tuple[Tensor | None, float]:
        """Which channels of which images stay, (K, N), drawn as nn.Dropout2d draws them, and their factor."""
        drop = self.dropout
        if drop is None or not drop.training or not drop.p:
            return None, 1.0
        channels, keep = self.convolution.out_channels, 1 - drop.p
        if not keep:
            return x.new_zeros(channels, x.shape[3]), 1.0
        if several():
            # Drawn at once for all models, which nothing that is written in place can be. One by one, draws follow
            # torch's numbers; here they cannot, and uniform ones take a third of the time.
            drawn = (torch.rand((channels, count), dtype=x.dtype, device=x.device) < keep).to(x.dtype) / keep
            return functional.pad(drawn, (0, x.shape[3] - count)), 1 / keep
        mask = x.new_zeros(channels, x.shape[3])
        mask[:, :count] = x.new_empty(count, channels, 1, 1).bernoulli_(keep).div_(keep)[:, :, 0, 0].t()
        return mask, 1 / keep


def _remember(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, each: int) -> None:
    """Move the running statistics of `norm` as it would have moved them itself, view after view."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.momentum is not None
    with torch.no_grad():
        for view in range(mean.shape[1]):
            unbiased = variance[:, view] * (each / max(each - 1, 1))
            for kept, new in ((norm.running_mean, mean[:, view]), (norm.running_var, unbiased)):
                # What lerp_ computes, which vmap has no rule for.
                kept.add_((new.to(kept.dtype) - kept) * norm.momentum)
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked.add_(1)


def opened(images: Tensor, suited: bool) -> tuple[Tensor, int | None]:
    """The images as a layer takes them, and how many are real; None where they do not suit it, and only real ones."""
    count: int = getattr(images, "real_count", len(images))
    return (images, count) if suited else (images[:count], None)


def closed(x: Tensor, count: int, linked: bool) -> Tensor:
    """(C, H, W, N) -> its `count` real images as (count, C, H, W); all N for a layer that computes the same way."""
    if not linked:
        return autograd.batch_first(x, count)
    images = x.permute(3, 0, 1, 2)
    images.real_count = count  # type: ignore[attr-defined]
    return images


def suits(images: Tensor) -> bool:
    """Whether `images` can be computed with the batch last, and fill at least half of a vector."""
    return (
        images.device.type == "cpu"
        and images.ndim == 4
        and images.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled("cpu")
        and 2 * len(images) >= autograd.lanes(images.dtype)
        and several() is not None
    )
