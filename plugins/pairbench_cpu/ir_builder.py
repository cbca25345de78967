"""Machine code over images whose last axis is the batch: how a function is written, and how LLVM makes it.

With the batch last, (C, H, W, N), one vector holds the same pixel of many images. So any number of channels fills the
vectors, where other layouts leave most of each vector empty when channels are few.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from ctypes import CFUNCTYPE, c_int64, c_void_p
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

from pairbench_cpu.jit import machine_code

INT = ir.IntType(64)
POINTER = ir.PointerType()
Values = list[ir.Value]


@dataclass(frozen=True)
class Machine:
    """The vectors of this processor: their bytes, and how many of them make a block of images."""

    vector_bytes: int
    vectors: int

    def lanes(self, item_bytes: int) -> int:
        """Images in a vector."""
        return self.vector_bytes // item_bytes


@cache
def this_machine() -> Machine:
    """What the processor at hand has; AVX2 has half as many registers as AVX-512."""
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return Machine(64, 4)
    return Machine(32, 2) if features.get("avx2") else Machine(16, 4)


@dataclass(frozen=True)
class Shape:
    """What code is made for: bytes of a number (4 or 8), and for a convolution channels at once and kernel columns.

    half: whether products are of bf16, in the processor's tile registers.
    """

    item_bytes: int
    channels: int = 1
    columns: int = 1
    half: bool = False

    @cached_property
    def scalar(self) -> ir.Type:
        """The type of a number."""
        scalar: ir.Type = ir.FloatType() if self.item_bytes == 4 else ir.DoubleType()
        return scalar


class Function:
    """One function while its code is written: arithmetic, loops, and access to tables in memory."""

    def __init__(self, module: ir.Module, name: str, pointers: Sequence[str], integers: Sequence[str], shape: Shape):
        kind = ir.FunctionType(ir.VoidType(), [POINTER] * len(pointers) + [INT] * len(integers))
        self.function = ir.Function(module, kind, name)
        self.function.attributes.add("nounwind")
        self.named = dict(zip([*pointers, *integers], self.function.args, strict=True))
        for pointer in self.function.args[: len(pointers)]:
            pointer.add_attribute("noalias")
        self.build = ir.IRBuilder(self.function.append_basic_block())
        self.shape, self.machine = shape, this_machine()
        self.lanes = self.machine.lanes(shape.item_bytes)
        self.vector = ir.VectorType(shape.scalar, self.lanes)

    def whole(self, value: int | ir.Value) -> ir.Value:
        """A whole number."""
        return ir.Constant(INT, value) if isinstance(value, int) else value

    def add(self, first: ir.Value, second: int | ir.Value) -> ir.Value:
        """first + second."""
        return self.build.add(first, self.whole(second), flags=("nsw",))

    def sub(self, first: ir.Value, second: int | ir.Value) -> ir.Value:
        """first - second."""
        return self.build.sub(first, self.whole(second), flags=("nsw",))

    def mul(self, first: ir.Value, second: int | ir.Value) -> ir.Value:
        """first * second."""
        return self.build.mul(first, self.whole(second), flags=("nsw",))

    def least(self, first: ir.Value, second: int | ir.Value) -> ir.Value:
        """The smaller of two."""
        other = self.whole(second)
        return self.build.select(self.build.icmp_signed("<", first, other), first, other)

    def most(self, first: ir.Value, second: int | ir.Value) -> ir.Value:
        """The larger of two."""
        other = self.whole(second)
        return self.build.select(self.build.icmp_signed(">", first, other), first, other)

    def at(self, place: tuple[ir.Value, ...], *sizes: ir.Value) -> ir.Value:
        """The number of the entry `place` of a table whose axes after the first have `sizes`."""
        number = place[0]
        for index, size in zip(place[1:], sizes, strict=True):
            number = self.add(self.mul(number, size), index)
        return number

    def address(self, pointer: ir.Value, number: int | ir.Value) -> ir.Value:
        """Where entry `number` of a table lies."""
        return self.build.gep(pointer, [self.whole(number)], source_etype=self.shape.scalar)

    def images(self, pointer: ir.Value, vectors: int) -> Values:
        """`vectors` vectors that lie one after the other."""
        places = [self.address(pointer, self.lanes * number) for number in range(vectors)]
        return [self.build.load(place, typ=self.vector, align=self.shape.item_bytes) for place in places]

    def store(self, values: Values, pointer: ir.Value) -> None:
        """Write vectors one after the other."""
        for number, value in enumerate(values):
            self.build.store(value, self.address(pointer, self.lanes * number), align=self.shape.item_bytes)

    def half(self, value: ir.Value, odd: int) -> ir.Value:
        """A vector of bf16 in the even places of whole numbers of 32 bits, or the odd ones, and zeros in the others."""
        kind = ir.VectorType(ir.IntType(32), self.lanes)
        # Half of the last place that stays, so that the rest is not cut off but rounded.
        bits = self.build.add(self.build.bitcast(value, kind), ir.Constant(kind, [0x8000] * self.lanes))
        if odd:
            return self.build.and_(bits, ir.Constant(kind, [0xFFFF0000] * self.lanes))
        return self.build.lshr(bits, ir.Constant(kind, [16] * self.lanes))

    def store_half(self, value: ir.Value, pointer: ir.Value, odd: int) -> None:
        """Write a vector as bf16 into every second place of one: the even ones, zeros between, or the odd ones."""
        found = self.half(value, odd)
        if odd:
            found = self.build.or_(self.build.load(pointer, typ=found.type, align=4), found)
        self.build.store(found, pointer, align=4)

    def halves(self, even: ir.Value, odd: ir.Value) -> ir.Value:
        """Two vectors as bf16 in one, the places of one between those of the other."""
        return self.build.bitcast(self.build.or_(self.half(even, 0), self.half(odd, 1)), self.vector)

    def scalar_at(self, pointer: ir.Value) -> ir.Value:
        """One number."""
        return self.build.load(pointer, typ=self.shape.scalar, align=self.shape.item_bytes)

    def splat(self, scalar: ir.Value) -> ir.Value:
        """A vector that holds `scalar`, a number or a truth value, in each place."""
        nothing = ir.Constant(ir.VectorType(scalar.type, self.lanes), ir.Undefined)
        first = self.build.insert_element(nothing, scalar, self.whole(0))
        order = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.build.shuffle_vector(first, nothing, order)

    def multiply_add(self, first: ir.Value, second: ir.Value, total: ir.Value) -> ir.Value:
        """first * second + total, rounded once."""
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        return self.build.call(self.intrinsic("llvm.fma", kind), [first, second, total])

    def sum(self, vector: ir.Value) -> ir.Value:
        """The sum of the numbers in a vector, in any order."""
        kind = ir.FunctionType(self.shape.scalar, [self.shape.scalar, self.vector])
        nothing = ir.Constant(self.shape.scalar, -0.0)
        return self.build.call(
            self.intrinsic("llvm.vector.reduce.fadd", kind), [nothing, vector], fastmath=("reassoc",)
        )

    def sums(self, vectors: Values) -> ir.Value:
        """The sum of each of four vectors, as a vector of four, in any order: fewer shuffles than four times `sum`."""
        parts, found = self.lanes, list(vectors)
        while len(found) > 1:
            pairs = list(zip(found[::2], found[1::2], strict=True))
            found = [self._halved(*pair, parts) for pair in pairs]
            parts = max(parts // 2, 1)
        while parts > 1:
            found = [self._halved(found[0], None, parts)]
            parts //= 2
        return found[0]

    def _halved(self, first: ir.Value, second: ir.Value | None, parts: int) -> ir.Value:
        """Two vectors as one: of each `parts` numbers in turn, one half added to the other; side by side if single."""
        size = first.type.count
        starts = range(0, size if second is None else 2 * size, parts)
        other = ir.Constant(first.type, ir.Undefined) if second is None else second

        def chosen(offset: int, taken: int) -> ir.Value:
            order = [start + offset + number for start in starts for number in range(taken)]
            kind = ir.VectorType(ir.IntType(32), len(order))
            return self.build.shuffle_vector(first, other, ir.Constant(kind, order))

        half = parts // 2
        return self.build.fadd(chosen(0, half), chosen(half, half)) if half else chosen(0, 1)

    def choose(self, index: ir.Value, values: Sequence[int]) -> ir.Value:
        """values[index]."""
        return self._chosen(index, [self.whole(value) for value in values])

    def choose_number(self, index: ir.Value, values: Sequence[float]) -> ir.Value:
        """values[index], as a number of the tables."""
        return self._chosen(index, [ir.Constant(self.shape.scalar, float(value)) for value in values])

    def _chosen(self, index: ir.Value, values: Values) -> ir.Value:
        found = values[-1]
        for number, value in enumerate(values[:-1]):
            found = self.build.select(self.build.icmp_signed("==", index, self.whole(number)), value, found)
        return found

    def parts(self, count: ir.Value, size: ir.Value) -> ir.Value:
        """How many parts of `size` hold `count`."""
        return self.build.sdiv(self.sub(self.add(count, size), 1), size)

    def intrinsic(self, name: str, kind: ir.FunctionType) -> ir.Function:
        """The function of LLVM's own called `name`, for vectors as here."""
        module = self.function.module
        name = f"{name}.v{self.lanes}f{8 * self.shape.item_bytes}"
        return module.globals.get(name) or ir.Function(module, kind, name)

    def zero(self) -> ir.Value:
        """A vector of zeros."""
        return ir.Constant(self.vector, None)

    def loop(
        self,
        start: int | ir.Value,
        stop: ir.Value,
        step: int,
        body: Callable[..., Values | None],
        carried: Sequence[ir.Value] = (),
    ) -> Values:
        """body(index, *carried) for each index below `stop`; gives back what the last one gave."""
        before = self.build.block
        head, inside, after = (self.function.append_basic_block() for _ in range(3))
        self.build.branch(head)
        self.build.position_at_end(head)
        index = self.build.phi(INT)
        values = [self.build.phi(value.type) for value in carried]
        self.build.cbranch(self.build.icmp_signed("<", index, stop), inside, after)
        self.build.position_at_end(inside)
        given = body(index, *values) or []
        following, end = self.add(index, step), self.build.block
        self.build.branch(head)
        for phi, first, later in zip([index, *values], [self.whole(start), *carried], [following, *given], strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(later, end)
        self.build.position_at_end(after)
        return values

    def grid(
        self, rows: ir.Value, columns: ir.Value, body: Callable[[ir.Value, ir.Value], None], step: int = 1
    ) -> None:
        """body(row, column) for every row, and in it for every `step`-th column."""

        def line(row: ir.Value) -> None:
            self.loop(0, columns, step, lambda column: body(row, column))

        self.loop(0, rows, 1, line)

    def blocks_of_images(self, count: ir.Value, body: Callable[[ir.Value, int], None]) -> None:
        """body(first image, vectors) for all of `count` images: as many vectors at once as fit, then one by one."""
        many = self.machine.vectors
        whole = self.mul(self.build.sdiv(count, self.whole(many * self.lanes)), many * self.lanes)
        self.loop(0, whole, many * self.lanes, lambda first: body(first, many))
        self.loop(whole, count, self.lanes, lambda first: body(first, 1))

    def widths(self, count: ir.Value) -> Iterator[tuple[ir.Value, ir.Value]]:
        """Where vectors begin and end among `count` images: whole vectors first, then what is left in halves of them.

        Whatever is written for one part takes vectors of its width.
        """
        lanes, start = self.lanes, self.whole(0)
        while self.lanes:
            self.vector = ir.VectorType(self.shape.scalar, self.lanes)
            stop = self.build.and_(count, self.whole(-self.lanes))
            yield start, stop
            start, self.lanes = stop, self.lanes // 2
        self.lanes, self.vector = lanes, ir.VectorType(self.shape.scalar, lanes)

    def every(self, rows: ir.Value, count: ir.Value, body: Callable[[ir.Value, ir.Value], None]) -> None:
        """body(row, image) for each vector of `count` images in each of `rows` rows."""
        for start, stop in self.widths(count):
            self._some(rows, start, stop, lambda row, image, *_: body(row, image))

    def gather(
        self, rows: ir.Value, count: ir.Value, body: Callable[[ir.Value, ir.Value], Values], sums: int
    ) -> Values:
        """The sums of what body(row, image) gives for each vector of `count` images in each of `rows` rows."""
        found = [ir.Constant(self.shape.scalar, 0.0)] * sums

        def added(row: ir.Value, image: ir.Value, *totals: ir.Value) -> Values:
            return [self.build.fadd(*pair) for pair in zip(totals, body(row, image), strict=True)]

        for start, stop in self.widths(count):
            vectors = self._some(rows, start, stop, added, [self.zero()] * sums)
            found = [self.build.fadd(total, self.sum(vector)) for total, vector in zip(found, vectors, strict=True)]
        return found

    def _some(
        self,
        rows: ir.Value,
        start: ir.Value,
        stop: ir.Value,
        body: Callable[..., Values | None],
        carried: Sequence[ir.Value] = (),
    ) -> Values:
        needed = self.build.select(self.build.icmp_signed("<", start, stop), rows, self.whole(0))

        def line(row: ir.Value, *totals: ir.Value) -> Values:
            return self.loop(start, stop, self.lanes, lambda image, *now: body(row, image, *now), totals)

        return self.loop(0, needed, 1, line, carried)

    def given(self, pointer: ir.Value) -> ir.Value:
        """Whether a pointer leads anywhere."""
        return self.build.icmp_unsigned("!=", self.build.ptrtoint(pointer, INT), self.whole(0))

    def true(self) -> ir.Value:
        """The truth value, in each place of a vector."""
        return ir.Constant(ir.VectorType(ir.IntType(1), self.lanes), [1] * self.lanes)

    def rectified(self, value: ir.Value, relu: ir.Value) -> ir.Value:
        """A ReLU of `value` where the flag `relu` is true; NaN stays NaN."""
        low = self.build.fcmp_ordered("<", value, self.zero())
        return self.build.select(relu, self.build.select(low, self.zero(), value), value)

    def outer(self, totals: Sequence[ir.Value], weights: Values, images: Values) -> Values:
        """totals + each weight times each vector of images."""
        pairs = [(weight, image) for weight in weights for image in images]
        return [self.multiply_add(*pair, total) for pair, total in zip(pairs, totals, strict=True)]

    def rows(self, pointer: ir.Value, first: ir.Value, count: ir.Value, size: ir.Value) -> Values:
        """Where rows first, first + 1, ... of `size` lie, as many as code takes at once; the last may repeat."""
        last = self.sub(count, 1)
        places = [self.least(self.add(first, number), last) for number in range(self.shape.channels)]
        return [self.address(pointer, self.mul(place, size)) for place in places]

    def each_row(self, first: ir.Value, count: ir.Value, body: Callable[[ir.Value, int], None]) -> None:
        """body(row, number) for the rows first, first + 1, ... that there are."""
        for number in range(self.shape.channels):
            row = self.add(first, number)
            with self.build.if_then(self.build.icmp_signed("<", row, count)):
                body(row, number)


@cache
def compiled(write: Callable[[ir.Module, Shape], None], shape: Shape) -> Callable[..., None]:
    """The function that `write` puts into a module, for `shape`: something to call with addresses and whole numbers."""
    name = write.__name__
    module = ir.Module(name)
    module.triple = llvm.get_default_triple()
    write(module, shape)
    kinds = [c_void_p if arg.type == POINTER else c_int64 for arg in module.globals[name].args]
    address = machine_code(str(module), name)
    call: Any = CFUNCTYPE(None, *kinds)(address)
    return call  # type: ignore[no-any-return]
