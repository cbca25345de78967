"""Everything outside the config that a result depends on: machine, versions, threads, device."""

from __future__ import annotations

import functools
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pairbench.errors import SpecError
from pairbench.text import printable

PACKAGES = ("torch", "torchvision", "timm", "numpy", "llvmlite", "pairbench")


def cores() -> int:
    """The number of CPU cores available to this process."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def user_cache(name: str = "") -> Path:
    """The folder `name` in the cache folder: PAIRBENCH_CACHE, else pairbench's folder in the user's cache.

    It may not exist yet, and users may delete it at any time.
    """
    own = os.environ.get("PAIRBENCH_CACHE")
    folder = Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "pairbench"
    return folder.expanduser() / name


def seconds_from(variable: str, default: float) -> float:
    """The number of seconds in an environment variable; `default` if it is not set or empty.

    Raises:
        SpecError: it is no number above 0.
    """
    text = os.environ.get(variable) or str(default)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise SpecError(f"{variable}={printable(text, 40)}: expected a number of seconds above 0.")
    return seconds


def package_version(name: str) -> str | None:
    """The installed version of a distribution, without importing it."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


@functools.cache
def processor() -> str:
    """The processor's name, as reported by the system."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@functools.cache
def processor_flags() -> str:
    """The instruction sets of the processor, as Linux lists them; "" elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(("flags", "Features"))), "")


@functools.cache
def machine() -> dict[str, Any]:
    """Python, system, processor, cores and package versions; imports none of the packages."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": cores(),
        **{name: package_version(name) for name in PACKAGES},
    }
