"""Matrix products in the tile registers of a processor (Intel AMX): factors in bf16, sums in single precision.

A register has up to 16 rows of 64 bytes. Two numbers of bf16 lie in each 32 bits, so that one instruction multiplies
16 rows of 32 numbers with 32 rows of 16: of these, two rows lie in one, pair by pair.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache

import llvmlite.binding as llvm
from llvmlite import ir

from pairbench_cpu.ir_builder import POINTER, Function

ROWS = 16
# What Linux wants to be asked for before a process uses these registers, and which state it is about.
_ARCH_PRCTL, _ASK, _STATE = 158, 0x1023, 18
_BYTE, _INDEX = ir.IntType(8), ir.IntType(32)

Place = tuple[ir.Value, ir.Value]


@cache
def has_matrices() -> bool:
    """Whether this processor has tile registers for bf16, and this process may use them."""
    if not llvm.get_host_cpu_features().get("amx-bf16") or sys.platform != "linux":
        return False
    refused: int = ctypes.CDLL(None).syscall(_ARCH_PRCTL, _ASK, _STATE)
    return not refused


def padded(count: int) -> int:
    """The rows of as many registers as hold `count` rows, each with equally many."""
    parts = -(-count // ROWS)
    return parts * -(-count // parts)


class Registers:
    """Registers for products of tables of `rows` by `pairs` and `pairs` by a vector, `pairs` of numbers each.

    Both are parted into registers of equal size, and what is missing in the last is in the tables too.
    """

    def __init__(self, code: Function, rows: ir.Value, pairs: ir.Value) -> None:
        self.code = code
        self.parts, self.each = _parts(code, rows)
        self.rows = code.mul(self.parts, self.each)
        self.steps, self.taken = _parts(code, pairs)
        build = code.build
        kind = ir.VectorType(_BYTE, 64)
        setting: ir.Value = ir.Constant(kind, [1] + [0] * 63)
        for number in range(8):
            high = self.each if number < 6 else self.taken
            broad = code.mul(self.taken, 4) if number in (4, 5) else code.whole(64)
            for value, place in ((broad, 16 + 2 * number), (high, 48 + number)):
                setting = build.insert_element(setting, build.trunc(value, _BYTE), ir.Constant(_INDEX, place))
        room = build.alloca(kind)
        room.align = 64
        build.store(setting, room, align=64)
        self._call("ldtilecfg", room)

    def end(self) -> None:
        """Give the registers back."""
        self._call("tilerelease")

    def products(
        self,
        vectors: int,
        first: Callable[[ir.Value, ir.Value], Place],
        second: Callable[[int, ir.Value], Place],
        made: Callable[[ir.Value, int], Place],
        *,
        added: bool = False,
    ) -> None:
        """made = first * second, or made += where it is `added`, for all rows and `vectors` vectors.

        Each function gives where a register's numbers begin in memory, and the bytes from row to row: first(row, pair),
        second(vector, pair), made(row, vector).
        """
        code = self.code
        whole = code.mul(code.build.sdiv(self.parts, code.whole(2)), 2)

        def block(part: ir.Value, high: int, column: int, broad: int) -> None:
            rows = [code.mul(code.add(part, number), self.each) for number in range(high)]
            columns = [column + number for number in range(broad)]
            sums = [(2 * i + j, made(row, vector)) for i, row in enumerate(rows) for j, vector in enumerate(columns)]
            for number, place in sums:
                self._load(number, place) if added else self._call("tilezero", number)

            def step(number: ir.Value) -> None:
                pair = code.mul(number, self.taken)
                for i, row in enumerate(rows):
                    self._load(4 + i, first(row, pair))
                for j, vector in enumerate(columns):
                    self._load(6 + j, second(vector, pair))
                for i in range(high):
                    for j in range(broad):
                        self._call("tdpbf16ps", 2 * i + j, 4 + i, 6 + j)

            code.loop(0, self.steps, 1, step)
            for number, (place, stride) in sums:
                self._call("tilestored64", number, place, stride)

        def some(part: ir.Value, high: int) -> None:
            for column in range(0, vectors, 2):
                block(part, high, column, min(2, vectors - column))

        code.loop(0, whole, 2, lambda part: some(part, 2))
        code.loop(whole, self.parts, 1, lambda part: some(part, 1))

    def _load(self, number: int, place: Place) -> None:
        self._call("tileloadd64", number, *place)

    def _call(self, name: str, *given: int | ir.Value) -> None:
        module, name = self.code.function.module, f"llvm.x86.{name}"
        args = [ir.Constant(_BYTE, item) if isinstance(item, int) else item for item in given]
        kind = ir.FunctionType(
            ir.VoidType(), [POINTER if isinstance(arg.type, ir.PointerType) else arg.type for arg in args]
        )
        called = module.globals.get(name) or ir.Function(module, kind, name)
        self.code.build.call(called, args)


def _parts(code: Function, count: ir.Value) -> tuple[ir.Value, ir.Value]:
    """How many registers hold `count` rows, and the rows of each, which are equal."""
    parts = code.parts(count, code.whole(ROWS))
    return parts, code.parts(count, parts)


def transposed(code: Function, vectors: list[ir.Value]) -> list[ir.Value]:
    """As many vectors as each has numbers, with rows and columns exchanged."""
    size, found, step = len(vectors), list(vectors), 1
    while step < size:
        low = [lane if not lane & step else lane - step + size for lane in range(size)]
        high = [lane + step if not lane & step else lane + size for lane in range(size)]
        for number in (number for number in range(size) if not number & step):
            one, other = found[number], found[number + step]
            for target, order in ((number, low), (number + step, high)):
                places = ir.Constant(ir.VectorType(ir.IntType(32), size), order)
                found[target] = code.build.shuffle_vector(one, other, places)
        step *= 2
    return found
