"""Which split an image of a class folder goes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pairbench import SPLITS, DataError
from pairbench_images.assembly import Decoded
from pairbench_images.naming import TaskKind
from pairbench_images.pool import Pool
from pairbench_images.splitting import TEST, TRAIN, VALIDATION, Sharing, lots
from pairbench_images.table import Table, shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Images:
    """Distinct pictures with class and split.

    rows: (n,) rows of the pool.
    classes: (n,) the class of each.
    split: (n,) the index in SPLITS of each, -1 if it is skipped.
    """

    pool: Pool
    rows: NDArray[np.int64]
    classes: NDArray[np.int64]
    split: NDArray[np.int64]
    notes: tuple[str, ...]

    def of(self, part: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The rows and classes of one split, sorted by class."""
        import numpy as np

        mine = np.flatnonzero(self.split == part)
        mine = mine[np.argsort(self.classes[mine], kind="stable")]
        return self.rows[mine], self.classes[mine]


def split_images(table: Table, decoded: Decoded, kind: TaskKind, sharing: Sharing, notes: list[str]) -> Images:
    """The pictures of class folders, each in one split.

    Raises:
        DataError: a picture is in two splits, or a split has too few pictures for a pair.
    """
    import numpy as np

    files = np.flatnonzero(decoded.rows >= 0)
    rows, first = np.unique(decoded.rows[files], return_index=True)
    classes = table.classes[files[first]]
    order = lots(decoded.digests[rows], sharing.seed)
    if table.split is None:
        split = _dealt(classes, order, kind, (VALIDATION, TEST), sharing)
    else:
        split = _as_folders_say(table, decoded.rows, files, rows, sharing, notes)
        missing = tuple(part for part in (VALIDATION, TEST) if not (table.split == part).any())
        if missing:
            train = np.flatnonzero(split == TRAIN)
            split[train] = _dealt(classes[train], order[train], kind, missing, sharing)
            told = " and ".join(SPLITS[part] for part in missing)
            notes.append(f"{table.source}: images for {told} are taken from the training images")
    for part, name in enumerate(SPLITS):
        counts = np.bincount(classes[split == part], minlength=2)
        if kind == "verification" and (counts.max() < 2 or (counts > 0).sum() < 2):
            raise DataError(
                f"{table.source}: the {name} split has {int(counts.sum())} images of {int((counts > 0).sum())} "
                f"classes: expected two classes, one of them with two images. Add images{_or_share(part)}."
            )
        if counts.sum() < 2:
            raise DataError(
                f"{table.source}: the {name} split has {int(counts.sum())} images: expected at least two. "
                f"Add images{_or_share(part)}."
            )
    return Images(decoded.pool, rows, classes, split, tuple(notes))


def _or_share(part: int) -> str:
    return f", or raise dataset.{SPLITS[part]}_share" if part != TRAIN else ", or lower the shares of the other splits"


def _dealt(
    classes: NDArray[np.int64], order: NDArray[np.uint64], kind: TaskKind, parts: tuple[int, ...], sharing: Sharing
) -> NDArray[np.int64]:
    """The split of each picture: a fraction of each class for each of `parts`, the rest for training."""
    import numpy as np

    split = np.full(len(classes), TRAIN, dtype=np.int64)
    # A pair of the same class needs two pictures of it in one split.
    least = 2 if kind == "verification" else 1
    for number in np.unique(classes):
        mine = np.flatnonzero(classes == number)
        mine = mine[np.argsort(order[mine], kind="stable")]
        start = 0
        for part in reversed(parts):
            count = round(len(mine) * sharing.share(part))
            if len(mine) >= least * (len(parts) + 1):
                count = max(count, least)
            split[mine[start : start + count]] = part
            start += count
    return split


def _as_folders_say(
    table: Table,
    row_of: NDArray[np.int64],
    files: NDArray[np.int64],
    rows: NDArray[np.int64],
    sharing: Sharing,
    notes: list[str],
) -> NDArray[np.int64]:
    """The split of each picture, by its folder."""
    import numpy as np

    assert table.split is not None
    place = np.searchsorted(rows, row_of[files])
    latest = np.full(len(rows), -1, dtype=np.int64)
    np.maximum.at(latest, place, table.split[files])
    copies = files[table.split[files] != latest[place]]
    if len(copies) and sharing.across == "refuse":
        one = int(copies[0])
        same = files[row_of[files] == row_of[one]]
        other = int(same[table.split[same] != table.split[one]][0])
        more = f" ({len(copies) - 1} more duplicates.)" if len(copies) > 1 else ""
        raise DataError(
            f"{table.source}: {shown(table.names[one])} and {shown(table.names[other])} are the same picture in two "
            f"splits. Remove one of them, or skip the training copies with dataset.across_splits=drop.{more}"
        )
    if len(copies):
        notes.append(
            f"{table.source}: {len(copies)} images are skipped because another split has the same picture "
            "(dataset.across_splits=drop)"
        )
    return latest
