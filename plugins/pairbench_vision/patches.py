"""Datasets of many small classes: patches of photographs, and characters of alphabets."""

from __future__ import annotations

import functools
import hashlib
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from pairbench import DataError, PairDataset, PairPool, PairTask, PositiveInt, checked_downloads
from pairbench_vision.drawing import OUTCOMES, Drawer, Split, stream
from pairbench_vision.places import decoded, folder_of, nothing_left

if TYPE_CHECKING:
    from torch import Tensor

Scene = Literal["notredame", "yosemite", "liberty", "notredame_harris", "yosemite_harris", "liberty_harris"]
Root = Annotated[str, Field(min_length=1)]


class PhotoTourPairs(PairDataset):
    """Pairs of patches: do they show the same point of a scene? (Brown, Hua and Winder, TPAMI 2011).

    A fifth of the training scene's points is for validation. Each round draws new pairs.

    root: the folder that torchvision reads and downloads to.
    train_scene: the scene for training and validation.
    test_scene: the scene for testing.
    image_size: the side that the 64x64 patches are resized to.
    train_pairs: training pairs per round.
    validation_pairs: validation pairs per round.
    test_pairs: test pairs per round.
    """

    name = "photo_tour"
    locations: ClassVar[tuple[str, ...]] = ("root",)
    root: Root
    train_scene: Scene = "liberty"
    test_scene: Scene = "notredame"
    image_size: PositiveInt = 32
    train_pairs: PositiveInt = 10_000
    validation_pairs: PositiveInt = 2000
    test_pairs: PositiveInt = 10_000

    @property
    def task(self) -> PairTask:
        """Verification of gray patches."""
        return PairTask("verification", (1, self.image_size, self.image_size), OUTCOMES["verification"])

    def digest(self) -> str:
        """SHA-256 of the patches and points of both scenes."""
        digest = hashlib.sha256()
        for scene in (self.train_scene, self.test_scene):
            for part in _scene(str(folder_of(self.root)), scene):
                digest.update(part.numpy().tobytes())
        return digest.hexdigest()[:16]

    def load(self, split: Split, *, rounds: int, seed: int) -> PairPool:
        """The patches of `split`, (P, 1, size, size), and a table of pairs for each round."""
        if self.train_scene == self.test_scene:
            raise DataError(
                "dataset.test_scene equals dataset.train_scene: expected two different scenes. Change one of them."
            )
        scene = self.test_scene if split == "test" else self.train_scene
        patches, points = _scene(str(folder_of(self.root)), scene)
        if split != "test":
            kept = points % 5 == 0 if split == "validation" else points % 5 != 0
            patches, points = patches[kept], points[kept]
        return _drawn(patches, points, split, self, getattr(self, f"{split}_pairs"), rounds, seed, self.image_size)


class OmniglotPairs(PairDataset):
    """Pairs of handwritten characters: the same character or not? (Lake, Salakhutdinov and Tenenbaum, Science 2015).

    The background alphabets are for training, a fifth of their characters for validation; the evaluation alphabets are
    for testing, so that no character is in two splits.

    root: the folder that torchvision reads and downloads to.
    image_size: the side that the 105x105 images are resized to.
    train_pairs: training pairs per round.
    validation_pairs: validation pairs per round.
    test_pairs: test pairs per round.
    """

    name = "omniglot"
    locations: ClassVar[tuple[str, ...]] = ("root",)
    root: Root
    image_size: PositiveInt = 28
    train_pairs: PositiveInt = 10_000
    validation_pairs: PositiveInt = 2000
    test_pairs: PositiveInt = 10_000

    @property
    def task(self) -> PairTask:
        """Verification of gray characters."""
        return PairTask("verification", (1, self.image_size, self.image_size), OUTCOMES["verification"])

    def digest(self) -> str:
        """SHA-256 of the image files of both halves."""
        digest = hashlib.sha256()
        for background in (True, False):
            for file, character in _characters(str(folder_of(self.root)), background):
                digest.update(f"{Path(file).name} {character}".encode() + Path(file).read_bytes())
        return digest.hexdigest()[:16]

    def load(self, split: Split, *, rounds: int, seed: int) -> PairPool:
        """The characters of `split`, (P, 1, size, size), and a table of pairs for each round."""
        import torch

        listed = _characters(str(folder_of(self.root)), split != "test")
        if split != "test":
            listed = tuple(item for item in listed if (item[1] % 5 == 0) == (split == "validation"))
        images = decoded([file for file, _ in listed], self.image_size, 1)
        characters = torch.tensor([character for _, character in listed])
        count: int = getattr(self, f"{split}_pairs")
        return _drawn(images, characters, split, self, count, rounds, seed, self.image_size)


