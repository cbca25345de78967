"""Layers of a network that compute with the batch last while they are within `fast_layers`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from pairbench.kernels import functions
from pairbench.kernels.machine import usable

# Code is written out for each column of a kernel.
MOST_COLUMNS = 7


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
        return (
            images.device.type == "cpu"
            and images.ndim == 4
            and images.dtype == kind
            and kind in (torch.float32, torch.float64)
            and not torch.is_autocast_enabled("cpu")
            and 2 * len(images) >= functions.lanes(kind)
            and min(self._output(images)) > 0
            and not torch._C._functorch.peek_interpreter_stack()
        )

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


def fast_parts(model: nn.Module) -> list[FastLayer]:
    """The convolutions of `model` that compute with the batch last, each with what follows it; none if any cannot.

    A layer that wants another layout would have its images turned around before and after it.
    """
    if not usable():
        return []
    seen = Counter(id(part) for _, part in model.named_modules(remove_duplicate=False))
    found, taken = [], set[int]()
    for part in model.modules():
        if type(part) is nn.Sequential:
            for layer in _in_sequence(part, seen):
                found.append(layer)
                taken.add(id(layer.convolution))
    for part in model.modules():
        # A pooling layer turns its images around too.
        if type(part).__module__ == nn.modules.pooling.__name__:
            return []
        if isinstance(part, nn.modules.conv._ConvNd) and id(part) not in taken:
            if not _simple(part):
                return []
            found.append(FastLayer(part))
    return found


def _in_sequence(sequence: nn.Sequential, seen: Counter[int]) -> Iterator[FastLayer]:
    children = list(sequence)
    for place, part in enumerate(children):
        if not _simple(part):
            continue
        following = iter(children[place + 1 :])
        follower = next(following, None)
        found: dict[str, Any] = {}
        for name, kind in (("norm", nn.BatchNorm2d), ("relu", nn.ReLU), ("dropout", nn.Dropout2d)):
            wanted = type(follower) is kind and follower is not None and _alone(follower) and seen[id(follower)] == 1
            if name == "norm":
                wanted = wanted and _usual(follower)
            if name == "dropout":
                wanted = wanted and "relu" in found
            if wanted:
                found[name] = follower
                follower = next(following, None)
        yield FastLayer(part, **found)


def _simple(part: nn.Module) -> TypeGuard[nn.Conv2d]:
    return (
        type(part) is nn.Conv2d
        and _alone(part)
        and (part.stride, part.dilation, part.groups) == ((1, 1), (1, 1), 1)
        and part.padding_mode == "zeros"
        and part.padding != "same"
        and part.kernel_size[1] <= MOST_COLUMNS
        and part.kernel_size != (1, 1)
    )


def _usual(norm: nn.Module | None) -> bool:
    return isinstance(norm, nn.BatchNorm2d) and norm.affine and norm.track_running_stats and norm.momentum is not None


def _alone(part: nn.Module) -> bool:
    """Whether nothing else looks at what `part` gets and gives."""
    hooks = (part._forward_hooks, part._forward_pre_hooks, part._backward_hooks, part._backward_pre_hooks)
    return not any(hooks) and "forward" not in vars(part)


@contextmanager
def fast_layers(model: nn.Module) -> Generator[list[FastLayer]]:
    """Within this block, the convolutions of `model` compute with the batch last where all of them can."""
    found = fast_parts(model)
    for layer in found:
        layer.convolution.forward = layer  # type: ignore[method-assign, assignment]
        for part in layer.followers:
            part.forward = _pass_on
    try:
        yield found
    finally:
        for layer in found:
            for part in (layer.convolution, *layer.followers):
                del part.forward


def _pass_on(images: Tensor) -> Tensor:
    return images
