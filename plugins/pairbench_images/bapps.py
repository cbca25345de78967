"""BAPPS, people's choices of the less distorted of two patches, from the folders that its authors distribute."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pairbench import DataError, NonNegativeInt, PairTask, UnusableError, open_regular, printable
from pairbench_images.assembly import TablePairs
from pairbench_images.decoding import SUFFIXES
from pairbench_images.files import OutsideError, Root
from pairbench_images.naming import named, natural, nearest
from pairbench_images.options import Side
from pairbench_images.splitting import TEST, TRAIN, Sharing
from pairbench_images.table import Table

PARTS = ("ref", "p0", "p1")
_JUDGE_BYTES = 4096


class Bapps(TablePairs):
    """BAPPS, 2AFC part: which of two distorted patches is closer to the original? (Zhang et al., CVPR 2018)

    The folder holds train/SUBSET and val/SUBSET, each with folders ref, p0, p1 (images of equal names) and judge (a
    .npy file for each with the share of people who chose p1). val is the test split; validation comes from train.

    path: the folder 2afc, or the one that contains it.
    image_size: height and width that patches are scaled to; the authors use 64.
    train_subsets: which subsets of train to use, such as [traditional,cnn,mix]; none means all.
    test_subsets: which subsets of val to use; none means all.
    validation_share: the fraction of the training triplets for validation.
    split_seed: the seed that selects them.
    across_splits: triplets whose images are in more than one split: refuse raises an error, drop skips them.
    """

    name = "bapps"
    locations: ClassVar[tuple[str, ...]] = ("path",)
    own_files: ClassVar[bool] = True
    path: Annotated[str, Field(min_length=1)]
    image_size: Side | tuple[Side, Side] = 64
    train_subsets: tuple[str, ...] | None = None
    test_subsets: tuple[str, ...] | None = None
    validation_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    split_seed: NonNegativeInt = 0
    across_splits: Literal["refuse", "drop"] = "refuse"

    @property
    def task(self) -> PairTask:
        """Preference between p0 (first) and p1 (second)."""
        return PairTask("preference", self.image_shape, ("first", "second"), 3)

    @property
    def sharing(self) -> Sharing:
        """val is for testing, and a fraction of train for validation."""
        return Sharing(self.validation_share, None, self.split_seed, self.across_splits)

    def table(self) -> Table:
        """The triplets of all subsets; cached until a file changes."""
        folder = Path(self.path).expanduser()
        if (folder / "2afc").is_dir():
            folder = folder / "2afc"
        found: list[_Triplet] = []
        for split, name, asked in ((TRAIN, "train", self.train_subsets), (TEST, "val", self.test_subsets)):
            for subset in _subsets(folder / name, asked, "train_subsets" if split == TRAIN else "test_subsets"):
                found += _triplets(folder, f"{name}/{subset}", split)
        if not found:
            raise DataError(f"{printable(str(folder), 200)} has no triplets. Fix dataset.path or the subsets.")
        root = Root(folder, self.links)
        try:
            paths = [root.inside(name) for triplet in found for name in triplet.images]
            judges = [root.inside(triplet.judge) for triplet in found]
        except OutsideError as error:
            fix = error.fix or "Copy it into the folder."
            raise DataError(f"a file of {printable(str(folder), 200)} {error}. {fix}") from None
        return _table(tuple(found), tuple(paths), tuple(judges))


@dataclass(frozen=True)
class _Triplet:
    """The names of three images and their judgement file in a folder, and the judgement's modification time."""

    images: tuple[str, str, str]
    judge: str
    split: int
    changed: tuple[int, int, int]


def _subsets(folder: Path, asked: Sequence[str] | None, option: str) -> list[str]:
    try:
        there = sorted((entry.name for entry in os.scandir(folder) if entry.is_dir()), key=natural)
    except (OSError, ValueError):
        there = []
    if not there:
        raise DataError(
            f"{printable(str(folder), 200)} is missing or empty: expected a folder for each subset. Set dataset.path "
            "to the folder 2afc of BAPPS."
        )
    for subset in asked or ():
        if subset not in there:
            raise DataError(f"unknown subset {named(subset)} in dataset.{option}.{nearest(subset, there)}")
    return list(asked) if asked is not None else there


