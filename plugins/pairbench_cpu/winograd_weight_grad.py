"""Sums over images and tiles, which Winograd's form takes for the gradient of the weights.

For one row of the 4x4 numbers of each tile, two sets of four tables are kept in a workspace: what the images became,
and their gradients. Each number of the weights is a sum over a row of one and a row of the other.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from pairbench_cpu.amx import ROWS, Place, Registers, transposed
from pairbench_cpu.ir_builder import Function, Values
from pairbench_cpu.winograd_tiles import TILE

# Vectors of one table that are summed at once with those of another.
SUMMED = 4


class VectorSums:
    """Sums in the vectors of the processor; du is (16, outputs, channels in whole fours)."""

    def __init__(
        self, code: Function, workspace: ir.Value, channels: ir.Value, outputs: ir.Value, du: ir.Value
    ) -> None:
        self.code, self.workspace, self.channels, self.outputs, self.du = code, workspace, channels, outputs, du
        self.padded = code.mul(code.parts(channels, code.whole(SUMMED)), SUMMED)

    def begin(self, places: ir.Value, images: ir.Value) -> None:
        """So many tiles and images come now."""
        code = self.code
        self.places, self.images = places, images
        self.length = code.mul(places, images)
        # One vector more between the four tables, or their rows would fall upon each other in the cache.
        sizes = [code.add(code.mul(rows, self.length), code.lanes) for rows in (self.channels, self.outputs)]
        self.tables = [self.workspace, code.address(self.workspace, code.mul(sizes[0], TILE))]
        self.sizes = sizes

    def each(self, body: Callable[[ir.Value, int], None]) -> None:
        """body(image, 0) for the first image of each vector."""
        code = self.code
        code.loop(0, self.images, code.lanes, lambda image: body(image, 0))

    def keep(self, side: int, row: ir.Value, place: ir.Value, image: ir.Value, _odd: int, values: Values) -> None:
        """Keep four numbers of a vector of images, in row `row` of the tables of a side, at a tile."""
        code = self.code
        target = code.at((row, place, image), self.places, self.images)
        for j, value in enumerate(values):
            code.store([value], code.address(self.tables[side], code.add(code.mul(self.sizes[side], j), target)))

    def add(self, i: ir.Value) -> None:
        """Add what is kept to row `i` of the weights' 4x4 numbers."""
        code, build, length = self.code, self.code.build, self.length

        def product(j: ir.Value, k: ir.Value) -> None:
            passed = code.rows(code.address(self.tables[1], code.mul(j, self.sizes[1])), k, self.outputs, length)
            table = code.address(self.tables[0], code.mul(j, self.sizes[0]))

            def some(c: ir.Value) -> None:
                last = code.sub(self.channels, 1)
                chosen = [code.least(code.add(c, number), last) for number in range(SUMMED)]
                own = [code.address(table, code.mul(row, length)) for row in chosen]

                def vector(place: ir.Value, *totals: ir.Value) -> Values:
                    values = [code.images(code.address(start, place), 1)[0] for start in passed]
                    seen = [code.images(code.address(start, place), 1)[0] for start in own]
                    return code.outer(totals, values, seen)

                zeros = [code.zero()] * (SUMMED * code.shape.channels)
                totals = code.loop(0, length, code.lanes, vector, zeros)

                def write(row: ir.Value, number: int) -> None:
                    found = code.sums(totals[SUMMED * number : SUMMED * (number + 1)])
                    entry = code.at((i, j, row, c), code.whole(TILE), self.outputs, self.padded)
                    target = code.address(self.du, entry)
                    before = build.load(target, typ=found.type, align=code.shape.item_bytes)
                    build.store(build.fadd(before, found), target, align=code.shape.item_bytes)

                code.each_row(k, self.outputs, write)

            code.loop(0, self.channels, SUMMED, some)

        code.grid(code.whole(TILE), self.outputs, product, step=code.shape.channels)

    def end(self) -> None:
        """Nothing is left to do."""


