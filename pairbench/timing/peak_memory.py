"""The peak memory of this process."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import torch


def peak_mib() -> float:
    """The peak resident memory of this process in MiB; on CUDA, the peak that torch has allocated."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 2**20
    if sys.platform == "win32":
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def forget_peak() -> None:
    """Reset the peak of `peak_mib`; if the system cannot, it counts from the start of the process."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
    elif sys.platform == "linux":
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
