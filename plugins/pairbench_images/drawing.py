"""Images from the disk, and what each round draws."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

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
    """(R, n) places in 0 to count - 1, `asked` of them without replacement, drawn anew for each round.

    Raises:
        DataError: more are asked for than there are.
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
    """The random numbers of one split and round."""
    import torch

    stream = hashlib.sha256(f"{split}/{seed}/{number}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(stream[:8], "big") >> 1)