class MatrixSums:
    """Sums of products of bf16 in the processor's tile registers; du is (16, outputs, channels), in whole registers.

    Two vectors of images lie in one, as numbers of bf16 side by side. Rows of channels become columns in a third table.
    """

    def __init__(
        self, code: Function, workspace: ir.Value, channels: ir.Value, outputs: ir.Value, du: ir.Value
    ) -> None:
        self.code, self.workspace, self.channels, self.du = code, workspace, channels, du
        self.registers = Registers(code, outputs, code.whole(ROWS))
        self.outputs = self.registers.rows
        self.columns = code.parts(channels, code.whole(ROWS))

    def begin(self, places: ir.Value, images: ir.Value) -> None:
        """So many tiles and images come now."""
        code = self.code
        self.places, self.images = places, images
        self.half = code.mul(code.parts(images, code.whole(2 * code.lanes)), code.lanes)
        self.length = code.mul(places, self.half)
        self.registers.steps = code.build.sdiv(self.length, code.whole(ROWS))
        # One vector more in each row, or rows would fall upon each other in the cache.
        self.row = code.add(self.length, code.lanes)
        self.sizes = [code.mul(rows, self.row) for rows in (self.channels, self.outputs)]
        first = code.address(self.workspace, code.mul(self.sizes[0], TILE))
        self.tables = [self.workspace, first]
        self.transposed = code.address(first, code.mul(self.sizes[1], TILE))

    def each(self, body: Callable[[ir.Value, int], None]) -> None:
        """body(image, odd) for the first image of each vector, of which every second one is odd."""
        code = self.code

        def both(image: ir.Value) -> None:
            body(image, 0)
            other = code.add(image, code.lanes)
            with code.build.if_then(code.build.icmp_signed("<", other, self.images)):
                body(other, 1)

        code.loop(0, self.images, 2 * code.lanes, both)

    def keep(self, side: int, row: ir.Value, place: ir.Value, image: ir.Value, odd: int, values: Values) -> None:
        """Keep four numbers of a vector of images, in row `row` of the tables of a side, at a tile."""
        code = self.code
        shared = code.build.sdiv(code.sub(image, odd * code.lanes), code.whole(2))
        entry = code.add(code.mul(row, self.row), code.at((place, shared), self.half))
        for j, value in enumerate(values):
            target = code.address(self.tables[side], code.add(code.mul(self.sizes[side], j), entry))
            code.store_half(value, target, odd)

    def add(self, i: ir.Value) -> None:
        """Add what is kept to row `i` of the weights' 4x4 numbers."""
        code = self.code

        def product(j: ir.Value) -> None:
            self._turn(code.address(self.tables[0], code.mul(j, self.sizes[0])))
            passed = code.address(self.tables[1], code.mul(j, self.sizes[1]))
            found = code.at((i, j), code.whole(TILE))

            def some(column: ir.Value, vectors: int) -> None:
                def first(row: ir.Value, step: ir.Value) -> Place:
                    return code.address(passed, code.at((row, step), self.row)), code.mul(self.row, 4)

                def second(number: int, step: ir.Value) -> Place:
                    entry = code.at((code.add(column, number), step, code.whole(0)), self.length, code.whole(ROWS))
                    return code.address(self.transposed, entry), code.whole(4 * ROWS)

                def made(row: ir.Value, number: int) -> Place:
                    place = (found, row, code.add(column, number), code.whole(0))
                    entry = code.at(place, self.outputs, self.columns, code.whole(ROWS))
                    return code.address(self.du, entry), code.mul(self.columns, 4 * ROWS)

                self.registers.products(vectors, first, second, made, added=True)

            whole = code.mul(code.build.sdiv(self.columns, code.whole(2)), 2)
            code.loop(0, whole, 2, lambda column: some(column, 2))
            code.loop(whole, self.columns, 1, lambda column: some(column, 1))

        code.loop(0, code.whole(TILE), 1, product)

    def _turn(self, table: ir.Value) -> None:
        """A table (channels, length) as (columns of 16 channels, length, 16); the last channel repeats."""
        code = self.code
        last = code.sub(self.channels, 1)

        def block(column: ir.Value, start: ir.Value) -> None:
            rows = [code.least(code.add(code.mul(column, ROWS), number), last) for number in range(ROWS)]
            places = [code.address(table, code.add(code.mul(row, self.row), start)) for row in rows]
            vectors = transposed(code, [code.images(place, 1)[0] for place in places])
            entry = code.at((column, start, code.whole(0)), self.length, code.whole(ROWS))
            code.store(vectors, code.address(self.transposed, entry))

        code.grid(self.columns, self.length, block, step=ROWS)

    def end(self) -> None:
        """Give the registers back."""
        self.registers.end()


def sums(
    code: Function, workspace: ir.Value, channels: ir.Value, outputs: ir.Value, du: ir.Value
) -> VectorSums | MatrixSums:
    """Sums in the way that `code` is made for."""
    return (MatrixSums if code.shape.half else VectorSums)(code, workspace, channels, outputs, du)