def _drawn(
    images: Tensor, classes: Tensor, split: Split, dataset: PairDataset, count: int, rounds: int, seed: int, size: int
) -> PairPool:
    """A pool with balanced pairs; its classes are left unknown, since the test set has different ones."""
    import torch
    from torch.nn import functional

    if images.shape[-1] != size:
        scaled = [
            functional.interpolate(part.float(), (size, size), mode="bilinear", antialias=True, align_corners=False)
            for part in images.split(1024)
        ]
        images = torch.cat(scaled).round().clamp(0, 255).to(torch.uint8)
    # A point with a single photograph gives no pair.
    numbers, counts = classes.unique(return_counts=True)
    kept = torch.isin(classes, numbers[counts > 1])
    images, classes = images[kept], classes[kept]
    drawer = Drawer(classes, split, dataset.name)
    drawn = [drawer.draw("verification", count, stream(split, seed, number)) for number in range(rounds)]
    pairs, target = torch.stack([pair for pair, _ in drawn]), torch.stack([answer for _, answer in drawn])
    return PairPool(images.contiguous(), pairs, target, torch.full((len(images),), -1))


@functools.lru_cache(maxsize=2)
def _scene(root: str, scene: str) -> tuple[Tensor, Tensor]:
    """The patches (P, 1, 64, 64) of a scene, and the index (P,) of the point that each shows."""
    from torchvision.datasets import PhotoTour

    folder = Path(root)
    try:
        there = (folder / scene).is_dir() or (folder / f"{scene}.pt").is_file()
        with nothing_left(folder), checked_downloads(), warnings.catch_warnings():
            # torchvision reads the patches with a call that Pillow has deprecated.
            warnings.simplefilter("ignore", DeprecationWarning)
            found = PhotoTour(str(folder), scene, train=True, download=not there)
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"PhotoTour's {scene} is not in {folder} and cannot be downloaded ({type(error).__name__}). Set "
            "dataset.root to a folder that has it in torchvision's layout, or connect to the internet once."
        ) from error
    return found.data.unsqueeze(1), found.labels.long()


@functools.lru_cache(maxsize=2)
def _characters(root: str, background: bool) -> tuple[tuple[str, int], ...]:
    """Each image file of one half of Omniglot, and the index of its character."""
    from torchvision.datasets import Omniglot

    class Unpacked(Omniglot):  # type: ignore[misc]
        """The dataset without its archive, which is not needed once it is unpacked."""

        def _check_integrity(self) -> bool:
            return (Path(self.root) / self._get_target_folder()).is_dir() or bool(super()._check_integrity())

    try:
        with nothing_left(Path(root) / "omniglot-py", Path(root)), checked_downloads():
            found = Unpacked(root, background=background, download=True)
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"Omniglot is not in {root} and cannot be downloaded ({type(error).__name__}). Set "
            "dataset.root to a folder that has it in torchvision's layout, or connect to the internet once."
        ) from error
    return tuple(
        (str(Path(found.target_folder) / found._characters[character] / image), character)
        for image, character in found._flat_character_images
    )
