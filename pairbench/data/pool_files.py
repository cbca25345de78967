"""The pools of a run on disk: saved once with checksums, and memory-mapped by every worker."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pairbench.errors import StoreError, refuse_exhaustion
from pairbench.plugin.components import SPLITS, PairPool
from pairbench.text import printable

_PARTS = ("images", "pairs", "target", "classes")
_SEAL = "seal.json"
# Inode, size and mtime: identify the state of a file without reading it.
_Stamp = tuple[int, int, int]


class KeptPools:
    """The pools of each split in `folder`, which must not change while they are open.

    Raises:
        StoreError: they differ from what was saved.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Taken before the content is read; otherwise a change in between would go unnoticed.
        self._stamps = self._now()
        self.splits = {split: open_pool(folder / split) for split in SPLITS}

    def check(self) -> None:
        """Raise a StoreError if a file has changed since it was opened, so that what was read must not be used."""
        if self._now() != self._stamps:
            raise _changed(self.folder)

    def _now(self) -> dict[str, _Stamp]:
        stamps = {}
        try:
            for path in (path for split in SPLITS for path in (self.folder / split).iterdir()):
                found = path.stat()
                stamps[f"{path.parent.name}/{path.name}"] = (found.st_ino, found.st_size, found.st_mtime_ns)
        except OSError as error:
            refuse_exhaustion(error)
            raise _changed(self.folder) from error
        return stamps


def save_pool(pool: PairPool, folder: Path) -> None:
    """Write `pool` to `folder` as one .npy file per part; images that are already in a file are linked."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in _PARTS:
        file = folder / f"{part}.npy"
        if part == "images" and pool.images_file is not None and _linked(pool.images_file.absolute(), file):
            continue
        np.save(file, getattr(pool, part).cpu().numpy())
    if pool.folds is not None:
        np.save(folder / "folds.npy", pool.folds.cpu().numpy())
    (folder / _SEAL).write_text(json.dumps(_sums(folder)), encoding="utf-8")


def _linked(source: Path, file: Path) -> bool:
    """Link `file` to `source`; returns whether that worked."""
    # A hard link survives the removal of the original name, but does not work across file systems.
    for link in (file.hardlink_to, file.symlink_to):
        with contextlib.suppress(OSError, NotImplementedError):
            link(source)
            return True
    return False


def open_pool(folder: Path) -> PairPool:
    """The pool that `save_pool` wrote, memory-mapped: all processes that open it share its memory.

    Raises:
        StoreError: it differs from what was saved.
    """
    try:
        if json.loads((folder / _SEAL).read_text(encoding="utf-8")) != _sums(folder):
            raise _changed(folder)
        # Copy-on-write, since torch warns about read-only arrays; nothing writes to them.
        parts: dict[str, Any] = {
            part: torch.from_numpy(np.load(folder / f"{part}.npy", mmap_mode="c")) for part in _PARTS
        }
        if (folder / "folds.npy").exists():
            parts["folds"] = torch.from_numpy(np.load(folder / "folds.npy"))
    except (OSError, ValueError) as error:
        refuse_exhaustion(error)
        raise _changed(folder) from error
    return PairPool(**parts)


def _sums(folder: Path) -> dict[str, str]:
    """The checksum of each file of a pool, and its place, so that parts of different pools cannot be mixed up."""
    sums = {"place": f"{folder.parent.name}/{folder.name}"}
    return sums | {path.name: checksum_of(path) for path in folder.glob("*.npy")}


def checksum_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _changed(folder: Path) -> StoreError:
    return StoreError(
        f"the images and pairs of this run in {printable(str(folder))} were changed or removed during the run, "
        "so the round was discarded. Finished rounds are saved: run the same command again."
    )