def _triplets(folder: Path, place: str, split: int) -> Iterator[_Triplet]:
    parts = [_stems(folder / place / part, SUFFIXES) for part in PARTS]
    judges = _stems(folder / place / "judge", frozenset({".npy"}))
    everywhere = judges.keys() & parts[0].keys() & parts[1].keys() & parts[2].keys()
    for part, stems in zip((*PARTS, "judge"), (*parts, judges), strict=True):
        others = set().union(*parts, judges) - stems.keys()
        if others:
            first = printable(min(others, key=natural), 40)
            raise DataError(
                f"{place}/{part} has no {first}, unlike other folders of {place}. Copy it there, or remove the others."
            )
    for stem in sorted(everywhere, key=natural):
        images = [f"{place}/{part}/{stems[stem]}" for part, stems in zip(PARTS, parts, strict=True)]
        judge = f"{place}/judge/{judges[stem]}"
        info = (folder / judge).stat()
        times = (info.st_size, info.st_mtime_ns, info.st_ctime_ns)
        yield _Triplet((images[0], images[1], images[2]), judge, split, times)


def _stems(folder: Path, suffixes: frozenset[str]) -> dict[str, str]:
    """The files of a folder with one of these suffixes, by their name without it."""
    try:
        names = [entry.name for entry in os.scandir(folder) if not entry.name.startswith(".")]
    except (OSError, ValueError):
        raise DataError(
            f"{printable(str(folder), 200)} is missing: expected folders ref, p0, p1 and judge. Fix dataset.path."
        ) from None
    return {
        stem: name
        for name in names
        for stem, dot, suffix in [name.rpartition(".")]
        if (dot + suffix).lower() in suffixes
    }


@functools.lru_cache(maxsize=1)
def _table(triplets: tuple[_Triplet, ...], paths: tuple[str, ...], judges: tuple[str, ...]) -> Table:
    import numpy as np

    names = [name for triplet in triplets for name in triplet.images]
    target = np.array([_judged(path, triplet.judge) for path, triplet in zip(judges, triplets, strict=True)])
    split = np.array([triplet.split for triplet in triplets])
    content = hashlib.sha256("\0".join(names).encode("utf-8", "surrogateescape"))
    content.update(target.tobytes() + split.tobytes())
    return Table(
        source="bapps",
        names=names,
        paths=list(paths),
        pairs=np.arange(len(names)).reshape(-1, 3),
        target=target.astype(np.float32),
        rows=np.arange(1, len(triplets) + 1),
        classes=np.full(len(names), -1, dtype=np.int64),
        split=split,
        group=None,
        content=content.hexdigest(),
        counted="triplet",
    )


def _judged(path: str, name: str) -> float:
    """The share of people who chose p1, from a .npy file of one number."""
    import io

    import numpy as np

    try:
        with open_regular(path) as stream:
            data = stream.read(_JUDGE_BYTES + 1)
        if len(data) > _JUDGE_BYTES:
            raise ValueError("too large for one number")
        value = np.load(io.BytesIO(data), allow_pickle=False)
        share = float(np.asarray(value).reshape(()))
    except UnusableError as error:
        raise DataError(f"bapps: {printable(name, 120)} {error}. Fix or remove that triplet.") from None
    except Exception as error:  # noqa: BLE001 - numpy raises nearly anything over a damaged file
        raise DataError(
            f"bapps: {printable(name, 120)} cannot be read ({printable(str(error), 80)}): expected a .npy file of one "
            "number. Fix or remove that triplet."
        ) from None
    if not 0 <= share <= 1:
        raise DataError(
            f"bapps: {printable(name, 120)} holds {share:g}: expected a fraction from 0 to 1. Fix that file."
        )
    return share
