"""Panels of Winograd's form F(2x2, 3x3): the 16 numbers of each tile of a block of images, and what multiplies them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir

from pairbench_cpu.amx import Place, Registers
from pairbench_cpu.ir_builder import Function, Values

TILE = 4

Triple = tuple[ir.Value, ir.Value, ir.Value]
Along = Callable[[Function, Values], Values]


class Panel:
    """16 tables (rows, vectors of images) of a block of images, in a workspace that has room for more rows."""

    def __init__(
        self, code: Function, start: ir.Value, rows: ir.Value, vectors: int, room: ir.Value | None = None
    ) -> None:
        self.code, self.start, self.rows, self.vectors = code, start, rows, vectors
        self.width, self.room = vectors * code.lanes, rows if room is None else room
        # One vector more, or the same row of all tables would fall upon one place of the cache.
        self.size = code.add(code.mul(self.room, self.width), code.lanes)
        self.end = code.address(start, code.mul(self.size, TILE * TILE))

    def place(self, table: ir.Value, row: ir.Value, image: ir.Value) -> ir.Value:
        """Where a vector lies."""
        number = self.code.add(self.code.mul(table, self.size), self.code.add(self.code.mul(row, self.width), image))
        return self.code.address(self.start, number)

    def take(self, table: ir.Value, corner: Triple, side: int, sizes: Triple, along: Along) -> None:
        """Turn the pixels of a tile around, `side` by `side` from its upper left corner (y, x, first image)."""

        def one(row: ir.Value, vector: ir.Value) -> None:
            for number, value in enumerate(self._numbers(table, row, vector, corner, side, sizes, along)):
                self.code.store([value], self.place(self.code.whole(number), row, vector))

        each_vector(self.code, self.rows, self.vectors, one)

    def _numbers(
        self, table: ir.Value, row: ir.Value, vector: ir.Value, corner: Triple, side: int, sizes: Triple, along: Along
    ) -> Values:
        y, column, first = corner
        start = (row, y, column, self.code.add(first, vector))
        pixels = [[pixel(self.code, table, start, (i, j), sizes) for j in range(side)] for i in range(side)]
        return [value for line in both_ways(self.code, pixels, along) for value in line]

    def give(self, table: ir.Value, corner: Triple, sizes: Triple, along: Along, write: Callable[..., None]) -> None:
        """write(value, where it belongs in `table`, row, image, i, j) for each pixel that the 16 tables turn into."""
        code, (y, column, first) = self.code, corner

        def one(row: ir.Value, vector: ir.Value) -> None:
            image = code.add(first, vector)
            numbers = [
                [code.images(self.place(code.whole(TILE * i + j), row, vector), 1)[0] for j in range(TILE)]
                for i in range(TILE)
            ]
            for i, line in enumerate(both_ways(code, numbers, along)):
                for j, value in enumerate(line):
                    place = (row, code.add(y, i), code.add(column, j), image)
                    write(value, code.address(table, code.at(place, *sizes)), row, image, i, j)

        each_vector(code, self.rows, self.vectors, one)


class PairPanel(Panel):
    """The same with two rows in one, as numbers of bf16 side by side; `room` counts pairs, and zeros fill the rest."""

    def take(self, table: ir.Value, corner: Triple, side: int, sizes: Triple, along: Along) -> None:
        """Turn the pixels of a tile around, `side` by `side` from its upper left corner (y, x, first image)."""
        code = self.code

        def one(pair: ir.Value, vector: ir.Value) -> None:
            for odd in (0, 1):
                row = code.add(code.mul(pair, 2), odd)
                targets = [self.place(code.whole(number), pair, vector) for number in range(TILE * TILE)]
                there = code.build.icmp_signed("<", row, self.rows)
                with code.build.if_else(there) as (some, none):
                    with some:
                        values = self._numbers(table, row, vector, corner, side, sizes, along)
                        for value, target in zip(values, targets, strict=True):
                            code.store_half(value, target, odd)
                    with none:
                        for target in targets if not odd else ():
                            code.store([code.zero()], target)

        each_vector(code, self.room, self.vectors, one)


class Vectors:
    """Products in the vectors of the processor.

    steps: how far apart two rows of u lie (of what is made), and two columns (of what is seen).
    """

    def __init__(
        self, code: Function, u: ir.Value, made: ir.Value, seen: ir.Value, steps: tuple[ir.Value, ir.Value]
    ) -> None:
        self.code, self.u, self.made, self.seen, self.steps = code, u, made, seen, steps

    def panels(self, workspace: ir.Value, vectors: int) -> tuple[Panel, Panel]:
        """Room for what is seen, and for what is made of it, of one tile of a block of images."""
        seen = Panel(self.code, workspace, self.seen, vectors)
        return seen, Panel(self.code, seen.end, self.made, vectors)

    def multiply(self, seen: Panel, made: Panel) -> None:
        """made = u * seen for each of the 16 tables."""
        code, vectors, size = self.code, seen.vectors, self.code.mul(self.made, self.seen)

        def rows(table: ir.Value, first: ir.Value) -> None:
            weights = code.rows(code.address(self.u, code.mul(table, size)), first, self.made, self.steps[0])

            def inner(c: ir.Value, *totals: ir.Value) -> Values:
                values = code.images(seen.place(table, c, code.whole(0)), vectors)
                taken = [code.scalar_at(code.address(place, code.mul(c, self.steps[1]))) for place in weights]
                return code.outer(totals, [code.splat(weight) for weight in taken], values)

            sums = code.loop(0, self.seen, 1, inner, [code.zero()] * (code.shape.channels * vectors))

            def write(row: ir.Value, number: int) -> None:
                code.store(sums[number * vectors : (number + 1) * vectors], made.place(table, row, code.whole(0)))

            code.each_row(first, self.made, write)

        code.grid(code.whole(TILE * TILE), self.made, rows, step=code.shape.channels)

    def end(self) -> None:
        """Nothing is left to do."""


class Matrices:
    """Products of bf16 in the processor's tile registers; u is (16, rows, pairs), both filled to whole registers."""

    def __init__(self, code: Function, u: ir.Value, made: ir.Value, seen: ir.Value) -> None:
        self.code, self.u, self.made, self.seen = code, u, made, seen
        self.registers = Registers(code, made, code.parts(seen, code.whole(2)))
        self.pairs = code.mul(self.registers.steps, self.registers.taken)

    def panels(self, workspace: ir.Value, vectors: int) -> tuple[Panel, Panel]:
        """Room for what is seen, and for what is made of it, of one tile of a block of images."""
        seen = PairPanel(self.code, workspace, self.seen, vectors, self.pairs)
        return seen, Panel(self.code, seen.end, self.made, vectors, self.registers.rows)

    def multiply(self, seen: Panel, made: Panel) -> None:
        """made = u * seen for each of the 16 tables."""
        code = self.code

        def one(table: ir.Value) -> None:
            def first(row: ir.Value, pair: ir.Value) -> Place:
                entry = code.at((table, row, pair), self.registers.rows, self.pairs)
                return code.address(self.u, entry), code.mul(self.pairs, 4)

            def of(panel: Panel, row: ir.Value, vector: int) -> Place:
                start = panel.place(table, row, code.whole(vector * code.lanes))
                return start, code.whole(panel.width * 4)

            self.registers.products(
                seen.vectors,
                first,
                lambda vector, pair: of(seen, pair, vector),
                lambda row, vector: of(made, row, vector),
            )

        code.loop(0, code.whole(TILE * TILE), 1, one)

    def end(self) -> None:
        """Give the registers back."""
        self.registers.end()


