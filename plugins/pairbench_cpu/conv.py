"""A convolution and its gradients over images whose last axis is the batch, by the code that is fastest for them."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

from pairbench_cpu.amx import ROWS, padded
from pairbench_cpu.amx_packing import pack, pack_transposed
from pairbench_cpu.conv_direct import channels_at_once, convolve, to_images, to_weights
from pairbench_cpu.conv_winograd import winograd, winograd_to_images, winograd_to_weights
from pairbench_cpu.ir_builder import Shape, compiled, this_machine
from pairbench_cpu.winograd_tiles import TILE
from pairbench_cpu.winograd_weight_grad import SUMMED

# Rows of gradients that are summed before they go to the weights: as many as stay in the first cache.
FIRST_CACHE_BYTES = 32 * 1024
# Tables that are made to be used at once: what they and the weights take stays in the second cache.
SECOND_CACHE_BYTES = 512 * 1024
# Turning tiles around costs additions for each channel, and saves products for each pair of them.
FEWEST_CHANNELS, FEWEST_PAIRS = 8, 300
# In bf16 products cost so little that fewer of them pay.
FEWEST_PAIRS_HALF = 128

_WORKSPACES = threading.local()


def convolve_forward(
    x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool, mask: Tensor | None, half: bool = False
) -> tuple[Tensor, Tensor | None]:
    """x (C, H, W, N), weight (K, C, R, S) and bias (K) -> (K, O, Q, N), after a ReLU and a mask (K, N) if any.

    Here and below, all tables may have one more axis in front, for models that are trained at once. Also gives the
    weights as `transformed` makes them, for the gradient of the images, where they are used.

    half: products are of bf16, and sums of single precision, where that is faster.
    """
    (channels, height, width, count), (outputs, _, rows, columns) = x.shape[-4:], weight.shape[-4:]
    models = len(x) if x.ndim > 4 else 1
    added = weight.new_zeros(models, outputs) if bias is None else bias.contiguous()
    answer = x.new_empty(*x.shape[:-4], outputs, height - rows + 1, width - columns + 1, count)
    form = form_of(x, weight, half)
    shape = Shape(x.element_size(), channels_at_once(outputs), columns, form == "half")
    sizes = (channels, height, width, count, outputs)
    if form == "plain":
        tables = (x, weight.contiguous(), added, mask, answer)
        _run(compiled(convolve, shape), models, tables, *sizes, rows, int(relu))
        return answer, None
    u = transformed(weight)
    factors = _packed(u, models) if shape.half else u
    workspace = _tile_workspace(x, channels, outputs, shape.half)
    _run(compiled(winograd, shape), models, (x, factors, added, mask, workspace, answer), *sizes, int(relu))
    return answer, u


def images_gradient(
    back: Tensor,
    weight: Tensor,
    x: Tensor,
    gated: bool,
    scale: float = 1.0,
    u: Tensor | None = None,
    half: bool = False,
) -> Tensor:
    """The gradient of x from that of the answers (K, O, Q, N), times `scale`; u is what `convolve_forward` gave.

    gated: nothing passes where x is at most zero.
    """
    (channels, height, width, count), (outputs, _, rows, columns) = x.shape[-4:], weight.shape[-4:]
    models, form = len(x) if x.ndim > 4 else 1, form_of(x, weight, half)
    shape = Shape(x.element_size(), channels_at_once(channels), columns, form == "half")
    sizes, gate, found = (channels, height, width, count, outputs), x if gated else None, torch.empty_like(x)
    if form == "plain":
        scaled = weight if scale == 1 else weight * scale
        _run(compiled(to_images, shape), models, (back, scaled.contiguous(), gate, found), *sizes, rows)
        return found
    u = transformed(weight) if u is None else u
    scaled = u if scale == 1 or shape.half else u * scale
    factors = _packed(u, models, scale, transpose=True) if shape.half else scaled
    tables = (back, factors, gate, _tile_workspace(x, outputs, channels, shape.half), found)
    _run(compiled(winograd_to_images, shape), models, tables, *sizes)
    return found


def weights_gradient(back: Tensor, weight: Tensor, x: Tensor, half: bool = False) -> Tensor:
    """The gradient of the weights (K, C, R, S) from that of the answers (K, O, Q, N)."""
    (channels, height, width, count), (outputs, _, rows, columns) = x.shape[-4:], weight.shape[-4:]
    models, high, form = len(x) if x.ndim > 4 else 1, back.shape[-3], form_of(x, weight, half)
    shape = Shape(x.element_size(), channels_at_once(outputs), columns, form == "half")
    sizes = (channels, height, width, count, outputs)
    if form == "plain":
        found = torch.zeros_like(weight, memory_format=torch.contiguous_format)
        lines = max(1, FIRST_CACHE_BYTES // (shape.channels * back.shape[-2] * count * x.element_size()))
        _run(compiled(to_weights, shape), models, (x, back, found), *sizes, rows, lines)
        return found
    lanes = this_machine().lanes(x.element_size())
    across, group = back.shape[-2] // 2, ROWS if shape.half else SUMMED
    filled = -(-channels // group) * group
    rows_kept = padded(outputs) if shape.half else outputs
    # Numbers of one image and one row of tiles: a row of the numbers of each tile, for all channels. In bf16 two
    # images are one number, and the channels are kept in another order too.
    each = TILE * (channels + rows_kept) * across
    room = (1 + shape.half) * SECOND_CACHE_BYTES // x.element_size()
    images = min(count, max(2 * room // each // lanes * lanes, lanes))
    lines = min(high // 2, max(1, room // (each * images)))
    length = across * lines * images
    if shape.half:
        length = across * lines * -(-images // (2 * lanes)) * lanes
        workspace = _workspace(x, TILE * (channels + rows_kept) * (length + lanes) + filled * length)
    else:
        workspace = _workspace(x, TILE * (channels + rows_kept) * length + 2 * TILE * lanes)
    tiles = x.new_zeros(*x.shape[:-4], TILE * TILE, rows_kept, filled)
    _run(compiled(winograd_to_weights, shape), models, (x, back, workspace, tiles), *sizes, images, lines)
    found = tiles.flatten(-2).transpose(-1, -2) @ _weight_transform(x.dtype)
    shaped: Tensor = found.unflatten(-2, (rows_kept, filled))
    return shaped[..., :outputs, :channels, :].reshape(weight.shape)


def form_of(x: Tensor, weight: Tensor, half: bool) -> str:
    """How a convolution is computed fastest: "plain", in Winograd's form in "full" precision, or in it by "half"."""
    if x.shape[-3] % 2 or x.shape[-2] % 2:
        return "plain"
    if half and x.dtype == torch.float32 and fits_tiles(weight, half=True):
        return "half"
    return "full" if fits_tiles(weight) else "plain"


