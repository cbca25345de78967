"""How much memory a worker may allocate, so that a component that takes more fails its own rounds and no others."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

SHARE = 0.8
_MIB = 2**20
_CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def machine_bytes() -> int | None:
    """The memory that this machine, or the container that this process is in, has; None where nothing tells."""
    found = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        found.append(next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal:")))
    for path in _CGROUPS:
        with contextlib.suppress(OSError, ValueError):
            found.append(int(Path(path).read_text()))
    return min(found, default=None)


def limit_memory(mib: float | None) -> None:
    """Let this process allocate `mib` MiB more than it has now; None stands for four fifths of the machine's memory.

    What goes beyond raises MemoryError, or torch's RuntimeError. Only Linux counts allocations as such; elsewhere this
    does nothing. Should the machine run out of memory all the same, Linux ends this process before others.
    """
    if sys.platform != "linux":
        return
    import resource

    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("800")
    total = machine_bytes()
    allowed = mib * _MIB if mib is not None else SHARE * total if total else None
    if allowed is None:
        return
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    soft = int(_data_bytes() + allowed)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _data_bytes() -> int:
    """What the kernel counts as this process's data by now."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))
    return 0
