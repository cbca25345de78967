"""Images from disk, and the random draws of each round."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pairbench import DataError
from pairbench_images.naming import Split

if TYPE_CHECKING:
    from torch import Generator, Tensor


def mapped(file: Path) -> Tensor:
    """The images in a .npy file, memory-mapped."""
    import numpy as np
    import torch

    # Copy-on-write, since torch warns about read-only arrays; nothing writes to them.
    return torch.from_numpy(np.load(file, mmap_mode="c"))


def drawn(count: int, asked: int, split: Split, rounds: int, seed: int, source: str) -> Tensor:
    """(R, n) indices from 0 to count - 1, `asked` of them drawn without replacement for each round.

    Raises:
        DataError: more are requested than exist.
    """
    import torch

    if asked > count:
        raise DataError(
            f"dataset.{split}_pairs={asked}: expected at most {count}, the {split} pairs of {source}. "
            f"Set dataset.{split}_pairs={count} or all."
        )
    return torch.stack(
        [torch.randperm(count, generator=generator(split, seed, number))[:asked] for number in range(rounds)]
    )


def generator(split: Split, seed: int, number: int) -> Generator:
    """The random generator of one split and round."""
    import torch

    stream = hashlib.sha256(f"{split}/{seed}/{number}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(stream[:8], "big") >> 1)


def class_pairs(
    labels: Tensor, count: int, kind: Literal["verification", "ordering"], split: Split, seed: int, number: int
) -> Tensor:
    """(count, 2) indices into the sorted classes `labels` (n,): two different images each, for one round.

    For verification every second pair is of one class.
    """
    import torch

    chance = generator(split, seed, number)
    sizes = torch.bincount(labels)
    starts = sizes.cumsum(0) - sizes

    def below(limit: Tensor) -> Tensor:
        return (torch.rand(limit.shape, generator=chance, dtype=torch.float64) * limit).long().clamp(max=limit - 1)

    total = torch.tensor(len(labels))
    first = below(total.expand(count))
    if kind == "ordering":
        second = (first + 1 + below((total - 1).expand(count))) % total
        return torch.stack([first, second], dim=1)
    several = (sizes[labels] > 1).nonzero().flatten()
    alike = torch.arange(count) % 2 == 0
    first = torch.where(alike, several[below(torch.tensor(len(several)).expand(count))], first)
    start, size = starts[labels[first]], sizes[labels[first]]
    same = start + (first - start + 1 + below((size - 1).clamp(min=1))) % size
    other = below(total - size)
    other = other + size * (other >= start)
    return torch.stack([first, torch.where(alike, same, other)], dim=1)
