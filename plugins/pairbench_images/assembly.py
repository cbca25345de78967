"""From a table of pairs to pools: decode, skip unusable files, split, draw."""

from __future__ import annotations

import functools
import hashlib
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pairbench import SPLITS, DataError, PairPool, PositiveInt, tell_note
from pairbench_images import pool as pools
from pairbench_images.decoding import Decoding
from pairbench_images.drawing import drawn, mapped
from pairbench_images.files import Contents, contents
from pairbench_images.naming import Split
from pairbench_images.options import ImagePairs
from pairbench_images.repeats import told_twice
from pairbench_images.splitting import Sharing, Usable, split_pairs
from pairbench_images.table import Table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PairCount = PositiveInt | Literal["all"]
_REASONS = 3


class TablePairs(ImagePairs):
    """The base of all datasets whose pairs are listed."""

    train_pairs: PairCount = Field(
        default="all",
        description="training pairs per round, drawn without replacement for each round; all uses every pair.",
    )
    validation_pairs: PairCount = Field(default="all", description="validation pairs per round, or all.")
    test_pairs: PairCount = Field(default="all", description="test pairs per round, or all.")

    @abstractmethod
    def table(self) -> Table:
        """The list of pairs.

        Raises:
            DataError: it is missing or wrong.
        """

    @property
    @abstractmethod
    def sharing(self) -> Sharing:
        """How pairs are assigned to splits if the list does not say."""

    def digest(self) -> str:
        """A digest of the list and of every file in it; reports what is skipped, if known."""
        table = self.table()
        key = checked_key(self, table)
        if is_decoded(self, table):
            for note in _prepared(self, key).notes:
                tell_note(note)
        return key[:16]

    def load(self, split: Split, *, rounds: int, seed: int) -> PairPool:
        """The images of `split`, memory-mapped, and its pairs for each round."""
        import numpy as np
        import torch

        table = self.table()
        prepared = _prepared(self, checked_key(self, table))
        for note in prepared.notes:
            tell_note(note)
        mine = np.flatnonzero(prepared.split == SPLITS.index(split))
        rows, places = np.unique(prepared.images[mine], return_inverse=True)
        file = view_of(self, table, prepared.pool, rows)
        pairs = torch.from_numpy(np.ascontiguousarray(places.reshape(len(mine), -1)))
        target = torch.from_numpy(np.ascontiguousarray(table.target[prepared.kept[mine]]))
        asked: int | str = getattr(self, f"{split}_pairs")
        if isinstance(asked, int):
            chosen = drawn(len(mine), asked, split, rounds, seed, table.source)
            pairs, target = pairs[chosen], target[chosen]
        else:
            pairs, target = pairs.expand(rounds, *pairs.shape), target.expand(rounds, -1)
        return PairPool(mapped(file), pairs, target, torch.from_numpy(prepared.classes[rows]), file)


@dataclass(frozen=True, eq=False)
class Prepared:
    """The usable pairs of a table.

    kept: (N,) places in the table.
    images: (N, V) rows of the pool; identical pictures share one row.
    split: (N,) number in SPLITS, -1 where the pair is left out.
    classes: (P,) of the images of the pool.
    """

    pool: pools.Pool
    kept: NDArray[np.int64]
    images: NDArray[np.int64]
    split: NDArray[np.int64]
    classes: NDArray[np.int64]
    notes: tuple[str, ...]


@functools.lru_cache(maxsize=1)
def _prepared(dataset: TablePairs, _key: str) -> Prepared:
    import numpy as np

    table = dataset.table()
    screened = screen(dataset, table)
    rows, unusable, pool = screened.rows, screened.unusable, screened.pool
    notes = list(table.notes)
    notes += told_bits(dataset, table, pool)
    images = rows[table.pairs]
    kept = np.flatnonzero((images >= 0).all(axis=1))
    if unusable:
        notes.append(
            f"{table.source}: {told_unusable(len(unusable), len(table.paths))} and the {len(images) - len(kept)} pairs "
            f"with them are skipped (dataset.on_error=skip): {reasons(table, unusable)}"
        )
    if not len(kept):
        raise DataError(f"{table.source}: no pair can be used. {reasons(table, unusable)}. Fix the files.")
    usable = Usable(table, kept, images[kept], screened.digests)
    split, more = split_pairs(usable, dataset.sharing)
    more += told_twice(usable, dataset.task)
    classes = np.full(len(pool.hashes), -1, dtype=np.int64)
    known = np.flatnonzero((table.classes >= 0) & (rows >= 0))
    classes[rows[known]] = table.classes[known]
    return Prepared(pool, kept, images[kept], split, classes, (*notes, *more))


@dataclass(frozen=True, eq=False)
class Decoded:
    """Files and the pool that has their pictures.

    digests: (P, 16) uint8, of the contents that the pool was decoded from.
    rows: (F,) the row of the pool of each file; identical pictures share one row.
    unusable: the reason for each file without a row.
    """

    pool: pools.Pool
    digests: NDArray[np.uint8]
    rows: NDArray[np.int64]
    unusable: dict[int, str]


