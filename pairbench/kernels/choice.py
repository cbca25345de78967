"""A convolution and its gradients over images whose last axis is the batch, by the code that is fastest for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

from pairbench.kernels.code import Shape, compiled, this_machine
from pairbench.kernels.convolution import channels_at_once, convolve, to_images, to_weights
from pairbench.kernels.winograd import SUMMED, TILE, winograd, winograd_to_images, winograd_to_weights

# Rows of gradients that are summed before they go to the weights: as many as stay in the first cache.
NEAR_BYTES = 32 * 1024
# Tables that are made to be used at once: what they and the weights take stays in the second cache.
SECOND_BYTES = 512 * 1024
# Turning tiles around costs additions for each channel, and saves products for each pair of them.
FEWEST_CHANNELS, FEWEST_PAIRS = 8, 300

_NEAR = threading.local()


def answers(x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool, mask: Tensor | None) -> Tensor:
    """x (C, H, W, N), weight (K, C, R, S) and bias (K) -> (K, O, Q, N), after a ReLU and a mask (K, N) if any.

    Here and below, all tables may have one more axis in front, for models that are trained at once.
    """
    (channels, height, width, count), (outputs, _, rows, columns) = x.shape[-4:], weight.shape[-4:]
    models = len(x) if x.ndim > 4 else 1
    added = weight.new_zeros(models, outputs) if bias is None else bias.contiguous()
    answer = x.new_empty(*x.shape[:-4], outputs, height - rows + 1, width - columns + 1, count)
    shape = Shape(x.element_size(), channels_at_once(outputs), columns)
    sizes = (channels, height, width, count, outputs)
    if in_tiles(x, weight):
        near = _near(x, channels, outputs)
        _run(compiled(winograd, shape), models, (x, turned(weight), added, mask, near, answer), *sizes, int(relu))
    else:
        tables = (x, weight.contiguous(), added, mask, answer)
        _run(compiled(convolve, shape), models, tables, *sizes, rows, int(relu))
    return answer


def images_gradient(back: Tensor, weight: Tensor, x: Tensor, gated: bool) -> Tensor:
    """The gradient of x from that of the answers (K, O, Q, N); nothing where x is at most zero if it is `gated`."""
    (channels, height, width, count), (outputs, _, rows, columns) = x.shape[-4:], weight.shape[-4:]
    models = len(x) if x.ndim > 4 else 1
    shape = Shape(x.element_size(), channels_at_once(channels), columns)
    sizes, gate, found = (channels, height, width, count, outputs), x if gated else None, torch.empty_like(x)
    if in_tiles(x, weight):
        tables = (back, turned(weight), gate, _near(x, channels, outputs), found)
        _run(compiled(winograd_to_images, shape), models, tables, *sizes)
    else:
        _run(compiled(to_images, shape), models, (back, weight.contiguous(), gate, found), *sizes, rows)
    return found


def weights_gradient(back: Tensor, weight: Tensor, x: Tensor) -> Tensor:
    """The gradient of the weights (K, C, R, S) from that of the answers (K, O, Q, N)."""
    (channels, height, width, count), (outputs, _, rows, columns) = x.shape[-4:], weight.shape[-4:]
    models, high = len(x) if x.ndim > 4 else 1, back.shape[-3]
    shape = Shape(x.element_size(), channels_at_once(outputs), columns)
    sizes = (channels, height, width, count, outputs)
    if not in_tiles(x, weight):
        found = torch.zeros_like(weight, memory_format=torch.contiguous_format)
        lines = max(1, NEAR_BYTES // (shape.channels * back.shape[-2] * count * x.element_size()))
        _run(compiled(to_weights, shape), models, (x, back, found), *sizes, rows, lines)
        return found
    lanes = this_machine().lanes(x.element_size())
    # Of one image and one row of tiles: a row of the numbers of each tile, for all channels.
    each = TILE * (channels + outputs) * (back.shape[-2] // 2) * x.element_size()
    images = min(count, max(2 * SECOND_BYTES // each // lanes * lanes, lanes))
    lines = min(high // 2, max(1, SECOND_BYTES // (each * images)))
    near = _workspace(x, each * images * lines // x.element_size() + 2 * TILE * lanes)
    tiles = x.new_zeros(*x.shape[:-4], TILE * TILE, outputs, -(-channels // SUMMED) * SUMMED)
    _run(compiled(winograd_to_weights, shape), models, (x, back, near, tiles), *sizes, images, lines)
    found = tiles[..., :channels].flatten(-2).transpose(-1, -2) @ _turning(x.dtype)
    return found.view(weight.shape)


def in_tiles(x: Tensor, weight: Tensor) -> bool:
    """Whether Winograd's form computes this convolution, and is the faster one."""
    (channels, height, width, _), (outputs, _, rows, columns) = x.shape[-4:], weight.shape[-4:]
    even = (rows, columns) == (3, 3) and height % 2 == width % 2 == 0
    return even and min(channels, outputs) >= FEWEST_CHANNELS and channels * outputs >= FEWEST_PAIRS


def turned(weight: Tensor) -> Tensor:
    """(K, C, 3, 3) -> (16, K, C): what each of the 16 numbers of a tile is multiplied by."""
    return _turning(weight.dtype) @ weight.reshape(*weight.shape[:-4], -1, 9).transpose(-1, -2)


def places(*tables: Tensor | None) -> tuple[int | None, ...]:
    """Where tables lie in memory, as machine code takes them."""
    return tuple(None if table is None else table.data_ptr() for table in tables)


def _run(code: Callable[..., None], models: int, tables: Sequence[Tensor | None], *sizes: int) -> None:
    """Call `code` for each of `models`, whose parts of every table lie one after the other; the workspace is one."""
    if models == 1:
        code(*places(*tables), *sizes)
        return
    kept = vars(_NEAR).values()
    starts = places(*tables)
    steps = [
        0 if table is None or any(table is near for near in kept) else table.numel() * table.element_size() // models
        for table in tables
    ]
    for number in range(models):
        moved = (start and start + number * step for start, step in zip(starts, steps, strict=True))
        code(*moved, *sizes)


@cache
def _turning(kind: torch.dtype) -> Tensor:
    """(16, 9): G of F(2x2, 3x3) along both axes."""
    along = torch.tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], dtype=kind)
    return torch.kron(along, along)


def _near(x: Tensor, channels: int, outputs: int) -> Tensor:
    """Room for 16 tables of a block of images, of all channels of both sides."""
    machine = this_machine()
    lanes = machine.lanes(x.element_size())
    return _workspace(x, TILE * TILE * lanes * (machine.vectors * (channels + outputs) + 2))


def _workspace(x: Tensor, numbers: int) -> Tensor:
    """A table of at least so many numbers that each thread keeps: fresh memory costs more than what is done in it."""
    kept, name = vars(_NEAR), str(x.dtype)
    found: Tensor | None = kept.get(name)
    if found is None or found.numel() < numbers:
        found = kept[name] = torch.empty(numbers, dtype=x.dtype)
    return found
