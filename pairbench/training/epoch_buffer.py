"""Collects the outputs of the steps of an epoch."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class Gathered:
    """The outputs for `count` examples, copied into preallocated tables step by step.

    A list of outputs would keep thousands of small blocks alive between large ones, and the heap would grow with N.
    """

    def __init__(self, count: int, axis: int = 0) -> None:
        self.tables: dict[str, Tensor] = {}
        self._totals: Tensor | None = None
        self._count, self._axis, self._rows, self._steps = count, axis, 0, 0

    def add(self, total: Tensor, pieces: Mapping[str, Tensor]) -> None:
        """Append the loss of one step, and its outputs, which have n examples along the axis."""
        if self._totals is None:
            self._totals = total.new_empty(self._count, *total.shape)
            self.tables = {name: piece.new_empty(self._shape(piece)) for name, piece in pieces.items()}
        size = 0
        for name, piece in pieces.items():
            size = piece.shape[self._axis]
            self.tables[name].narrow(self._axis, self._rows, size).copy_(piece)
        self._totals[self._steps] = total
        self._rows, self._steps = self._rows + size, self._steps + 1

    def total(self) -> Tensor:
        """The sum of all losses."""
        return torch.zeros(()) if self._totals is None else self._totals[: self._steps].sum(0)

    def _shape(self, piece: Tensor) -> tuple[int, ...]:
        return (*piece.shape[: self._axis], self._count, *piece.shape[self._axis + 1 :])
