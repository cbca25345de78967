"""The index of a config's records: what a leaderboard reads, so that not every record is parsed again.

An index is a file in the folder of a config. It is disposable: it stores the size, times and inode of each record's
file, and a row is valid only while they match. A damaged, outdated or foreign index is rebuilt. Where the index cannot
be written, results are the same, only slower to read. `pairbench doctor` reads the records themselves.

Values that differ between records are stored by column, and most columns stay unparsed text until they are read: a
ranking of 100,000 records by accuracy parses 100,000 accuracies, and other metrics only for the rows that it shows.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, cast

import pairbench
from pairbench.store.atomic import replace_file
from pairbench.store.record import SCHEMA, Digest, Record, group_of, key_of

NAME = ".index"
# Smaller stores are parsed directly and have no index files.
LEAST = 256
_FORM = f"2 {pairbench.__version__} {SCHEMA}"
# A file younger than this may change again without a visible change of its times.
_SETTLED = 2.0
_OWN = ("name", "suite", "created")
_APART = ("config", "environment", "provenance", "curves", "config_id", "round", "status", "metrics", "cost")
# Size, mtime, ctime and inode: if they match, the file is unchanged.
Mark = tuple[int, int, int, int]
Verify = Callable[[Path], Record]


class Group(NamedTuple):
    """The values shared by many records; dictionaries as text.

    group: the value of `group_of` for them.
    """

    group: str
    config_id: str
    config: str
    environment: str
    provenance: str


class Row(NamedTuple):
    """The index entry of one record; `own` has its name, suite and time of creation."""

    name: str
    mark: Mark
    group: Group
    own: tuple[Any, ...]
    key: str
    round: int
    status: str
    metrics: Mapping[str, Any]
    cost: Mapping[str, Any]
    rest: Mapping[str, Any]


class Table:
    """A dictionary for each row, stored by column; the keys of a row are its shape."""

    def __init__(self, shapes: list[list[str]], shape: list[int], columns: dict[str, str]) -> None:
        self.shapes, self.shape, self.columns = shapes, shape, columns
        self._read: dict[str, list[Any]] = {}

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]]) -> Table:
        """The table of `rows`."""
        shapes = dict.fromkeys(tuple(row) for row in rows)
        numbers = {shape: number for number, shape in enumerate(shapes)}
        names = dict.fromkeys(chain.from_iterable(shapes))
        columns = {name: _text([row.get(name) for row in rows]) for name in names}
        return cls([list(shape) for shape in shapes], [numbers[tuple(row)] for row in rows], columns)

    def column(self, name: str) -> list[Any]:
        """The value of `name` in each row; None where a row has none."""
        found = self._read.get(name)
        if found is None:
            text = self.columns.get(name)
            found = self._read[name] = [None] * len(self.shape) if text is None else json.loads(text)
        return found

    def names(self, at: int) -> list[str]:
        """The keys of row `at`."""
        return self.shapes[self.shape[at]]

    def row(self, at: int) -> dict[str, Any]:
        """The dictionary of row `at`."""
        return {name: self.column(name)[at] for name in self.names(at)}

    def has(self, at: int, name: str) -> bool:
        """Whether row `at` has a value other than None for `name`; usually known without parsing the column."""
        return name in self.names(at) and ("null" not in self.columns[name] or self.column(name)[at] is not None)

    def plain(self) -> list[Any]:
        """This table as JSON values."""
        return [self.shapes, self.shape, self.columns]


class Block:
    """The index of the records in one folder.

    parsed: cache of dictionaries by their text, shared with other folders.
    """

    def __init__(self, value: Mapping[str, Any], folder: Path, verify: Verify, parsed: dict[Any, Any]) -> None:
        self.folder, self.verify, self._parsed = folder, verify, parsed
        self.names: list[str] = value["names"]
        self.marks: list[int] = value["marks"]
        self.groups = [Group(*group) for group in value["groups"]]
        self.owns: list[tuple[Any, ...]] = [tuple(own) for own in value["owns"]]
        self.group: list[int] = value["group"]
        self.own: list[int] = value["own"]
        self.keys: list[str] = value["keys"]
        self.rounds: list[int] = value["rounds"]
        self.statuses: list[str] = value["statuses"]
        self.metrics, self.costs, self.rest = (Table(*value[part]) for part in ("metrics", "costs", "rest"))

    @staticmethod
    def plain(rows: Sequence[Row]) -> dict[str, Any]:
        """The content of an index with these rows."""
        groups = {group: number for number, group in enumerate(dict.fromkeys(row.group for row in rows))}
        owns = {own: number for number, own in enumerate(dict.fromkeys(row.own for row in rows))}
        return {
            "groups": list(groups),
            "owns": list(owns),
            "names": [row.name for row in rows],
            "marks": list(chain.from_iterable(row.mark for row in rows)),
            "group": [groups[row.group] for row in rows],
            "own": [owns[row.own] for row in rows],
            "keys": [row.key for row in rows],
            "rounds": [row.round for row in rows],
            "statuses": [row.status for row in rows],
            "metrics": Table.of([row.metrics for row in rows]).plain(),
            "costs": Table.of([row.cost for row in rows]).plain(),
            "rest": Table.of([row.rest for row in rows]).plain(),
        }

    def row(self, at: int) -> Row:
        """The index entry of one record."""
        mark = cast(Mark, tuple(self.marks[4 * at : 4 * at + 4]))
        group, own = self.groups[self.group[at]], self.owns[self.own[at]]
        parts = (self.metrics.row(at), self.costs.row(at), self.rest.row(at))
        return Row(self.names[at], mark, group, own, self.keys[at], self.rounds[at], self.statuses[at], *parts)

    def digests(self) -> list[Digest]:
        """The summary of each record."""
        groups = map(self.groups.__getitem__, self.group)
        rows = zip(self.keys, self.rounds, self.statuses, groups, strict=True)
        return [Digest(self, at, *row) for at, row in enumerate(rows)]

    def part(self, at: int, name: str) -> Any:
        """The part `name` of the record of row `at`; its curves come from its file.

        Raises:
            KeyError: it has no such part.
        """
        group = self.groups[self.group[at]]
        match name:
            case "metrics":
                return self.metrics.row(at)
            case "cost":
                return self.costs.row(at)
            case "config_id":
                return group.config_id
            case "config" | "environment":
                return self._shared(getattr(group, name))
            case "provenance":
                return self._provenance(group, self.owns[self.own[at]])
        return self.rest.row(at)[name]

    def names_of(self, at: int) -> list[str]:
        """The names of the parts of the record of row `at`, without its curves."""
        return [*(name for name in _APART if name != "curves"), *self.rest.names(at)]

    @cached_property
    def sure(self) -> list[str] | None:
        """The metrics, if all records have values for the same ones; otherwise None."""
        shapes = self.metrics.shapes
        return (
            shapes[0]
            if len(shapes) == 1 and not any("null" in self.metrics.columns[name] for name in shapes[0])
            else None
        )

    def metric_names(self, at: int) -> list[str]:
        """The names of the metrics of the record of row `at`, the same list for rows that have the same ones."""
        return self.metrics.names(at)

    def has(self, at: int, metric: str) -> bool:
        """Whether the record of row `at` has a value for `metric`."""
        return self.metrics.has(at, metric)

    def figures(self, metric: str) -> list[Any]:
        """A metric of each record; None where one has none."""
        return self.metrics.column(metric)

    def place(self, at: int) -> Path:
        """The file of the record of row `at`."""
        return self.folder / self.names[at]

    def _shared(self, text: str) -> Any:
        found = self._parsed.get(text)
        if found is None:
            found = self._parsed[text] = json.loads(text)
        return found

    def _provenance(self, group: Group, own: tuple[Any, ...]) -> Any:
        # Keyed by both: records of one group may differ in name and time of creation.
        found = self._parsed.get((group.provenance, own))
        if found is None:
            found = self._shared(group.provenance) | dict(zip(_OWN, own, strict=True))
            self._parsed[group.provenance, own] = found
        return found


def digests(
    folder: Path, files: Mapping[str, Mark], verify: Verify, parsed: dict[Any, Any]
) -> tuple[list[Record], dict[str, str]]:
    """The summary of each record among `files` of `folder`, and the fault of each damaged file; updates the index.

    parsed: cache of dictionaries by their text, shared by the indexes of all folders.
    """
    names, damaged = sorted(files), dict[str, str]()
    block = _read(folder, verify, parsed)
    if block is None or block.names != names or block.marks != list(chain.from_iterable(map(files.__getitem__, names))):
        rows: list[Row] = []
        known = {} if block is None else {name: at for at, name in enumerate(block.names)}
        fresh = 0
        for name in names:
            at = known.get(name)
            if block is not None and at is not None and block.marks[4 * at : 4 * at + 4] == list(files[name]):
                rows.append(block.row(at))
                continue
            try:
                record = verify(folder / name)
            except FileNotFoundError:
                continue
            except ValueError as error:
                damaged[name] = str(error)
                continue
            rows.append(_row(name, files[name], record))
            fresh += 1
        if fresh or len(rows) < len(known):
            settled = time.time() - _SETTLED
            _write(folder, Block.plain([row for row in rows if row.mark[1] / 1e9 < settled]))
        block = Block(Block.plain(rows), folder, verify, parsed)
    # A summary has the interface of the record that it represents.
    return cast(list[Record], block.digests()), damaged


def _row(name: str, mark: Mark, record: Record) -> Row:
    provenance = record["provenance"]
    shared = {key: value for key, value in provenance.items() if key not in _OWN}
    texts = (_text(record["config"]), _text(record["environment"]), _text(shared))
    return Row(
        name,
        mark,
        Group(group_of(record), record["config_id"], *texts),
        tuple(provenance.get(key) for key in _OWN),
        key_of(record),
        record["round"],
        record["status"],
        record["metrics"],
        record["cost"],
        {key: value for key, value in record.items() if key not in _APART},
    )


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _read(folder: Path, verify: Verify, parsed: dict[Any, Any]) -> Block | None:
    """The index in `folder`; None if it is missing, damaged or of another format."""
    try:
        head, _, body = (folder / NAME).read_bytes().partition(b"\n")
        if head.decode() == f"{_FORM} {hashlib.sha256(body).hexdigest()}":
            return Block(json.loads(body), folder, verify, parsed)
    except (OSError, ValueError, RecursionError):
        pass
    return None


def _write(folder: Path, value: dict[str, Any]) -> None:
    body = _text(value).encode()
    # A read-only store still works, only more slowly.
    with contextlib.suppress(OSError):
        content = f"{_FORM} {hashlib.sha256(body).hexdigest()}\n".encode() + body
        replace_file(folder / NAME, content, sync=False)
