"""Labeled Faces in the Wild, with its official protocol."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from pairbench import DataError, PairDataset, PairPool, PairTask, PositiveInt
from pairbench_vision.drawing import OUTCOMES, Split
from pairbench_vision.places import decoded, folder_of

if TYPE_CHECKING:
    from torch import Tensor

VIEWS = {"train": "train", "validation": "test", "test": "10fold"}


class LfwPairs(PairDataset):
    """Pairs of faces: the same person or not? (Huang et al., Labeled Faces in the Wild, 2007).

    Testing uses view 2 with its ten folds, and the record has `fold_accuracy`; training and validation use the two
    lists of view 1, without pairs whose images are also in view 2. The pairs are the same in every round.

    root: the folder that contains lfw-py. torchvision can no longer download this dataset.
    image_set: how faces are aligned.
    image_size: the side that images are resized to.
    color: rgb or gray.
    """

    name = "lfw_pairs"
    locations: ClassVar[tuple[str, ...]] = ("root",)
    root: Annotated[str, Field(min_length=1)]
    image_set: Literal["original", "funneled", "deepfunneled"] = "funneled"
    image_size: PositiveInt = 64
    color: Literal["rgb", "gray"] = "rgb"

    @property
    def task(self) -> PairTask:
        """Verification of faces; no classes."""
        channels = 3 if self.color == "rgb" else 1
        return PairTask("verification", (channels, self.image_size, self.image_size), OUTCOMES["verification"])

    def digest(self) -> str:
        """SHA-256 of the lists of pairs and the image files in them."""
        digest = hashlib.sha256()
        for split in ("train", "validation", "test"):
            for pair, same, fold in self._listed(split):
                digest.update(f"{[Path(file).name for file in pair]} {same} {fold}".encode())
                for file in pair:
                    digest.update(_bytes(file))
        return digest.hexdigest()[:16]

    def load(self, split: Split, *, rounds: int, seed: int) -> PairPool:
        """The faces of `split`, (P, C, size, size), and the same table of pairs for each round."""
        import torch

        listed = self._listed(split)
        if split != "test":
            tested = {file for pair, _, _ in self._listed("test") for file in pair}
            listed = [item for item in listed if not tested & set(item[0])]
        if split == "validation":
            trained = {file for pair, _, _ in self._listed("train") for file in pair}
            listed = [item for item in listed if not trained & set(item[0])]
        if not listed:
            raise DataError(f"dataset '{self.name}': no pair is left for the {split} split. Fix the lists of pairs.")
        files = sorted({file for pair, _, _ in listed for file in pair})
        rows = {file: row for row, file in enumerate(files)}
        images = decoded(files, self.image_size, self.task.image_shape[0])

        def table(values: list[Any]) -> Tensor:
            return torch.tensor(values).unsqueeze(0).repeat(rounds, *[1] * torch.tensor(values).ndim)

        pairs = table([[rows[file] for file in pair] for pair, _, _ in listed])
        folds = table([fold for _, _, fold in listed]) if split == "test" else None
        unknown = torch.full((len(files),), -1)
        return PairPool(images, pairs, table([same for _, same, _ in listed]), unknown, folds=folds)

    def _listed(self, split: Split) -> list[tuple[tuple[str, str], int, int]]:
        return list(_listed(str(folder_of(self.root)), self.image_set, VIEWS[split]))


@functools.lru_cache(maxsize=6)
def _listed(root: str, image_set: str, view: str) -> tuple[tuple[tuple[str, str], int, int], ...]:
    """Each pair of a list: its two files, whether they show one person, and its fold."""
    from torchvision.datasets import LFWPairs

    class Unpacked(LFWPairs):  # type: ignore[misc]
        """The dataset without its archive, which is not needed once it is unpacked."""

        def _check_integrity(self) -> bool:
            return bool((Path(self.root) / self.labels_file).is_file())

    try:
        found = Unpacked(root, split=view, image_set=image_set)
        first = (Path(found.root) / found.labels_file).read_text().split("\n", 1)[0].split()
    except Exception as error:
        raise DataError(
            f"LFW is not in {Path(root) / 'lfw-py'} ({type(error).__name__}). Put pairs.txt, pairsDevTrain.txt, "
            "pairsDevTest.txt and the unpacked images there, and set dataset.root to the folder that contains lfw-py."
        ) from error
    size = 2 * int(first[-1])
    return tuple(
        ((str(pair[0]), str(pair[1])), same, number // size)
        for number, (pair, same) in enumerate(zip(found.data, found.targets, strict=True))
    )


@functools.lru_cache(maxsize=20_000)
def _bytes(file: str) -> bytes:
    try:
        return hashlib.sha256(Path(file).read_bytes()).digest()
    except OSError as error:
        raise DataError(f"image {file} cannot be read ({error.strerror}). Fix or replace the file.") from error
