"""The result store: one immutable JSON file for each round.

A record is written to a temporary file, synced, hard-linked to its final name and the folder synced, so that the first
writer wins, nothing is overwritten, and a reader never sees a partial record. Resuming is a set difference.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pairbench.errors import SpecError, StoreError
from pairbench.plugin.accelerator_records import outdated
from pairbench.store import index
from pairbench.store.atomic import draft_of, name_first, sync_folder, write_synced
from pairbench.store.locks import Claim
from pairbench.store.record import SCHEMA, STATUSES, Record, checksum, key_of, misshapen
from pairbench.text import printable

DEFAULT_STORE = "pairbench-results"
# A temporary file becomes a record within seconds; an older one was left by a killed process.
DRAFT_SECONDS = 3600
_FIELDS = {"schema": int, "config": dict, "config_id": str, "round": int, "seed": int, "status": str}
_PARTS = {"metrics": dict, "curves": dict, "cost": dict, "environment": dict, "provenance": dict}


@dataclass
class Scan:
    """What was read: valid records, the reason for each damaged file, and, if known, which configs have timings."""

    records: list[Record] = field(default_factory=list)
    damaged: dict[Path, str] = field(default_factory=dict)
    timed: set[str] | None = None


class Store:
    """The records in one folder, which is created when the first record is written."""

    def __init__(self, root: Path | str | None = None) -> None:
        if root == "":
            raise SpecError("the store has an empty name: expected a folder. Leave --store out for the default.")
        named = Path(root or os.environ.get("PAIRBENCH_STORE") or DEFAULT_STORE)
        try:
            self.root = named.expanduser()
            os.fsencode(self.root)
            blocked = self.root.exists() and not self.root.is_dir()
        except UnicodeError:
            raise SpecError(
                f"store {printable(str(named))} contains an invalid character. Choose another --store."
            ) from None
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or str(error).rstrip(".")
            raise SpecError(f"store {printable(str(named))}: {reason}. Choose another --store.") from None
        if blocked or "\0" in str(named):
            raise SpecError(f"store {printable(str(named))} is not a folder. Choose another --store.")

    def path(self, record: Record) -> Path:
        """The path of `record`; failures have distinct names, since a retry may finish the round."""
        stem = _stem(record["round"], key_of(record))
        if record["status"] == "failed":
            stem += f".failed-{secrets.token_hex(4)}"
        return self.root / str(record["config_id"]) / f"{stem}.json"

    def write(self, record: Record, *, replace: bool = False) -> bool:
        """Store `record`; False if its round is already stored, which is then left unchanged.

        With `replace`, or if an accelerator that computed it has other code today, an existing record is renamed to
        `.superseded-*` first.

        Raises:
            StoreError: the folder cannot be written.
        """
        text = json.dumps(record | {"checksum": checksum(record)}, indent=1, allow_nan=False) + "\n"
        path = self.path(record)
        return self._publish(path, text, replace=replace or _outdated(path))

    def read(self, config_ids: Iterable[str] | None = None) -> Scan:
        """Every record, or those of the given configs; damaged files are reported, never used.

        Raises:
            StoreError: the folder cannot be read.
        """
        scan = Scan()
        for path in self._files(config_ids):
            try:
                scan.records.append(_verified(path))
            except FileNotFoundError:
                continue
            except ValueError as error:
                scan.damaged[path] = str(error)
            except OSError as error:
                raise StoreError(f"cannot read {printable(str(path))}: {error.strerror or error}.") from error
        return scan

    def digest(self, progress: Callable[[int, int], None] | None = None) -> Scan:
        """Every record without its curves; large stores are read from their index if it is up to date.

        progress: called at intervals with the number of files read so far and their total.

        Raises:
            StoreError: the folder cannot be read.
        """
        scan = Scan(timed=set())
        folders = {folder: _listed(folder, scan.timed or set()) for folder in self._listable()}
        count, done = sum(len(files) for files in folders.values()), 0
        if count < index.LEAST:
            whole = self.read()
            return Scan(whole.records, whole.damaged, scan.timed)
        parsed: dict[Any, Any] = {}
        with uncollected():
            for folder, files in folders.items():
                try:
                    records, damaged = index.digests(folder, files, _verified, parsed)
                except OSError as error:
                    raise StoreError(f"cannot read {printable(str(folder))}: {error.strerror or error}.") from error
                scan.records += records
                scan.damaged |= {folder / name: reason for name, reason in damaged.items()}
                done += len(files)
                if progress is not None:
                    progress(done, count)
        return scan

    def ended(self, config_id: str, round_index: int, key: str, since: float) -> Record | None:
        """The finished or diverged record of a round, or its last failure that was written after `since` (seconds)."""
        folder, stem = self.root / config_id, _stem(round_index, key)
        failures = []
        for path in folder.glob(f"{stem}.failed-*.json"):
            with contextlib.suppress(FileNotFoundError):
                written = path.stat().st_mtime
                failures += [(written, path)] if written > since else []
        for path in (folder / f"{stem}.json", *(path for _, path in sorted(failures, reverse=True))):
            try:
                return _verified(path)
            except FileNotFoundError:
                continue
            except ValueError:
                self.set_aside([path])
        return None

    def claim(self, config_id: str, round_index: int, key: str) -> Claim | None:
        """The lock for training a round, held until released or this process ends; None if another process holds it.

        Raises:
            StoreError: the folder cannot be written.
        """
        return self._claim(self.root / config_id / f".{_stem(round_index, key)}.claim")

    def claim_timing(self) -> Claim | None:
        """The lock for measuring speed with this store; None if another process holds it.

        Raises:
            StoreError: the folder cannot be written.
        """
        return self._claim(self.root / ".timing.claim")

    def tidy(self, config_ids: Iterable[str]) -> None:
        """Remove leftovers of killed processes from the folders of these configs: stale locks and temporary files."""
        old = time.time() - DRAFT_SECONDS
        for config_id in config_ids:
            for path in (self.root / config_id).glob(".*"):
                with contextlib.suppress(OSError):
                    if path.suffix == ".claim":
                        claim = Claim.take(path)
                        if claim is not None:
                            claim.release()
                    elif path.suffix == ".tmp" and path.stat().st_mtime < old:
                        path.unlink()

    def _claim(self, path: Path) -> Claim | None:
        with self._writing():
            path.parent.mkdir(parents=True, exist_ok=True)
            return Claim.take(path)

    def set_aside(self, damaged: Iterable[Path]) -> None:
        """Rename damaged files, so that their rounds can be trained again and nothing is deleted.

        Raises:
            StoreError: the folder cannot be written.
        """
        with self._writing():
            for path in damaged:
                _rename(path, "damaged")

    def write_timing(self, timing: dict[str, Any]) -> None:
        """Store a timing; it depends on the machine, so it is not a record and its suffix is `.timing`.

        Raises:
            StoreError: the folder cannot be written.
        """
        path = self.root / timing["config_id"] / f"{timing['created'].replace(':', '')}-{secrets.token_hex(4)}.timing"
        self._publish(path, json.dumps(timing | {"checksum": checksum(timing)}, indent=1, allow_nan=False) + "\n")

    def timings(self, config_id: str) -> list[dict[str, Any]]:
        """The valid timings of a config, oldest first."""
        found = []
        for path in sorted((self.root / config_id).glob("*.timing")):
            with contextlib.suppress(OSError, ValueError):
                timing = _plain(path)
                if timing.pop("checksum", "") == checksum(timing) and timing.get("config_id") == config_id:
                    found.append(timing)
        return found

    def timed_since(self, config_id: str, since: float) -> bool:
        """Whether a timing of a config was written after `since` (seconds)."""
        return any(path.stat().st_mtime > since for path in (self.root / config_id).glob("*.timing"))

    def _publish(self, path: Path, text: str, *, replace: bool = False) -> bool:
        with self._writing():
            if not path.parent.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                sync_folder(self.root)
            return _publish(path, text.encode(), replace=replace)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"cannot write to store {printable(str(self.root))}: {error.strerror or error}. "
                "Fix that and run the same command again; finished rounds are not lost."
            ) from error

    def _files(self, config_ids: Iterable[str] | None) -> Iterator[Path]:
        try:
            folders = (
                [self.root / name for name in sorted(set(config_ids))] if config_ids is not None else self._folders()
            )
            for folder in folders:
                names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
                yield from (folder / name for name in names if name.endswith(".json") and not name.startswith("."))
        except OSError as error:
            raise StoreError(f"cannot read store {printable(str(self.root))}: {error.strerror or error}.") from error

    def _listable(self) -> list[Path]:
        try:
            return self._folders()
        except OSError as error:
            raise StoreError(f"cannot read store {printable(str(self.root))}: {error.strerror or error}.") from error

    def _folders(self) -> list[Path]:
        try:
            with os.scandir(self.root) as entries:
                names = sorted(entry.name for entry in entries if entry.is_dir())
        except FileNotFoundError:
            return []
        return [self.root / name for name in names]


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Pause garbage collection, which would take longer than creating these very many objects."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _listed(folder: Path, timed: set[str]) -> dict[str, index.Mark]:
    """The files of `folder` that may be records, each with its mark; adds the folder to `timed` if it has timings."""
    found = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if name.endswith(".timing"):
                    timed.add(folder.name)
                elif name.endswith(".json") and not name.startswith("."):
                    try:
                        seen = entry.stat()
                    except FileNotFoundError:
                        continue
                    found[name] = (seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino)
    except OSError as error:
        raise StoreError(f"cannot read store {printable(str(folder))}: {error.strerror or error}.") from error
    return found


def _stem(round_index: int, key: str) -> str:
    return f"{round_index:04d}-{key[:32]}"


def _rename(path: Path, why: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.rename(path.with_suffix(f".{why}-{secrets.token_hex(4)}"))


def _publish(path: Path, content: bytes, *, replace: bool) -> bool:
    with draft_of(path) as draft:
        write_synced(draft, content)
        if replace:
            # Only after the new record is on disk: a full disk must not lose the old one.
            _rename(path, "superseded")
        first = name_first(draft, path)
    sync_folder(path.parent)
    return first


def _plain(path: Path) -> dict[str, Any]:
    """The JSON object in `path`; ValueError says what is wrong with it."""
    # Reading a folder, a pipe or a device would fail or block forever.
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("not a file")
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise ValueError("not JSON") from None
    if not isinstance(value, dict):
        raise ValueError("not a record")
    return value


def _outdated(path: Path) -> bool:
    try:
        return outdated(_verified(path))
    except (OSError, ValueError):
        return False


def _verified(path: Path) -> Record:
    """The record in `path`; ValueError says what is wrong with it."""
    record = _plain(path)
    if record.get("schema") != SCHEMA:
        raise ValueError(f"schema {printable(str(record.get('schema')), 20)}: this pairbench reads {SCHEMA}")
    for name, kind in (_FIELDS | _PARTS).items():
        if not isinstance(record.get(name), kind):
            raise ValueError(f"{name} is missing or of the wrong type")
    if record["status"] not in STATUSES:
        raise ValueError(f"status {printable(str(record['status']), 20)} is unknown")
    try:
        sound = record.get("checksum") == checksum(record)
        named = path.name.startswith(_stem(record["round"], key_of(record)) + ".")
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError("a field is missing or has an invalid value") from None
    if not sound:
        raise ValueError("its checksum does not match its content")
    if not named or path.parent.name != record["config_id"]:
        raise ValueError("its name does not match its content")
    wrong = misshapen(record)
    if wrong:
        raise ValueError(f"{wrong} is missing or of the wrong type")
    return record
