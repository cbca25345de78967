"""Which layers of a network compute with the batch last, and the block within which they do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeGuard

from torch import Tensor, nn

from pairbench_cpu.layers import FastLayer, FastPool

# Code is written out for each column of a kernel, and each pixel of a window.
MOST_COLUMNS = 7
MOST_POOLED = (2, 3, 4)
MANY_CHANNELS = 64
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)

Part = FastLayer | FastPool


def fast_parts(model: nn.Module) -> list[Part]:
    """The layers of `model` that compute with the batch last, each with what it takes along; none if any cannot.

    A layer that wants another layout would have its images turned around before and after it. Networks of many
    channels are left to torch too.
    """
    seen = Counter(id(part) for _, part in model.named_modules(remove_duplicate=False))
    found: dict[int, Part] = {}
    for part in model.modules():
        if type(part) is nn.Sequential:
            found |= {id(layer.module): layer for layer in _in_sequence(part, seen)}
    for part in model.modules():
        if id(part) in found:
            continue
        if type(part).__module__ == nn.modules.pooling.__name__:
            if not _plain_pooling(part):
                return []
            found[id(part)] = FastPool(part)
        if isinstance(part, CONVOLUTIONS):
            if not _simple(part):
                return []
            found[id(part)] = FastLayer(part)
    convolutions = [layer.convolution for layer in found.values() if isinstance(layer, FastLayer)]
    return list(found.values()) if 2 * sum(map(_fills_vectors, convolutions)) < len(convolutions) else []


def _in_sequence(sequence: nn.Sequential, seen: Counter[int]) -> Iterator[Part]:
    children, place = list(sequence), 0
    before: Part | None = None
    while place < len(children):
        part, place = children[place], place + 1
        layer: Part | None = None
        # What stands elsewhere too has something else before it and after it there.
        once = seen[id(part)] == 1
        if once and _simple(part):
            layer = _with_followers(part, children[place:], seen)
            place += len(layer.followers)
        elif once and _plain_pooling(part):
            layer = FastPool(part)
        if before is not None and layer is not None:
            _link(before, layer)
        if before is not None:
            yield before
        before = layer
    if before is not None:
        yield before


def _with_followers(convolution: nn.Conv2d, following: list[nn.Module], seen: Counter[int]) -> FastLayer:
    """A layer of `convolution` and those of the modules after it that it can take along."""
    found: dict[str, Any] = {}
    for name, kind in (("norm", nn.BatchNorm2d), ("relu", nn.ReLU), ("dropout", nn.Dropout2d)):
        follower = following[len(found)] if len(found) < len(following) else None
        if type(follower) is not kind or not _alone(follower) or seen[id(follower)] > 1:
            continue
        if (name == "norm" and not _usual(follower)) or (name == "dropout" and "relu" not in found):
            continue
        found[name] = follower
    return FastLayer(convolution, **found)


def _link(first: Part, second: Part) -> None:
    """Let `first` hand its images to `second` as they lie in memory, and leave it the gradient of its ReLU."""
    first.linked = True
    if not (isinstance(first, FastLayer) and isinstance(second, FastLayer)):
        return
    # Edges that are filled with zeros are no answer of a ReLU.
    if first.relu is not None and first.norm is None and second.convolution.padding in ((0, 0), "valid"):
        first.gated_later = second.follows_relu = True


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


def _fills_vectors(part: nn.Conv2d) -> bool:
    """Whether torch's own convolution is as fast: with many channels in whole vectors, and no products to save."""
    return (
        part.kernel_size != (3, 3)
        and part.in_channels >= MANY_CHANNELS
        and part.in_channels % 16 == 0
        and part.out_channels % 16 == 0
    )


def _usual(norm: nn.Module | None) -> bool:
    return isinstance(norm, nn.BatchNorm2d) and norm.affine and norm.track_running_stats and norm.momentum is not None


def _alone(part: nn.Module) -> bool:
    """Whether nothing else looks at what `part` gets and gives."""
    hooks = (part._forward_hooks, part._forward_pre_hooks, part._backward_hooks, part._backward_pre_hooks)
    return not any(hooks) and "forward" not in vars(part)


def make_fast(model: nn.Module) -> list[Part]:
    """Let the convolutions of `model` compute with the batch last where all of them can; the layers that do."""
    found = fast_parts(model)
    for layer in found:
        layer.module.forward = layer
        for part in layer.followers:
            part.forward = _pass_on
    return found


@contextmanager
def fast_layers(model: nn.Module) -> Generator[list[Part]]:
    """Within this block, `model` is as `make_fast` leaves it."""
    found = make_fast(model)
    try:
        yield found
    finally:
        for layer in found:
            for part in (layer.module, *layer.followers):
                del part.forward


def _pass_on(images: Tensor) -> Tensor:
    return images
