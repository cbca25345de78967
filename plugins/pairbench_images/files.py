"""Files inside a folder: checks which paths are safe to open, and digests their contents."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

from pairbench import UnusableError, name_on_disk, open_regular, tell_progress, user_cache, why_unusable
from pairbench_images.naming import cores

# A file that changed this recently may change again without a visible change of its times.
_SETTLED_NS = 2 * 10**9
_AT_ONCE = 512
Links = Literal["inside", "owned"]


class OutsideError(Exception):
    """A path that leads out of its folder; the message says how.

    fix: what to do about it, in a sentence; "" where the reader of the list knows better.
    """

    def __init__(self, what: str, fix: str = "") -> None:
        super().__init__(what)
        self.fix = fix


class Root:
    """A folder that no path leads out of, symbolic links followed.

    links: "inside" refuses a link that leads outside; "owned" follows those that belong to the user who runs this, as
        the links of DVC and git-annex do.
    """

    def __init__(self, folder: str | Path, links: Links = "inside") -> None:
        self.folder = os.path.realpath(folder)
        self.links = links
        self._parents: dict[str, str] = {}

    def inside(self, name: str) -> str:
        """The absolute path of the file `name` in this folder; the file need not exist.

        Raises:
            OutsideError: the path is absolute, has a `..`, or leads out of the folder by a symbolic link.
        """
        if name[:1] in ("/", "\\") or name[1:2] == ":":
            raise OutsideError("is an absolute path")
        if ".." in name.replace("\\", "/").split("/"):
            raise OutsideError("has '..' in it")
        name = name_on_disk(self.folder, name)
        parent, _, last = f"{self.folder}/{name}".rpartition("/")
        if parent not in self._parents:
            self._parents[parent] = os.path.realpath(parent)
        path = f"{self._parents[parent]}/{last}"
        with suppress(OSError, ValueError):
            if stat.S_ISLNK(os.lstat(path).st_mode):
                path = os.path.realpath(path)
        inside = path == self.folder or path.startswith(self.folder.rstrip("/") + "/")
        if not inside and not (self.links == "owned" and self._owned(name)):
            whose = "" if self.links == "inside" else " that is not yours"
            fix = "Set dataset.links=owned to follow links that are yours, or set dataset.root." if not whose else ""
            raise OutsideError(f"leads outside by a symbolic link{whose}", fix)
        return path

    def _owned(self, name: str) -> bool:
        """Whether each link on the way to `name` belongs to this user."""
        path = self.folder
        for part in name.split("/"):
            path = f"{path}/{part}"
            info = os.lstat(path)
            if stat.S_ISLNK(info.st_mode) and info.st_uid != os.geteuid():
                return False
        return True


@dataclass
class Contents:
    """The digest of each file's content, b"" if it cannot be read, with the reason."""

    digests: list[bytes] = field(default_factory=list)
    unusable: dict[int, str] = field(default_factory=dict)


def contents(paths: Sequence[str]) -> Contents:
    """The digest of each file; unchanged files are not read again."""
    found = Contents()
    known = _Known()
    with ThreadPoolExecutor(cores()) as threads, known:
        remaining = iter(paths)
        while batch := list(islice(remaining, _AT_ONCE)):
            for answer in threads.map(_digest, batch, known.of(batch)):
                if answer.reason:
                    found.unusable[len(found.digests)] = answer.reason
                found.digests.append(answer.digest)
                if answer.stamp and time.time_ns() - max(answer.stamp[1:3]) > _SETTLED_NS:
                    known.keep(answer)
            tell_progress(len(found.digests), len(paths), "reading files")
    return found


Stamp = tuple[int, int, int, int]


@dataclass(frozen=True)
class _Answer:
    """The finding for one file; stamp is None if its digest was already known."""

    path: str
    digest: bytes = b""
    stamp: Stamp | None = None
    reason: str = ""


def _stamp(info: os.stat_result) -> Stamp:
    return (info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino)


def _digest(path: str, known: tuple[Stamp, bytes] | None) -> _Answer:
    try:
        if known and _stamp(Path(path).stat()) == known[0]:
            return _Answer(path, known[1])
        with open_regular(path) as stream:
            stamp = _stamp(os.fstat(stream.fileno()))
            return _Answer(path, hashlib.file_digest(stream, _blake).digest(), stamp)
    except UnusableError as error:
        return _Answer(path, reason=str(error))
    except (OSError, ValueError) as error:
        return _Answer(path, reason=why_unusable(error))


def _blake() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=16)


class _Known:
    """Digests of files by path, size, times and inode, cached on disk; a damaged or missing cache only costs time."""

    def __init__(self) -> None:
        self._file = user_cache("pools") / "digests.sqlite"
        self._base: sqlite3.Connection | None = None
        self._new: list[tuple[str, int, int, int, int, bytes, bytes]] = []

    def __enter__(self) -> _Known:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._base = self._open()
        except sqlite3.OperationalError:
            self._base = None
        except sqlite3.DatabaseError:
            # The database is damaged.
            with suppress(OSError, sqlite3.Error):
                self._file.unlink()
                self._base = self._open()
        except OSError:
            self._base = None
        return self

    def __exit__(self, *_: object) -> None:
        if self._base is None:
            return
        with suppress(sqlite3.Error), closing(self._base) as base:
            base.executemany("INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?, ?, ?, ?)", self._new)
            base.commit()

    def _open(self) -> sqlite3.Connection:
        base = sqlite3.connect(self._file, timeout=5)
        base.execute(
            "CREATE TABLE IF NOT EXISTS digests "
            "(path TEXT PRIMARY KEY, size INT, mtime INT, ctime INT, inode INT, digest BLOB, sum BLOB) WITHOUT ROWID"
        )
        return base

    def of(self, paths: Sequence[str]) -> Iterator[tuple[Stamp, bytes] | None]:
        """The cached entry of each path, or None."""
        rows: dict[str, tuple[Stamp, bytes]] = {}
        if self._base is not None:
            names = [path for path in paths if path.isprintable()]
            marks = ",".join("?" * len(names))
            try:
                for path, *stamp, digest, check in self._base.execute(
                    f"SELECT * FROM digests WHERE path IN ({marks})", names
                ):
                    if check == _sum(path, stamp, digest):
                        rows[path] = ((stamp[0], stamp[1], stamp[2], stamp[3]), digest)
            except (sqlite3.Error, UnicodeError, OverflowError):
                rows = {}
        return (rows.get(path) for path in paths)

    def keep(self, answer: _Answer) -> None:
        """Store a digest."""
        assert answer.stamp is not None
        # A name that is not valid text, or that a database may alter, is not cached.
        if answer.path.isprintable() and all(-(2**63) <= number < 2**63 for number in answer.stamp):
            self._new.append(
                (answer.path, *answer.stamp, answer.digest, _sum(answer.path, answer.stamp, answer.digest))
            )


def _sum(path: str, stamp: Sequence[int], digest: bytes) -> bytes:
    return hashlib.blake2b(repr((path, *stamp, digest)).encode(), digest_size=8).digest()
