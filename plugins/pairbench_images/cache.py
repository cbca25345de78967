"""The cache of decoded images; it may be deleted at any time."""

from __future__ import annotations

import errno
import shutil
import time
from contextlib import suppress
from pathlib import Path

from pairbench import StoreError

STALE_SECONDS = 24 * 3600


def made(place: Path) -> Path:
    """`place`, created if missing.

    Raises:
        StoreError: it cannot be created.
    """
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(place, error) from error
    return place


def unwritable(place: Path, error: OSError) -> StoreError:
    """The error for a cache that cannot be written."""
    fix = "Make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "Fix that"
    return StoreError(
        f"decoded images cannot be cached in {place} ({error.strerror or error}). {fix}, or set PAIRBENCH_CACHE to "
        "another folder, and run the same command again."
    )


def sweep(place: Path) -> None:
    """Delete leftovers of interrupted runs in `place` that are more than a day old."""
    for left in place.glob("tmp-*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(left)
