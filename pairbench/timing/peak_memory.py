"""The most memory that this process has held."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import torch


def peak_mib() -> float:
    """The most memory that this process has had resident, in MiB; on CUDA the most that torch has allocated."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 2**20
    if sys.platform == "win32":
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def forget_peak() -> None:
    """Let `peak_mib` count from here on; where the system cannot, it counts from the start."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
    elif sys.platform == "linux":
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
