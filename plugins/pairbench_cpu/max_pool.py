"""Max pooling over images whose last axis is the batch, in windows that do not overlap, and its gradient."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from pairbench_cpu.ir_builder import Function, Shape, Values

SIZES = ("channels", "height", "width", "count")


def pool(module: ir.Module, shape: Shape) -> None:
    """out (C, O, Q, N) = the largest of each window of x (C, H, W, N); NaN is larger than all."""
    code = Function(module, "pool", ("x", "out"), SIZES, shape)
    build = code.build

    def window(places: Values, target: ir.Value) -> None:
        first, *others = [code.images(code.address(code.named["x"], place), 1)[0] for place in places]
        for value in others:
            larger = build.or_(build.fcmp_ordered(">", value, first), build.fcmp_unordered("uno", value, value))
            first = build.select(larger, value, first)
        code.store([first], code.address(code.named["out"], target))

    _windows(code, window)
    build.ret_void()


def pool_back(module: ir.Module, shape: Shape) -> None:
    """dx (C, H, W, N), zeros before, of g (C, O, Q, N): the first of a window that equals out gets all of it."""
    code = Function(module, "pool_back", ("x", "out", "g", "dx"), SIZES, shape)
    build = code.build

    def window(places: Values, target: ir.Value) -> None:
        best, back = (code.images(code.address(code.named[name], target), 1)[0] for name in ("out", "g"))
        free = code.true()
        for place in places:
            seen = code.images(code.address(code.named["x"], place), 1)[0]
            hit = build.and_(build.fcmp_ordered("==", seen, best), free)
            free = build.and_(free, build.not_(hit))
            code.store([build.select(hit, back, code.zero())], code.address(code.named["dx"], place))

    _windows(code, window)
    build.ret_void()


def _windows(code: Function, body: Callable[[Values, ir.Value], None]) -> None:
    """body(the numbers of the entries of a window, the number of its answer) for every window and vector of images."""
    channels, height, width, count = (code.named[name] for name in SIZES)
    size = code.shape.columns
    high, broad = (code.build.sdiv(length, code.whole(size)) for length in (height, width))

    def window(row: ir.Value, column: ir.Value, image: ir.Value) -> None:
        c, y = code.build.sdiv(row, high), code.build.srem(row, high)
        top, left = code.mul(y, size), code.mul(column, size)
        places = [
            code.at((c, code.add(top, number // size), code.add(left, number % size), image), height, width, count)
            for number in range(size * size)
        ]
        body(places, code.at((row, column, image), broad, count))

    def line(row: ir.Value) -> None:
        code.grid(broad, count, lambda column, image: window(row, column, image), code.lanes)

    code.loop(0, code.mul(channels, high), 1, line)
