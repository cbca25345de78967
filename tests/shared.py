"""Folders that are made once for a whole test run, whichever of its processes needs them first."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

# Set by conftest.py before the processes of a run start, so that test ids with paths in them are the same in all.
RUN_FOLDER = "PAIRBENCH_TESTS_FOLDER"


def shared_folder(name: str, make: Callable[[Path], object]) -> Path:
    """The folder `name` of this test run, filled by `make` where it is not there yet."""
    place = Path(os.environ[RUN_FOLDER])
    with (place / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / name).exists():
            # Half a folder is none: the name stands for a whole one.
            draft = Path(tempfile.mkdtemp(dir=place))
            make(draft)
            draft.rename(place / name)
    return place / name
