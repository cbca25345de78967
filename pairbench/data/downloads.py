"""Guards for torchvision's downloads: no file without a checksum, and nothing unpacked outside its folder."""

from __future__ import annotations

import contextlib
import stat
import tarfile
import zipfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

from pairbench.errors import DataError
from pairbench.text import printable, quoted


@contextlib.contextmanager
def checked_downloads() -> Generator[None]:
    """Within this block torchvision rejects downloads whose checksum is unknown or wrong, and unpacks archives
    only into their folder.

    torchvision leaves both to the caller: it accepts a file without a checksum, and before Python 3.14 the names of an
    archive's members determine where they are written.
    """
    from torchvision.datasets import utils

    extractors: dict[str, Any] = utils._ARCHIVE_EXTRACTORS
    before, check = dict(extractors), utils.check_integrity

    def checked(path: str | Path, md5: str | None = None) -> bool:
        if md5 is None:
            raise DataError(
                f"no checksum is known for {quoted(Path(path).name)}. Download it manually and inspect it first."
            )
        return bool(check(path, md5))

    extractors.update({".tar": unpack_tar, ".zip": unpack_zip})
    utils.check_integrity = checked
    try:
        yield
    finally:
        utils.check_integrity = check
        extractors.update(before)


def unpack_tar(archive: str | Path, folder: str | Path, compression: str | None = None) -> None:
    """Unpack a tar archive into `folder`; nothing is written if a member is outside of it, or is not a plain file, a
    folder, or a link between those.

    Raises:
        DataError: a member is refused.
    """
    with tarfile.open(archive, f"r:{compression[1:]}" if compression else "r:") as opened:  # type: ignore[call-overload]
        try:
            for member in opened.getmembers():
                tarfile.data_filter(member, str(folder))
        except tarfile.FilterError as error:
            raise _refused(archive, str(error)) from None
        opened.extractall(folder, filter="data")


def unpack_zip(archive: str | Path, folder: str | Path, _compression: str | None = None) -> None:
    """Unpack a zip archive into `folder`; nothing is written if a member is outside of it or is a link.

    Raises:
        DataError: a member is refused.
    """
    root = Path(folder).resolve()
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            name = member.filename.replace("\\", "/")
            inside = (root / name).resolve().is_relative_to(root) and ".." not in name.split("/") and ":" not in name
            if name.startswith("/") or not inside:
                raise _refused(archive, f"{printable(name, 60)} would be outside its folder")
            if stat.S_ISLNK(member.external_attr >> 16):
                raise _refused(archive, f"{printable(name, 60)} is a link")
        opened.extractall(root)


def _refused(archive: str | Path, reason: str) -> DataError:
    return DataError(f"archive {quoted(Path(archive).name)} is not unpacked: {printable(reason, 200)}. Delete it.")