def fits_tiles(weight: Tensor, *, half: bool = False) -> bool:
    """Whether Winograd's form saves more than it costs for these weights (K, C, R, S)."""
    outputs, channels, rows, columns = weight.shape[-4:]
    enough = channels * outputs >= (FEWEST_PAIRS_HALF if half else FEWEST_PAIRS)
    return (rows, columns) == (3, 3) and min(channels, outputs) >= FEWEST_CHANNELS and enough


def transformed(weight: Tensor) -> Tensor:
    """(K, C, 3, 3) -> (16, K, C): what each of the 16 numbers of a tile is multiplied by; read on by some vectors."""
    outputs, channels = weight.shape[-4:-2]
    size = TILE * TILE * outputs * channels
    rest = 2 * this_machine().lanes(weight.element_size())
    models = weight.shape[:-4]
    room = weight.new_empty(math.prod(models) * size + rest)[:-rest].view(*models, TILE * TILE, outputs * channels)
    flat = weight.reshape(*models, -1, 9).transpose(-1, -2)
    torch.matmul(_weight_transform(weight.dtype), flat, out=room)
    return room.view(*models, TILE * TILE, outputs, channels)


def _packed(u: Tensor, models: int, scale: float = 1.0, *, transpose: bool = False) -> Tensor:
    """(16, K, C) of each model as factors of bf16 (16, K, pairs of C), or, with `transpose`, (16, C, pairs of K)."""
    rows, columns = reversed(u.shape[-2:]) if transpose else u.shape[-2:]
    room, pairs = padded(rows), padded(-(-columns // 2))
    tables, lanes = models * TILE * TILE, this_machine().lanes(u.element_size())
    # One vector more is written, and each number holds a pair.
    made = u.new_empty(tables * room * pairs + lanes)
    sizes = (tables, rows, columns, room, pairs)
    if transpose:
        factor = u.new_tensor([scale])
        compiled(pack_transposed, Shape(4))(*places(u, factor, made), *sizes)
    else:
        compiled(pack, Shape(4))(*places(u, made), *sizes)
    return made[: tables * room * pairs]


def places(*tables: Tensor | None) -> tuple[int | None, ...]:
    """Where tables lie in memory, as machine code takes them."""
    return tuple(None if table is None else table.data_ptr() for table in tables)


def _run(code: Callable[..., None], models: int, tables: Sequence[Tensor | None], *sizes: int) -> None:
    """Call `code` for each of `models`, whose parts of every table lie one after the other; the workspace is one."""
    if models == 1:
        code(*places(*tables), *sizes)
        return
    kept = vars(_WORKSPACES).values()
    starts = places(*tables)
    steps = [
        0
        if table is None or any(table is workspace for workspace in kept)
        else table.numel() * table.element_size() // models
        for table in tables
    ]
    for number in range(models):
        moved = (start and start + number * step for start, step in zip(starts, steps, strict=True))
        code(*moved, *sizes)


@cache
def _weight_transform(kind: torch.dtype) -> Tensor:
    """(16, 9): G of F(2x2, 3x3) along both axes."""
    along = torch.tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], dtype=kind)
    return torch.kron(along, along)


def _tile_workspace(x: Tensor, seen: int, made: int, half: bool) -> Tensor:
    """Room for 16 tables of a block of images, of all channels of both sides."""
    machine = this_machine()
    lanes = machine.lanes(x.element_size())
    rows = padded(-(-seen // 2)) + padded(made) if half else seen + made
    return _workspace(x, TILE * TILE * lanes * (machine.vectors * rows + 2))


def _workspace(x: Tensor, numbers: int) -> Tensor:
    """A table of at least so many numbers that each thread keeps: fresh memory costs more than what is done in it."""
    kept, name = vars(_WORKSPACES), str(x.dtype)
    found: Tensor | None = kept.get(name)
    if found is None or found.numel() < numbers:
        found = kept[name] = torch.empty(numbers, dtype=x.dtype)
    return found
