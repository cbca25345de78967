"""From a CSV file to a table of pairs."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairbench import CsvRecords, DataError, PairTask, printable
from pairbench_images.files import Links, OutsideError, Root
from pairbench_images.naming import named, natural
from pairbench_images.table import SPLIT_NAMES, Table, label_of, labels_expected

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


# Of a file whose class is not known.
UNKNOWN = ("", "-1")


@dataclass(frozen=True)
class Columns:
    """The names of the columns; None if the list has no such column, or if it is optional.

    images: of the files of a pair, in the order of the task's views.
    classes: of the class of each file, in the same order.
    """

    images: tuple[str, ...]
    label: str
    split: str | None
    group: str | None
    classes: tuple[str | None, ...]


@dataclass
class _Files:
    """The distinct files of a list, with their classes."""

    root: Root
    names: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)
    classes: dict[int, tuple[str, int]] = field(default_factory=dict)

    def place(self, name: str, records: CsvRecords) -> int:
        if name not in self.places:
            if not name:
                raise records.wrong("no file name: expected the path of an image.")
            try:
                path = self.root.inside(name)
            except OutsideError as error:
                raise records.wrong(
                    f"{named(name)} {error}: expected a path inside {printable(self.root.folder, 120)}.",
                    error.fix or "Change the path, or set dataset.root.",
                ) from None
            self.places[name] = len(self.names)
            self.names.append(name)
            self.paths.append(path)
        return self.places[name]

    def set_class(self, place: int, text: str, records: CsvRecords) -> None:
        if text in UNKNOWN:
            return
        before, row = self.classes.setdefault(place, (text, records.row))
        if before != text:
            raise records.wrong(
                f"{named(self.names[place])} has class {named(text)}, but in row {row} it has {named(before)}.",
                "Fix one of them.",
            )


Judge = Callable[[list[str], CsvRecords], float | None]


def read(
    path: Path,
    delimiter: str,
    root: Path,
    links: Links,
    columns: Columns,
    task: PairTask,
    judge: Judge | None = None,
) -> Table:
    """The table of pairs in a CSV file.

    judge: computes the target of a record if there is no label column; None skips the record.

    Raises:
        DataError: a column, a row or a label is wrong; the message names it.
    """
    import numpy as np

    records = CsvRecords(path, delimiter)
    files = _Files(Root(root, links))
    pairs, rows, splits, groups = array("q"), array("q"), array("b"), array("q")
    labels = array("d")
    group_places: dict[str, int] = {}
    found: _Places | None = None
    for fields in records:
        found = found or _places(records, columns, task)
        target = judge(fields, records) if judge else _label(fields[found.label], records, task)
        if target is None:
            continue
        places = [files.place(fields[column].strip(), records) for column in found.images]
        pairs.extend(places)
        for place, column in zip(places, found.classes, strict=True):
            if column is not None:
                files.set_class(place, fields[column].strip(), records)
        labels.append(target)
        rows.append(records.row)
        if found.split is not None:
            splits.append(_split(fields[found.split], records))
        if found.group is not None:
            groups.append(group_places.setdefault(fields[found.group], len(group_places)))
    if found is None:
        _places(records, columns, task)
    if found is None or not rows:
        raise DataError(f"{records.name} has a header but no pairs. Add a row for each pair.")
    kind = np.float32 if task.kind == "preference" else np.int64
    classes, notes = _classes(files, records, found, task)
    return Table(
        source=records.name,
        names=files.names,
        paths=files.paths,
        pairs=np.array(pairs, dtype=np.int64).reshape(-1, task.views),
        target=np.array(labels).astype(kind),
        rows=np.array(rows, dtype=np.int64),
        classes=classes,
        split=None if found.split is None else np.array(splits, dtype=np.int64),
        group=None if found.group is None else np.array(groups, dtype=np.int64),
        content=records.content,
        notes=notes,
    )


def known_table(table: Any, root: Path, links: Links, *arguments: Any) -> Table:
    """What the cached function `table` gives, recomputed if a file's link in `root` has changed.

    Raises:
        DataError: the list is wrong.
    """
    found: Table = table(root, links, *arguments)
    place = Root(root, links)
    try:
        same = all(place.inside(name) == path for name, path in zip(found.names, found.paths, strict=True))
    except OutsideError:
        same = False
    if not same:
        table.cache_clear()
        found = table(root, links, *arguments)
    return found


@dataclass(frozen=True)
class _Places:
    """The positions of the columns in a record."""

    images: list[int]
    label: int
    split: int | None
    group: int | None
    classes: list[int | None]


def _places(records: CsvRecords, columns: Columns, task: PairTask) -> _Places:
    options = ("first", "second", "third")
    images: list[Any] = [records.column(name, option) for name, option in zip(columns.images, options, strict=False)]
    label: Any = records.column(columns.label, "label")
    split = records.column(columns.split or "split", "split", needed=columns.split is not None)
    group = records.column(columns.group or "group", "group", needed=columns.group is not None)
    classes = [
        records.column(name or f"{option}_class", f"{option}_class", needed=name is not None)
        for name, option in zip(columns.classes[: task.views], options, strict=False)
    ]
    if task.num_classes is not None and all(column is None for column in classes):
        records.column("first_class", "first_class")
    return _Places(images, label, split, group, classes)


def _label(text: str, records: CsvRecords, task: PairTask) -> float:
    label = label_of(text, task)
    if label is None:
        raise records.wrong(f"label {named(text)} is wrong: expected {labels_expected(task)}.")
    return label


def _split(text: str, records: CsvRecords) -> int:
    number = SPLIT_NAMES.get(text.strip().lower())
    if number is None:
        raise records.wrong(f"split {named(text)} is wrong: expected train, validation or test.")
    return number


def _classes(
    files: _Files, records: CsvRecords, found: _Places, task: PairTask
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The class of each file, and notes to report."""
    import numpy as np

    classes = np.full(len(files.names), -1, dtype=np.int64)
    if task.num_classes is None:
        given = [records.header[column] for column in found.classes if column is not None]
        note = f"classes in {', '.join(map(printable, given))} are not used: set dataset.num_classes to use them"
        return classes, (note,) if given else ()
    texts = {text for text, _ in files.classes.values()}
    numbers = _numbers(texts, task.num_classes, records)
    for place, (text, _) in files.classes.items():
        classes[place] = numbers[text]
    if _are_ids(texts) and any(number != int(text) for text, number in numbers.items()):
        shown = sorted(texts, key=int)
        told = f"{', '.join(shown[:3])}{', ...' if len(shown) > 3 else ''}"
        return classes, (f"{records.name}: the class ids {told} stand for classes 0 to {len(shown) - 1}",)
    return classes, ()


def _are_ids(texts: set[str]) -> bool:
    return all(text.isdecimal() and text.isascii() and len(text) < 19 for text in texts)


def _numbers(texts: set[str], most: int, records: CsvRecords) -> dict[str, int]:
    """The number of each class: as written where all are below `most`, else their place in order.

    Raises:
        DataError: there are more than `most`.
    """
    ids = _are_ids(texts)
    if ids and all(int(text) < most for text in texts):
        return {text: int(text) for text in texts}
    if len(texts) > most:
        raise DataError(
            f"{records.name} names {len(texts)} classes: expected at most {most}. Set dataset.num_classes={len(texts)}."
        )
    return {text: number for number, text in enumerate(sorted(texts, key=int if ids else natural))}
