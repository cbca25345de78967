"""Which layers of a network compute with the batch last, and the block within which they do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeGuard

from torch import Tensor, nn

from pairbench.kernels.layers import FastLayer, FastPool
from pairbench.kernels.machine import usable

# Code is written out for each column of a kernel, and each pixel of a window.
MOST_COLUMNS = 7
MOST_POOLED = (2, 3, 4)

Part = FastLayer | FastPool


def fast_parts(model: nn.Module) -> list[Part]:
    """The convolutions of `model` that compute with the batch last, each with what follows it; none if any cannot.

    A layer that wants another layout would have its images turned around before and after it.
    """
    if not usable():
        return []
    seen = Counter(id(part) for _, part in model.named_modules(remove_duplicate=False))
    found: list[Part] = []
    pools: list[Part] = []
    taken = set[int]()
    for part in model.modules():
        if type(part) is nn.Sequential:
            for layer in _in_sequence(part, seen):
                found.append(layer)
                taken.add(id(layer.module))
    for part in model.modules():
        if type(part).__module__ == nn.modules.pooling.__name__:
            if not _plain_pooling(part):
                return []
            pools.append(FastPool(part))
        if isinstance(part, nn.modules.conv._ConvNd) and id(part) not in taken:
            if not _simple(part):
                return []
            found.append(FastLayer(part))
    return [*found, *pools] if found else []


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


def _plain_pooling(part: nn.Module) -> TypeGuard[nn.MaxPool2d]:
    return (
        type(part) is nn.MaxPool2d
        and _alone(part)
        and part.kernel_size in MOST_POOLED
        and (part.stride, part.padding, part.dilation) == (part.kernel_size, 0, 1)
        and not part.return_indices
        and not part.ceil_mode
    )


def _usual(norm: nn.Module | None) -> bool:
    return isinstance(norm, nn.BatchNorm2d) and norm.affine and norm.track_running_stats and norm.momentum is not None


def _alone(part: nn.Module) -> bool:
    """Whether nothing else looks at what `part` gets and gives."""
    hooks = (part._forward_hooks, part._forward_pre_hooks, part._backward_hooks, part._backward_pre_hooks)
    return not any(hooks) and "forward" not in vars(part)


@contextmanager
def fast_layers(model: nn.Module) -> Generator[list[Part]]:
    """Within this block, the convolutions of `model` compute with the batch last where all of them can."""
    found = fast_parts(model)
    for layer in found:
        layer.module.forward = layer
        for part in layer.followers:
            part.forward = _pass_on
    try:
        yield found
    finally:
        for layer in found:
            for part in (layer.module, *layer.followers):
                del part.forward


def _pass_on(images: Tensor) -> Tensor:
    return images
