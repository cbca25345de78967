"""Any labelled image dataset of torchvision as pairs."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import Field

from pairbench import DataError, PairDataset, PairPool, PairTask, PositiveInt, checked_downloads
from pairbench_vision.drawing import Drawer, Split, stream, task_of
from pairbench_vision.places import folder_of, nothing_left

if TYPE_CHECKING:
    from torch import Tensor


class Source(NamedTuple):
    """What is known of a dataset before reading it: channels, side of its square images, classes, and its folder."""

    channels: int
    side: int
    classes: int
    folder: str
    arguments: dict[str, Any]


SOURCES: dict[str, Source] = {
    "MNIST": Source(1, 28, 10, "MNIST", {}),
    "FashionMNIST": Source(1, 28, 10, "FashionMNIST", {}),
    "KMNIST": Source(1, 28, 10, "KMNIST", {}),
    "QMNIST": Source(1, 28, 10, "QMNIST", {}),
    "EMNIST": Source(1, 28, 47, "EMNIST", {"split": "balanced"}),
    "USPS": Source(1, 16, 10, "", {}),
    "CIFAR10": Source(3, 32, 10, "cifar-10-batches-py", {}),
    "CIFAR100": Source(3, 32, 100, "cifar-100-python", {}),
    "SVHN": Source(3, 32, 10, "", {}),
    "STL10": Source(3, 96, 10, "stl10_binary", {}),
}
SourceName = Literal[
    "MNIST", "FashionMNIST", "KMNIST", "QMNIST", "EMNIST", "USPS", "CIFAR10", "CIFAR100", "SVHN", "STL10"
]
VALIDATION_SHARE = 6


class TorchvisionPairs(PairDataset):
    """Pairs of a labelled image set of torchvision: the same class or not, or in order of class.

    The dataset's test images are for testing, and the last sixth of its training images for validation. Images that are
    also in another split, pixel for pixel, are excluded from validation and training.

    source: torchvision's name of the dataset.
    task: verification asks whether two images are of one class; ordering whether the class of the first is at most that
        of the second.
    root: the folder that torchvision reads and downloads to; none means the environment variable PAIRBENCH_DATA,
        else the folder data in pairbench's cache.
    image_size: the side that images are resized to; none keeps their size.
    train_pairs: training pairs per round.
    validation_pairs: validation pairs per round.
    test_pairs: test pairs per round.
    """

    name = "torchvision"
    locations: ClassVar[tuple[str, ...]] = ("root",)
    source: SourceName
    kind: Literal["verification", "ordering"] = Field(default="verification", alias="task")
    root: Annotated[str, Field(min_length=1)] | None = None
    image_size: PositiveInt | None = None
    train_pairs: PositiveInt = 10_000
    validation_pairs: PositiveInt = 2000
    test_pairs: PositiveInt = 10_000

    @property
    def task(self) -> PairTask:
        """The task, from the known properties of the dataset."""
        source = SOURCES[self.source]
        side = self.image_size or source.side
        return task_of(self.kind, (source.channels, side, side), source.classes)

    def digest(self) -> str:
        """SHA-256 of the pixels and classes of all splits."""
        digest = hashlib.sha256()
        for split in ("train", "validation", "test"):
            images, classes = self._images(split)
            digest.update(images.numpy().tobytes() + classes.numpy().tobytes())
        return digest.hexdigest()[:16]

    def load(self, split: Split, *, rounds: int, seed: int) -> PairPool:
        """The images of `split`, (P, C, H, W), and a table of pairs for each round."""
        import torch

        images, classes = self._images(split)
        if self.image_size and self.image_size != images.shape[-1]:
            images = _resized(images, self.image_size)
        count: int = getattr(self, f"{split}_pairs")
        drawer = Drawer(classes, split, self.name)
        drawn = [drawer.draw(self.kind, count, stream(split, seed, number)) for number in range(rounds)]
        pairs, target = torch.stack([pair for pair, _ in drawn]), torch.stack([answer for _, answer in drawn])
        return PairPool(images.contiguous(), pairs, target, classes)

    def _images(self, split: Split) -> tuple[Tensor, Tensor]:
        return _split(self.source, str(folder_of(self.root)), split)


@functools.lru_cache(maxsize=3)
def _split(source: str, folder: str, split: Split) -> tuple[Tensor, Tensor]:
    """Images (P, C, H, W) uint8 and classes (P,) of a split; none of them is in another split."""
    train, test = read(source, Path(folder), True), read(source, Path(folder), False)
    if split == "test":
        return test
    cut = len(train[0]) - len(train[0]) // VALIDATION_SHARE
    taken = {_print(image) for image in test[0]}
    rows = []
    for row in reversed(range(len(train[0]))):
        seen = _print(train[0][row])
        if row >= cut:
            if seen not in taken and split == "validation":
                rows.append(row)
            taken.add(seen)
        elif seen not in taken and split == "train":
            rows.append(row)
    rows.reverse()
    return train[0][rows], train[1][rows]


def read(source: str, folder: Path, train: bool) -> tuple[Tensor, Tensor]:
    """Images (P, C, H, W) uint8 and classes (P,) from 0 of one half of a dataset, downloaded if missing.

    Raises:
        DataError: the dataset can be neither read nor downloaded.
    """
    import torch
    import torchvision

    about, kind = SOURCES[source], getattr(torchvision.datasets, source)
    named = source in ("SVHN", "STL10")
    half: dict[str, Any] = {"split": "train" if train else "test"} if named else {"train": train}
    try:
        with nothing_left(folder / about.folder / "raw", folder / about.folder, folder):
            try:
                found = kind(str(folder), **half, **about.arguments)
            except (RuntimeError, FileNotFoundError):
                with checked_downloads():
                    found = kind(str(folder), **half, **about.arguments, download=True)
    except DataError:
        raise
    except Exception as error:
        reason = str(error).partition("\n")[0].partition(": ")[0].rstrip(": ") or type(error).__name__
        raise DataError(
            f"{source} is not in {folder} and cannot be downloaded ({reason}). Set dataset.root or PAIRBENCH_DATA to a "
            f"folder that has it in torchvision's layout, or connect to the internet once."
        ) from error
    images = torch.as_tensor(found.data)
    targets = found.labels if named else found.targets
    classes = torch.as_tensor(targets).long()
    classes = classes[:, 0] if classes.ndim == 2 else classes
    if images.ndim == 3:
        images = images.unsqueeze(1)
    elif images.shape[-1] == 3:
        images = images.permute(0, 3, 1, 2)
    return images.contiguous(), classes


def _resized(images: Tensor, size: int) -> Tensor:
    import torch
    from torch.nn import functional

    parts = [
        functional.interpolate(part.float(), (size, size), mode="bilinear", antialias=True, align_corners=False)
        .round()
        .clamp(0, 255)
        .to(torch.uint8)
        for part in images.split(1024)
    ]
    return torch.cat(parts)


def _print(image: Tensor) -> bytes:
    return hashlib.blake2b(image.numpy().tobytes(), digest_size=16).digest()
