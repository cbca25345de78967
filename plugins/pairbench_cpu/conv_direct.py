"""A convolution of stride 1 over images whose last axis is the batch, and its gradients, as machine code.

One vector holds the same pixel of many images, so any number of channels fills the vectors, where other layouts leave
most of each vector empty when channels are few. Each function keeps a block of sums in registers: some output channels
times some vectors of images, or some output channels times some columns of the kernel.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from pairbench_cpu.ir_builder import Function, Shape, Values

# So many columns of a kernel are summed at once for its weights: more would not fit the registers.
COLUMNS = 3


def convolve(module: ir.Module, shape: Shape) -> None:
    """out (K, O, Q, N) = x (C, H, W, N) * w (K, C, R, S) + b (K), then ReLU and a mask (K, N), where there are."""
    code = Function(
        module,
        "convolve",
        ("x", "w", "b", "mask", "out"),
        ("channels", "height", "width", "count", "outputs", "tall", "relu"),
        shape,
    )
    x, w, b, mask, out, channels, height, width, count, outputs, tall, relu = code.named.values()
    wide, high, broad = _sizes(code)
    taps = code.mul(code.mul(channels, tall), wide)
    build, has_mask = code.build, code.given(mask)
    has_relu = build.icmp_signed("!=", relu, code.whole(0))

    def tile(y: ir.Value, column: ir.Value, first: ir.Value, vectors: int, k: ir.Value) -> None:
        weights = code.rows(w, k, outputs, taps)
        biases = [code.splat(code.scalar_at(place)) for place in code.rows(b, k, outputs, code.whole(1))]
        totals = [bias for bias in biases for _ in range(vectors)]

        def channel(c: ir.Value, *totals: ir.Value) -> Values:
            def row(r: ir.Value, *totals: ir.Value) -> Values:
                pixel = code.address(x, code.at((c, code.add(y, r), column, first), height, width, count))
                tap, sums = code.mul(code.at((c, r), tall), wide), list(totals)
                for s in range(shape.columns):
                    values = code.images(code.address(pixel, code.mul(count, s)), vectors)
                    taken = [code.scalar_at(code.address(place, code.add(tap, s))) for place in weights]
                    sums = code.outer(sums, [code.splat(weight) for weight in taken], values)
                return sums

            return code.loop(0, tall, 1, row, totals)

        sums = code.loop(0, channels, 1, channel, totals)
        sums = [code.rectified(value, has_relu) for value in sums]

        def write(row: ir.Value, number: int) -> None:
            own = sums[number * vectors : (number + 1) * vectors]
            target = code.address(out, code.at((row, y, column, first), high, broad, count))
            with build.if_else(has_mask) as (masked, plain):
                with masked:
                    factors = code.images(code.address(mask, code.at((row, first), count)), vectors)
                    code.store([build.fmul(a, f) for a, f in zip(own, factors, strict=True)], target)
                with plain:
                    code.store(own, target)

        code.each_row(k, outputs, write)

    _tiles(code, outputs, high, broad, tile)
    build.ret_void()


def to_images(module: ir.Module, shape: Shape) -> None:
    """dx (C, H, W, N) of g (K, O, Q, N) and w (K, C, R, S): each pixel sums what the outputs that saw it pass back.

    Where there is a gate (C, H, W, N), nothing passes at what is zero in it or below: the ReLU that made x.
    """
    code = Function(
        module,
        "to_images",
        ("g", "w", "gate", "dx"),
        ("channels", "height", "width", "count", "outputs", "tall"),
        shape,
    )
    g, w, gate, dx, channels, height, width, count, outputs, tall = code.named.values()
    wide, high, broad = _sizes(code)
    area = code.mul(tall, wide)

    def tile(y: ir.Value, column: ir.Value, first: ir.Value, vectors: int, c: ir.Value) -> None:
        weights = code.rows(w, c, channels, area)
        low_r, high_r = code.most(code.add(code.sub(y, high), 1), 0), code.least(code.add(y, 1), tall)
        low_s, high_s = code.most(code.add(code.sub(column, broad), 1), 0), code.least(code.add(column, 1), wide)

        def output(k: ir.Value, *totals: ir.Value) -> Values:
            taps = code.mul(code.mul(k, channels), area)

            def row(r: ir.Value, *totals: ir.Value) -> Values:
                def tap(s: ir.Value, *totals: ir.Value) -> Values:
                    place = (k, code.sub(y, r), code.sub(column, s), first)
                    values = code.images(code.address(g, code.at(place, high, broad, count)), vectors)
                    offset = code.add(taps, code.at((r, s), wide))
                    taken = [code.scalar_at(code.address(place, offset)) for place in weights]
                    return code.outer(totals, [code.splat(weight) for weight in taken], values)

                return code.loop(low_s, high_s, 1, tap, totals)

            return code.loop(low_r, high_r, 1, row, totals)

        sums = code.loop(0, outputs, 1, output, [code.zero()] * (shape.channels * vectors))

        def write(row: ir.Value, number: int) -> None:
            own, place = sums[number * vectors : (number + 1) * vectors], (row, y, column, first)
            entry = code.at(place, height, width, count)
            with code.build.if_else(code.given(gate)) as (gated, plain):
                with gated:
                    seen = code.images(code.address(gate, entry), vectors)
                    shown = [code.build.fcmp_unordered(">", value, code.zero()) for value in seen]
                    passed = [code.build.select(*pair, code.zero()) for pair in zip(shown, own, strict=True)]
                    code.store(passed, code.address(dx, entry))
                with plain:
                    code.store(own, code.address(dx, entry))

        code.each_row(c, channels, write)

    _tiles(code, channels, height, width, tile)
    code.build.ret_void()


def to_weights(module: ir.Module, shape: Shape) -> None:
    """dw (K, C, R, S) += the sum over positions and images of g (K, O, Q, N) times x (C, H, W, N), `rows` at once."""
    code = Function(
        module,
        "to_weights",
        ("x", "g", "dw"),
        ("channels", "height", "width", "count", "outputs", "tall", "rows"),
        shape,
    )
    x, g, dw, channels, height, width, count, outputs, tall, step = code.named.values()
    wide, high, broad = _sizes(code)
    length, build = code.mul(broad, count), code.build

    def tile(start: ir.Value, stop: ir.Value, k: ir.Value, c: ir.Value, r: ir.Value, left: int, columns: int) -> None:
        passed = code.rows(g, k, outputs, code.mul(high, length))

        def line(y: ir.Value, *totals: ir.Value) -> Values:
            pixel = code.address(x, code.at((c, code.add(y, r), code.whole(left), code.whole(0)), height, width, count))
            own = [code.address(place, code.mul(y, length)) for place in passed]

            def piece(number: ir.Value, *totals: ir.Value) -> Values:
                here = code.address(pixel, number)
                seen = [code.images(code.address(here, code.mul(count, offset)), 1)[0] for offset in range(columns)]
                back = [code.images(code.address(place, number), 1)[0] for place in own]
                return code.outer(totals, back, seen)

            return code.loop(0, length, code.lanes, piece, totals)

        sums = code.loop(start, stop, 1, line, [code.zero()] * (shape.channels * columns))

        def write(row: ir.Value, number: int) -> None:
            for offset in range(columns):
                total = sums[number * columns + offset]
                target = code.address(dw, code.at((row, c, r, code.whole(left + offset)), channels, tall, wide))
                build.store(build.fadd(code.scalar_at(target), code.sum(total)), target, align=shape.item_bytes)

        code.each_row(k, outputs, write)

    def lines(start: ir.Value, k: ir.Value) -> None:
        stop = code.least(code.add(start, step), high)

        def taps(c: ir.Value, r: ir.Value) -> None:
            for first in range(0, shape.columns, COLUMNS):
                tile(start, stop, k, c, r, first, min(COLUMNS, shape.columns - first))

        code.grid(channels, tall, taps)

    def pieces(k: ir.Value) -> None:
        code.loop(0, code.parts(high, step), 1, lambda number: lines(code.mul(number, step), k))

    code.loop(0, outputs, shape.channels, pieces)
    build.ret_void()


def _sizes(code: Function) -> tuple[ir.Value, ir.Value, ir.Value]:
    """The columns of the kernel, and height and width of the answer."""
    wide = code.whole(code.shape.columns)
    high, broad = (
        code.add(code.sub(code.named[a], b), 1) for a, b in (("height", code.named["tall"]), ("width", wide))
    )
    return wide, high, broad


def _tiles(
    code: Function,
    rows: ir.Value,
    high: ir.Value,
    broad: ir.Value,
    tile: Callable[[ir.Value, ir.Value, ir.Value, int, ir.Value], None],
) -> None:
    """tile(y, column, first image, vectors, first row) for all positions and images, and `rows` some at a time."""

    def part(first: ir.Value, vectors: int) -> None:
        def position(y: ir.Value, column: ir.Value) -> None:
            code.loop(0, rows, code.shape.channels, lambda row: tile(y, column, first, vectors, row))

        code.grid(high, broad, position)

    # Some images after the others, so that the rows of all channels stay in the cache.
    code.blocks_of_images(code.named["count"], part)


def channels_at_once(count: int) -> int:
    """How many of `count` channels code takes at once: as many as fit the registers and waste little."""
    return min((6, 5, 4), key=lambda size: (-(-count // size) * size * (1 + 1 / size), -size))
