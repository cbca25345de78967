"""A lock on a file, which the kernel releases when the process that holds it ends, for whatever reason."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def waiting_for(path: Path, *, required: bool = False) -> Iterator[None]:
    """Wait for the lock on the file `path`, which is made where it is not there, and hold it within this block.

    Args:
        required: whether a file system without locks is an error; else nothing is waited for there, as on Windows.

    Raises:
        OSError: the file cannot be made, or there is no lock where one is required.
    """
    with path.open("a") as file:
        with contextlib.suppress(ImportError, *(() if required else (OSError,))):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Claim:
    """A lock on one file, held until `release` or the end of this process."""

    def __init__(self, path: Path, handle: int | None) -> None:
        self._path, self._handle = path, handle

    @classmethod
    def take(cls, path: Path) -> Claim | None:
        """The claim on `path`; None if another process holds it.

        Raises:
            OSError: the folder cannot be written.
        """
        try:
            import fcntl
        except ImportError:
            return cls(path, None)
        while True:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                return None
            except OSError:
                # A file system without locks: nothing to wait for.
                os.close(handle)
                path.unlink(missing_ok=True)
                return cls(path, None)
            # The previous holder may have removed the file since we opened it; then our lock is worthless.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), path.stat()):
                    return cls(path, handle)
            os.close(handle)

    def release(self) -> None:
        """Release the lock and remove its file."""
        if self._handle is not None:
            # Removed before it is released, so that nobody can lock a file that has been removed.
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
            os.close(self._handle)
            self._handle = None