def products(
    code: Function, u: ir.Value, made: ir.Value, seen: ir.Value, steps: tuple[ir.Value, ir.Value]
) -> Vectors | Matrices:
    """What multiplies tables of `seen` rows by u, so that `made` rows come out, in the way that `code` is made for."""
    return Matrices(code, u, made, seen) if code.shape.half else Vectors(code, u, made, seen, steps)


def tiles(code: Function, high: ir.Value, broad: ir.Value, body: Callable[[ir.Value, ir.Value], None]) -> None:
    """body(y, column) for the upper left pixel of each tile."""

    def line(y: ir.Value) -> None:
        code.loop(0, broad, 2, lambda column: body(y, column))

    code.loop(0, high, 2, line)


def each_vector(code: Function, rows: ir.Value, vectors: int, body: Callable[[ir.Value, ir.Value], None]) -> None:
    """body(row, image) for each vector of a block of images in each row."""
    code.grid(rows, code.whole(vectors * code.lanes), body, step=code.lanes)


def pixel(
    code: Function,
    table: ir.Value,
    start: tuple[ir.Value, ir.Value, ir.Value, ir.Value],
    offset: tuple[int, int],
    sizes: Triple,
) -> ir.Value:
    """A vector of a table of images, `offset` rows and columns from `start` (row of the table, y, x, image)."""
    row, y, column, image = start
    place = (row, code.add(y, offset[0]), code.add(column, offset[1]), image)
    return code.images(code.address(table, code.at(place, *sizes)), 1)[0]


def both_ways(code: Function, values: Sequence[Values], along: Along) -> list[Values]:
    """`along` over each column, and then over each row."""
    columns = [along(code, list(column)) for column in zip(*values, strict=True)]
    return [along(code, list(row)) for row in zip(*columns, strict=True)]


def input_transform(code: Function, d: Values) -> Values:
    """Four pixels as the four numbers of a tile."""
    build = code.build
    return [build.fsub(d[0], d[2]), build.fadd(d[1], d[2]), build.fsub(d[2], d[1]), build.fsub(d[1], d[3])]


def input_transform_grad(code: Function, t: Values) -> Values:
    """The gradients of four pixels from those of `input_transform`."""
    build = code.build
    second = build.fadd(build.fsub(t[1], t[2]), t[3])
    return [t[0], second, build.fsub(build.fadd(t[1], t[2]), t[0]), build.fneg(t[3])]


def output_transform(code: Function, m: Values) -> Values:
    """Four numbers of a tile as two pixels of the answer."""
    build = code.build
    return [build.fadd(build.fadd(m[0], m[1]), m[2]), build.fsub(build.fsub(m[1], m[2]), m[3])]


def output_transform_grad(code: Function, y: Values) -> Values:
    """The gradients of four numbers of a tile from those of `output_transform`."""
    build = code.build
    return [y[0], build.fadd(y[0], y[1]), build.fsub(y[0], y[1]), build.fneg(y[1])]
