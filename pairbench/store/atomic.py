"""Writing a file whole or not at all: the one place where drafts are written, synced and given their names."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from pairbench.store.locks import waiting_for

# What a file system answers that has no hard links, or no way to sync a folder.
NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
DRAFT = ".tmp"


@contextlib.contextmanager
def draft_of(path: Path, suffix: str = DRAFT) -> Iterator[Path]:
    """A hidden name next to `path` that nobody else uses; whatever lies there afterwards is removed."""
    draft = path.parent / f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}{suffix}"
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def write_synced(path: Path, content: bytes) -> None:
    """Write a new file and wait until the disk has it."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A draft to write, which takes the place of `path` when the block ends; if the block fails, it is removed.

    Raises:
        OSError: the draft cannot be renamed.
    """
    with draft_of(path) as draft:
        yield draft
        draft.replace(path)


def replace_file(path: Path, content: bytes, *, sync: bool = True) -> None:
    """Write `content` to `path`, where it takes the place of what was there; a reader sees the old file or the new one.

    Args:
        sync: whether the file survives a loss of power; False where it may be made again at any time.

    Raises:
        OSError: it cannot be written; what was there is as it was.
    """
    with replacing(path) as draft:
        if sync:
            write_synced(draft, content)
        else:
            draft.write_bytes(content)


def name_first(draft: Path, path: Path) -> bool:
    """Give `draft` its final name unless that is taken; whether it was free. The first writer wins.

    Raises:
        OSError: the folder cannot be written.
    """
    try:
        os.link(draft, path)
        return True
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
    # No hard links here (some network and FAT file systems): writers take turns, and the first finds the name free.
    with waiting_for(path.parent / ".lock", required=True):
        if path.exists():
            return False
        draft.rename(path)
        return True


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in `folder`, where the file system can do that."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # The files themselves are synced.
        if error.errno not in {errno.EINVAL, errno.EBADF, *NO_LINKS}:
            raise
    finally:
        os.close(handle)
