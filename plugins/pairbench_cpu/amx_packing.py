"""Factors of matrix products as tile registers take them: bf16, two columns in one, rows and columns filled up."""

from __future__ import annotations

from llvmlite import ir

from pairbench_cpu.amx import ROWS, transposed
from pairbench_cpu.ir_builder import Function, Shape, Values


def pack(module: ir.Module, shape: Shape) -> None:
    """out (T, R, P) of u (T, rows, columns): `room` rows R of `pairs` P, zeros behind the columns.

    Rows that are filled up hold anything. Two vectors more than u are read, and one more than out is written.
    """
    code = Function(module, "pack", ("u", "out"), ("tables", "rows", "columns", "room", "pairs"), shape)
    u, out, tables, rows, columns, room, pairs = code.named.values()
    places = ir.Constant(ir.VectorType(ir.IntType(64), code.lanes), list(range(code.lanes)))

    def chosen(both: Values, left: ir.Value, odd: int) -> ir.Value:
        """Every second of two vectors, as far as `left` columns are left."""
        order = [2 * lane + odd for lane in range(code.lanes)]
        values = code.build.shuffle_vector(*both, ir.Constant(ir.VectorType(ir.IntType(32), code.lanes), order))
        count = code.splat(code.build.ashr(code.add(left, 1 - odd), code.whole(1)))
        return code.build.select(code.build.icmp_signed("<", places, count), values, code.zero())

    def row(table: ir.Value, number: ir.Value) -> None:
        def some(pair: ir.Value) -> None:
            entry = code.at((table, number, code.mul(pair, 2)), rows, columns)
            both, left = code.images(code.address(u, entry), 2), code.sub(columns, code.mul(pair, 2))
            target = code.address(out, code.at((table, number, pair), room, pairs))
            code.store([code.halves(chosen(both, left, 0), chosen(both, left, 1))], target)

        code.loop(0, pairs, code.lanes, some)

    code.grid(tables, rows, row)
    code.build.ret_void()


def pack_transposed(module: ir.Module, shape: Shape) -> None:
    """The same of u (T, columns, rows), times the number that `scale` leads to."""
    code = Function(
        module, "pack_transposed", ("u", "scale", "out"), ("tables", "rows", "columns", "room", "pairs"), shape
    )
    u, scale, out, tables, rows, columns, room, pairs = code.named.values()
    factor, blocks = code.splat(code.scalar_at(scale)), code.parts(pairs, code.whole(ROWS))

    def taken(table: ir.Value, first: ir.Value, column: ir.Value) -> ir.Value:
        """A vector of rows in one column."""
        own = code.least(column, code.sub(columns, 1))
        found = code.images(code.address(u, code.at((table, own, first), columns, rows)), 1)[0]
        there = code.splat(code.build.icmp_signed("<", column, columns))
        return code.build.select(there, code.build.fmul(found, factor), code.zero())

    def pair(table: ir.Value, first: ir.Value, number: ir.Value) -> ir.Value:
        even = code.mul(number, 2)
        return code.halves(taken(table, first, even), taken(table, first, code.add(even, 1)))

    def block(table: ir.Value, number: ir.Value, first: ir.Value) -> None:
        start = code.mul(number, ROWS)
        vectors = [pair(table, first, code.add(start, place)) for place in range(ROWS)]
        for place, vector in enumerate(transposed(code, vectors)):
            row = code.add(first, place)
            with code.build.if_then(code.build.icmp_signed("<", row, room)):
                code.store([vector], code.address(out, code.at((table, row, start), room, pairs)))

    def table(number: ir.Value) -> None:
        # The last columns first: what is written behind a row is put right by the next row's first columns.
        def backwards(place: ir.Value) -> None:
            last = code.sub(code.sub(blocks, 1), place)
            code.loop(0, rows, ROWS, lambda first: block(number, last, first))

        code.loop(0, blocks, 1, backwards)

    code.loop(0, tables, 1, table)
    code.build.ret_void()
