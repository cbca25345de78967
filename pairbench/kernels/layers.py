"""Layers that compute with the batch last: each stands in for the forward of a module of torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pairbench.kernels import functions


class FastPool:
    """Max pooling in windows that do not overlap."""

    followers: tuple[nn.Module, ...] = ()

    def __init__(self, module: nn.MaxPool2d) -> None:
        self.module = module

    def __call__(self, images: Tensor) -> Tensor:
        size: Any = self.module.kernel_size
        if not suits(images) or min(images.shape[2:]) < size:
            plain: Tensor = nn.MaxPool2d.forward(self.module, images)
            return plain
        answer: Tensor = functions.MaxPool.apply(functions.batch_last(images, (0, 0)), size)
        return functions.batch_first(answer, len(images))


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

    @property
    def module(self) -> nn.Module:
        """Whose forward this stands in for."""
        return self.convolution

    @property
    def followers(self) -> list[nn.Module]:
        """The layers after the convolution, in their order."""
        return [part for part in (self.norm, self.relu, self.dropout) if part is not None]

    def __call__(self, images: Tensor) -> Tensor:
        if not self._suits(images):
            return self._plain(images)
        layer, norm, count = self.convolution, self.norm, len(images)
        padding: Any = (0, 0) if layer.padding == "valid" else layer.padding
        x = functions.batch_last(images, padding)
        mask, scale = self._mask(count, x)
        relu, plain = self.relu is not None, norm is None
        x = functions.Convolution.apply(
            x, layer.weight, layer.bias, relu and plain, mask if plain else None, scale if plain else 1.0
        )
        if norm is None:
            return functions.batch_first(x, count)
        views = self._views()
        if norm.training and count % (views * functions.lanes(x.dtype)) == 0:
            x, mean, variance = functions.BatchNorm.apply(x, norm.weight, norm.bias, views, norm.eps, relu, mask)
            _remember(norm, mean, variance, x[0].numel() // views)
            return functions.batch_first(x, count)
        answer = self._normed(functions.batch_first(x, count))
        answer = answer.relu() if relu else answer
        return answer if mask is None else answer * functions.batch_first(mask[:, None, None], count)

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

    def _output(self, images: Tensor) -> tuple[int, int]:
        layer = self.convolution
        padding: Any = (0, 0) if layer.padding == "valid" else layer.padding
        sizes = zip(images.shape[2:], padding, layer.kernel_size, strict=True)
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
            norm.running_mean.lerp_(mean[:, view].to(norm.running_mean.dtype), norm.momentum)
            unbiased = variance[:, view] * (each / max(each - 1, 1))
            norm.running_var.lerp_(unbiased.to(norm.running_var.dtype), norm.momentum)
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked.add_(1)


def suits(images: Tensor) -> bool:
    """Whether `images` can be computed with the batch last, and fill at least half of a vector."""
    return (
        images.device.type == "cpu"
        and images.ndim == 4
        and images.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled("cpu")
        and 2 * len(images) >= functions.lanes(images.dtype)
        # Under vmap a tensor is several at once.
        and not torch._C._functorch.peek_interpreter_stack()
    )
