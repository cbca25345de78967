"""What a leaderboard needs of many records, kept beside them so that they need not all be parsed again.

An index is a file in the folder of a config. It is disposable: it says of each record's file what size, times and inode
it had, and an entry counts only while the file still has them. A damaged, old or foreign index is made anew, and where
none can be written, reading takes longer and gives the same. `pairbench doctor` reads the records themselves.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pairbench
from pairbench.record import SCHEMA, Digest, Record, group_of, key_of

NAME = ".index"
# Smaller stores are parsed at once, and stay free of index files.
LEAST = 256
_FORM = f"1 {pairbench.__version__} {SCHEMA}"
# A file that is younger than this may change once more without its times telling.
_SETTLED = 2.0
_SHARED = ("config", "environment")
_APART = (*_SHARED, "provenance", "curves")
Verify = Callable[[Path], Record]


def digests(folder: Path, files: dict[str, os.stat_result], verify: Verify) -> Iterator[tuple[str, Record | str]]:
    """The digest of each record among `files` of `folder`, or what is wrong with it; brings the index up to date."""
    entries, groups = _read(folder)
    kept: dict[str, list[Any]] = {}
    fresh = False
    numbers = {json.dumps(group, sort_keys=True): number for number, group in enumerate(groups)}
    keys = [group["group"] for group in groups]
    provenances: dict[tuple[Any, ...], dict[str, Any]] = {}
    for name in sorted(files):
        mark = _mark(files[name])
        entry = entries.get(name)
        if entry is None or entry[0] != mark:
            try:
                record = verify(folder / name)
            except FileNotFoundError:
                continue
            except ValueError as error:
                yield name, str(error)
                continue
            entry, fresh = [mark, *_entry(record, groups, numbers)], True
            keys = [group["group"] for group in groups]
        kept[name] = entry
        group = groups[entry[1]]
        yield name, _digest(folder, name, entry, group, keys[entry[1]], provenances, verify)
    if fresh or len(kept) < len(entries):
        settled = time.time() - _SETTLED
        _write(folder, {name: entry for name, entry in kept.items() if entry[0][2] / 1e9 < settled}, groups)


def _mark(stat: os.stat_result) -> list[int]:
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def _entry(record: Record, groups: list[dict[str, Any]], numbers: dict[str, int]) -> list[Any]:
    """What is kept of one record; what many share goes into `groups`."""
    provenance = record["provenance"]
    group = {name: record[name] for name in _SHARED} | {
        "group": group_of(record),
        "provenance": {key: value for key, value in provenance.items() if key not in ("name", "suite", "created")},
    }
    text = json.dumps(group, sort_keys=True)
    if text not in numbers:
        numbers[text] = len(groups)
        groups.append(group)
    own = [provenance.get(key) for key in ("name", "suite", "created")]
    rest = {sys.intern(name): _shared(value) for name, value in record.items() if name not in _APART}
    return [numbers[text], key_of(record), own, rest]


def _shared(value: Any) -> Any:
    """`value`, its keys and words kept once for all records that were parsed one by one."""
    if isinstance(value, dict):
        return {sys.intern(name): item for name, item in value.items()}
    return sys.intern(value) if isinstance(value, str) and len(value) < 20 else value


def _digest(
    folder: Path,
    name: str,
    entry: list[Any],
    group: dict[str, Any],
    group_key: str,
    provenances: dict[tuple[Any, ...], dict[str, Any]],
    verify: Verify,
) -> Digest:
    _, number, key, (named, suite, created), rest = entry
    shared = (number, named, suite, created)
    provenance = provenances.get(shared)
    if provenance is None:
        provenance = provenances[shared] = group["provenance"] | {"name": named, "suite": suite, "created": created}
    digest = Digest(rest)
    digest.update(config=group["config"], environment=group["environment"], provenance=provenance)
    digest.key, digest.group, digest.place, digest.verify = key, group_key, (folder, name), verify
    return digest


def _read(folder: Path) -> tuple[dict[str, list[Any]], list[dict[str, Any]]]:
    """The entries and groups of the index in `folder`; none where it is missing, damaged or of another form."""
    try:
        head, _, body = (folder / NAME).read_bytes().partition(b"\n")
        if head.decode() == f"{_FORM} {hashlib.sha256(body).hexdigest()}":
            value = json.loads(body)
            return value["entries"], value["groups"]
    except (OSError, ValueError, RecursionError):
        pass
    return {}, []


def _write(folder: Path, entries: dict[str, list[Any]], groups: list[dict[str, Any]]) -> None:
    used = sorted({entry[1] for entry in entries.values()})
    place = {number: at for at, number in enumerate(used)}
    entries = {name: [entry[0], place[entry[1]], *entry[2:]] for name, entry in entries.items()}
    body = json.dumps(
        {"entries": entries, "groups": [groups[number] for number in used]}, separators=(",", ":"), allow_nan=False
    ).encode()
    temporary = folder / f"{NAME}.{os.getpid()}.{secrets.token_hex(4)}"
    # Whoever may read a store but not write to it still has the figures, only later.
    with contextlib.suppress(OSError):
        try:
            temporary.write_bytes(f"{_FORM} {hashlib.sha256(body).hexdigest()}\n".encode() + body)
            temporary.replace(folder / NAME)
        finally:
            temporary.unlink(missing_ok=True)
