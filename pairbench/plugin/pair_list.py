"""Pairs listed in a CSV file without answers, for a trained model to predict."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pairbench.errors import DataError
from pairbench.plugin.csv_records import CsvRecords
from pairbench.plugin.regular_files import name_on_disk

COLUMNS = ("first", "second", "third")


@dataclass(frozen=True)
class PairList:
    """N examples of V image files.

    rows: (N,) the line on which each begins; 1 is the header.
    names: (N, V) the file names in the list.
    paths: (N, V) the paths of the files.
    """

    rows: tuple[int, ...]
    names: tuple[tuple[str, ...], ...]
    paths: tuple[tuple[str, ...], ...]


def read_pair_list(
    path: Path, views: int, *, columns: Sequence[str] = COLUMNS, delimiter: str = ",", root: Path | None = None
) -> PairList:
    """The pairs of a CSV file; only the image columns are read.

    Args:
        path: the file.
        views: images in an example.
        columns: the columns of the images.
        delimiter: what stands between fields.
        root: the folder that names are relative to; None means the folder of the file.

    Raises:
        DataError: the file cannot be read, a column is missing, or a row lacks a name.
    """
    records = CsvRecords(path, delimiter, option="--csv")
    folder = str(root if root is not None else path.parent)
    places: list[int] = []
    rows, names, paths = list[int](), list[tuple[str, ...]](), list[tuple[str, ...]]()
    for fields in records:
        places = places or _places(records, columns[:views])
        named = tuple(fields[place].strip() for place in places)
        if not all(named):
            raise records.wrong(f"expected an image for each of {', '.join(columns[:views])}.")
        rows.append(records.row)
        names.append(named)
        paths.append(tuple(os.path.normpath(Path(folder) / name_on_disk(folder, name)) for name in named))
    if not rows:
        _places(records, columns[:views])
        raise DataError(f"{records.name} has no rows: expected at least one below the header.")
    return PairList(tuple(rows), tuple(names), tuple(paths))


def _places(records: CsvRecords, columns: Sequence[str]) -> list[int]:
    found = [records.column(name, option) for name, option in zip(columns, COLUMNS, strict=False)]
    return [place for place in found if place is not None]
