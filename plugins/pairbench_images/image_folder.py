"""Pairs drawn from a folder with one subfolder of images per class."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from pairbench import SPLITS, DataError, NonNegativeInt, PairPool, PairTask, PositiveInt, tell_note
from pairbench_images.assembly import checked_key, is_decoded, reasons, screen, told_bits, told_unusable, view_of
from pairbench_images.class_folders import class_names, listing
from pairbench_images.class_splits import Images, split_images
from pairbench_images.csv_pairs import OUTCOMES, Share
from pairbench_images.drawing import class_pairs, mapped
from pairbench_images.naming import Split, named
from pairbench_images.options import ImagePairs
from pairbench_images.splitting import TEST_SHARE, VALIDATION_SHARE, Sharing
from pairbench_images.table import Table

if TYPE_CHECKING:
    import numpy as np


class ImageFolder(ImagePairs):
    """Pairs of images from class folders: are the classes the same, or is the first at most the second?

    Each folder in path is a class with all images in its tree. If path has folders train, validation and test (or two
    of them), each contains the class folders, and images stay in their split; otherwise a fraction of each class is
    used for each split. Every round draws new pairs.

    path: the folder.
    task: verification asks whether two images are of one class (half of them are); ordering whether the class of the
        first is at most that of the second, in the natural order of the folders' names.
    num_classes: the number of class folders; none counts them, which lists folders but reads no file.
    train_pairs: training pairs per round.
    validation_pairs: validation pairs per round.
    test_pairs: test pairs per round.
    validation_share: the fraction of images for validation if there are no split folders.
    test_share: the fraction of images for testing if there are no split folders.
    split_seed: the seed of the random assignment of images to splits.
    across_splits: a picture that is in two of the folders train, validation and test: refuse raises an error, drop
        skips its copy in train, or else in validation.
    """

    name = "image_folder"
    locations: ClassVar[tuple[str, ...]] = ("path",)
    own_files: ClassVar[bool] = True
    path: Annotated[str, Field(min_length=1)]
    kind: Literal["verification", "ordering"] = Field(default="verification", alias="task")
    num_classes: PositiveInt | None = None
    train_pairs: PositiveInt = 1000
    validation_pairs: PositiveInt = 250
    test_pairs: PositiveInt = 1000
    validation_share: Share = VALIDATION_SHARE
    test_share: Share = TEST_SHARE
    split_seed: NonNegativeInt = 0
    across_splits: Literal["refuse", "drop"] = "refuse"

    @model_validator(mode="after")
    def _fits(self) -> ImageFolder:
        if self.validation_share + self.test_share >= 1:
            raise ValueError(
                f"validation_share={self.validation_share:g} and test_share={self.test_share:g} leave nothing to train "
                "on. Lower one of them."
            )
        return self

    @property
    def task(self) -> PairTask:
        """The task; the number of classes is that of the folders unless it is an option."""
        classes = self.num_classes or len(class_names(self.path))
        return PairTask(self.kind, self.image_shape, OUTCOMES[self.kind], 2, classes)

    @property
    def sharing(self) -> Sharing:
        """How images are assigned to splits if there are no split folders."""
        return Sharing(self.validation_share, self.test_share, self.split_seed, self.across_splits)

    def digest(self) -> str:
        """A digest of all images and their paths; reports what is skipped, if known."""
        table = self._table()
        key = checked_key(self, table)
        if is_decoded(self, table):
            for note in _prepared(self, key).notes:
                tell_note(note)
        return key[:16]

    def load(self, split: Split, *, rounds: int, seed: int) -> PairPool:
        """The images of `split`, memory-mapped, and new pairs for each round."""
        import torch

        table = self._table()
        images = _prepared(self, checked_key(self, table))
        for note in images.notes:
            tell_note(note)
        rows, classes = images.of(SPLITS.index(split))
        file = view_of(self, table, images.pool, rows)
        labels = torch.from_numpy(classes)
        count: int = getattr(self, f"{split}_pairs")
        tables = [class_pairs(labels, count, self.kind, split, seed, number) for number in range(rounds)]
        pairs = torch.stack(tables)
        first, second = labels[pairs].unbind(dim=2)
        target = (first == second) if self.kind == "verification" else (first <= second)
        return PairPool(mapped(file), pairs, target.long(), labels, file)

    def _table(self) -> Table:
        names = class_names(self.path)
        if self.num_classes not in (None, len(names)):
            raise DataError(
                f"dataset.num_classes={self.num_classes}: expected {len(names)}, the class folders in dataset.path. "
                f"Set dataset.num_classes={len(names)}."
            )
        return listing(self.path, names, self.links)


@functools.lru_cache(maxsize=1)
def _prepared(dataset: ImageFolder, _key: str) -> Images:
    import numpy as np

    table = dataset._table()
    names = class_names(dataset.path)
    screened = screen(dataset, table)
    notes = [*table.notes, *told_bits(dataset, table, screened.pool)]
    if screened.unusable:
        notes.append(
            f"{table.source}: {told_unusable(len(screened.unusable), len(table.paths))} and are skipped "
            f"(dataset.on_error=skip): {reasons(table, screened.unusable)}"
        )
    _check_classes(dataset, names, np.bincount(_classes_of_pictures(screened.rows, table), minlength=len(names)), notes)
    return split_images(table, screened, dataset.kind, dataset.sharing, notes)


def _classes_of_pictures(
    rows: np.ndarray[tuple[int], np.dtype[np.int64]], table: Table
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The class of each distinct picture."""
    import numpy as np

    files = np.flatnonzero(rows >= 0)
    _, first = np.unique(rows[files], return_index=True)
    return table.classes[files[first]]


def _check_classes(
    dataset: ImageFolder, names: list[str], counts: np.ndarray[tuple[int], np.dtype[np.int64]], notes: list[str]
) -> None:
    """Reject, or report, classes with too few pictures."""
    empty = [name for name, count in zip(names, counts, strict=True) if not count]
    if empty:
        raise DataError(f"class {named(empty[0])} has no usable image. Add images, or remove its folder.")
    single = [name for name, count in zip(names, counts, strict=True) if count == 1]
    if single and dataset.kind == "verification":
        what = f"{len(single)} of {len(names)} classes have one image, such as {named(single[0])}"
        if dataset.on_error == "raise":
            raise DataError(
                f"{what}: expected two for a pair of the same class. Add images, remove those folders, or keep them "
                "for pairs of different classes with dataset.on_error=skip."
            )
        notes.append(f"{what}: they are only in pairs of different classes")
