"""Pairs drawn from labelled images: same or different, in order of class, or which candidate shares a class."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal

from pairbench import DataError, PairTask

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Split = Literal["train", "validation", "test"]
Kind = Literal["ordering", "verification", "preference"]
OUTCOMES: dict[Kind, tuple[str, str]] = {
    "ordering": ("greater", "at_most"),
    "verification": ("different", "same"),
    "preference": ("first", "second"),
}


def task_of(kind: Kind, image_shape: tuple[int, int, int], classes: int) -> PairTask:
    """The task `kind` over images of `classes` classes."""
    return PairTask(kind, image_shape, OUTCOMES[kind], 3 if kind == "preference" else 2, classes)


def stream(split: Split, seed: int, round_index: int) -> torch.Generator:
    """Random numbers of round `round_index` of a split, independent of every other."""
    import torch

    digest = hashlib.sha256(f"{split}/{seed}/{round_index}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


class Drawer:
    """Draws pairs from images of known classes (P,); all classes that occur are equally likely."""

    def __init__(self, classes: Tensor, split: Split, name: str) -> None:
        self.rows = classes.argsort(stable=True)
        self.classes, self.counts = classes.unique(return_counts=True)
        self.starts = self.counts.cumsum(0) - self.counts
        if len(self.counts) < 2:
            raise DataError(
                f"dataset '{name}': the {split} split has only one class. Pairs need images of at least two."
            )
        if int(self.counts.min()) < 2:
            few = int(self.classes[self.counts.argmin()])
            raise DataError(
                f"dataset '{name}': class {few} has only one image in the {split} split, but a pair needs two. "
                "Use a larger split, or exclude that class."
            )

    def draw(self, kind: Kind, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Rows (count, V) of distinct images, and targets (count,); answers are balanced on average."""
        import torch

        first = self._below(torch.full((count,), len(self.counts)), generator)
        other = (first + 1 + self._below(torch.full((count,), len(self.counts) - 1), generator)) % len(self.counts)
        coin = torch.rand(count, generator=generator) < 0.5
        if kind == "preference":
            reference, like = self._two(first, generator)
            unlike = self._one(other, generator)
            pairs = [reference, torch.where(coin, unlike, like), torch.where(coin, like, unlike)]
            return torch.stack(pairs, dim=1), coin.long()
        if kind == "verification":
            anchor, same = self._two(first, generator)
            return torch.stack([anchor, torch.where(coin, same, self._one(other, generator))], dim=1), coin.long()
        # Ordering: two random images, so equal classes occur at their natural rate.
        one = self._below(torch.full((count,), len(self.rows)), generator)
        two = (one + 1 + self._below(torch.full((count,), len(self.rows) - 1), generator)) % len(self.rows)
        pairs_ = torch.stack([self.rows[one], self.rows[two]], dim=1)
        ranks = self.classes.repeat_interleave(self.counts)
        return pairs_, (ranks[one] <= ranks[two]).long()

    def _one(self, place: Tensor, generator: torch.Generator) -> Tensor:
        """A random row of each class in `place`."""
        return self.rows[self.starts[place] + self._below(self.counts[place], generator)]

    def _two(self, place: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Two different random rows of each class in `place`."""
        counts = self.counts[place]
        one = self._below(counts, generator)
        two = (one + 1 + self._below(counts - 1, generator)) % counts
        return self.rows[self.starts[place] + one], self.rows[self.starts[place] + two]

    @staticmethod
    def _below(limits: Tensor, generator: torch.Generator) -> Tensor:
        """Random integers from 0 up to `limits`, exclusive."""
        import torch

        return (torch.rand(len(limits), generator=generator, dtype=torch.float64) * limits).long()