def checked_key(dataset: ImagePairs, table: Table) -> str:
    """A digest of a table and of the content of its files.

    Raises:
        DataError: a file cannot be read, and on_error is not skip.
    """
    read = contents(table.paths)
    if dataset.on_error == "raise" and read.unusable:
        raise _refused(table, read.unusable)
    digest = hashlib.sha256(table.content.encode())
    for content in read.digests:
        digest.update(content or b"unreadable")
    return digest.hexdigest()


def is_decoded(dataset: ImagePairs, table: Table) -> bool:
    """Whether the files of a table have been decoded before."""
    distinct, _ = _distinct(contents(table.paths))
    return pools.known(distinct, dataset.decoding) is not None


def screen(dataset: ImagePairs, table: Table) -> Decoded:
    """The decoded pictures of a table, without unusable ones.

    Raises:
        DataError: a picture is unusable, and on_error is not skip.
    """
    decoded = decoded_files(table.paths, dataset.decoding)
    unusable = dict(sorted((decoded.unusable | _of_two_classes(table, decoded)).items()))
    if unusable and dataset.on_error == "raise":
        raise _refused(table, unusable)
    rows = decoded.rows.copy()
    rows[list(unusable)] = -1
    return Decoded(decoded.pool, decoded.digests, rows, unusable)


def view_of(dataset: ImagePairs, table: Table, pool: pools.Pool, rows: NDArray[np.int64]) -> Path:
    """The file with the images `rows` of a pool, which is decoded again if it is damaged."""
    try:
        return pool.view(rows)
    except (pools.DamagedError, FileNotFoundError) as error:
        pools.discard(pool.folder, str(error))
        return decoded_files(table.paths, dataset.decoding).pool.view(rows)


def decoded_files(paths: list[str], how: Decoding) -> Decoded:
    """The pictures in `paths`, decoded unless they are cached."""
    import numpy as np

    read = contents(paths)
    distinct, of_file = _distinct(read)
    first: dict[int, int] = {}
    for file, row in enumerate(of_file.tolist()):
        first.setdefault(row, file)
    pool = pools.decoded([paths[first[row]] for row in range(len(distinct))], distinct, how)
    _, canonical, inverse = np.unique(pool.hashes, axis=0, return_index=True, return_inverse=True)
    alike = canonical[inverse.reshape(-1)]
    rows = np.where(of_file >= 0, alike[of_file], -1) if len(distinct) else of_file
    unusable = dict(read.unusable)
    if pool.unusable:
        bad = np.isin(of_file, list(pool.unusable))
        unusable |= {int(file): pool.unusable[int(of_file[file])] for file in np.flatnonzero(bad)}
    rows[list(unusable)] = -1
    digests = np.frombuffer(b"".join(distinct), dtype=np.uint8).reshape(len(distinct), -1)
    return Decoded(pool, digests, rows, dict(sorted(unusable.items())))


def _distinct(read: Contents) -> tuple[list[bytes], NDArray[np.int64]]:
    """The distinct contents, and the index of each file's content, -1 if it cannot be read."""
    import numpy as np

    places: dict[bytes, int] = {}
    of_file = [places.setdefault(digest, len(places)) if digest else -1 for digest in read.digests]
    return list(places), np.array(of_file, dtype=np.int64)


def _of_two_classes(table: Table, decoded: Decoded) -> dict[int, str]:
    """Files with the same picture as another file of a different class."""
    import numpy as np

    known = np.flatnonzero((table.classes >= 0) & (decoded.rows >= 0))
    first: dict[int, int] = {}
    found = {}
    for file in known.tolist():
        other = first.setdefault(int(decoded.rows[file]), file)
        if table.classes[other] != table.classes[file]:
            found[file] = f"is the same picture as {table.where(other)}, which has a different class"
    return found


def told_bits(dataset: ImagePairs, table: Table, pool: pools.Pool) -> list[str]:
    """A note where 16-bit files use so few bits that most of their grey levels are lost."""
    used = max(9, pool.largest_value.bit_length())
    if not pool.largest_value or used >= dataset.bits:
        return []
    return [
        f"{table.source}: the largest value of the 16-bit images is {pool.largest_value}, so they are dark and have "
        f"few grey levels: set dataset.bits={used} to use the whole range"
    ]


def told_unusable(count: int, total: int) -> str:
    """A message with the number of unusable images."""
    return f"{count} of {total} images cannot be used"


def reasons(table: Table, unusable: dict[int, str]) -> str:
    told = [f"{table.where(file)} {unusable[file]}" for file in list(unusable)[:_REASONS]]
    return "; ".join(told) + ("; ..." if len(unusable) > _REASONS else "")


def _refused(table: Table, unusable: dict[int, str]) -> DataError:
    """The error for unusable files."""
    first = min(unusable)
    more = f" {told_unusable(len(unusable), len(table.paths))}." if len(unusable) > 1 else ""
    return DataError(
        f"{table.source}, {table.where(first)} {unusable[first]}.{more} Fix it, or skip such images with "
        "dataset.on_error=skip."
    )
