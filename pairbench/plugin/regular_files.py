"""Files named in lists: found despite differences in spelling, and opened only if they are regular files."""

from __future__ import annotations

import os
import stat
import unicodedata
from io import BufferedReader
from pathlib import Path

from pairbench.errors import refuse_exhaustion
from pairbench.text import printable

MAX_BYTES = 2**30


class UnusableError(Exception):
    """A file that cannot be used; the message is a short reason."""


def open_regular(path: str) -> BufferedReader:
    """The regular file at `path`, opened for reading; never blocks on a pipe or a device.

    Raises:
        UnusableError: there is no such file, it is not a regular file, or it is not readable.
        StoreError: this process has no more files or memory.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    try:
        # Checked also before opening, since opening a device may have side effects.
        _check(Path(path).stat())
        handle = os.open(path, flags | getattr(os, "O_NOCTTY", 0))
    except (OSError, ValueError) as error:
        raise UnusableError(why_unusable(error)) from error
    try:
        _check(os.fstat(handle))
    except BaseException:
        os.close(handle)
        raise
    return os.fdopen(handle, "rb")


def _check(info: os.stat_result) -> None:
    if not stat.S_ISREG(info.st_mode):
        raise UnusableError("is a folder" if stat.S_ISDIR(info.st_mode) else "is not a regular file")
    if info.st_size > MAX_BYTES:
        raise UnusableError(f"has more than {MAX_BYTES // 2**20} MiB")
    if not info.st_size:
        raise UnusableError("is empty")


def why_unusable(error: Exception) -> str:
    """The reason that a file cannot be read, in a few words.

    Raises:
        StoreError: this process has no more files or memory, which says nothing about the file.
    """
    refuse_exhaustion(error)
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "is missing"
    if isinstance(error, PermissionError):
        return "may not be read"
    return printable(getattr(error, "strerror", None) or str(error), 80)


def name_on_disk(folder: str, name: str) -> str:
    """The actual name of the file in `folder` that a list calls `name`; `name` itself if there is no such file.

    Lists may come from other systems: with backslashes, or with accents in a different Unicode form than the file name.
    """
    if "\\" not in name and name.isascii():
        return name
    slashes = name if os.sep == "\\" else name.replace("\\", "/")
    forms = [unicodedata.normalize(form, slashes) for form in ("NFC", "NFD")]
    for found in (name, slashes, *forms):
        if os.path.lexists(f"{folder}/{found}"):
            return found
    return slashes
