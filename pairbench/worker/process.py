"""How a worker process behaves: within its memory, and no longer than its parent."""

from __future__ import annotations

import os
import sys

import torch

from pairbench.execution.memory_limit import limit_memory


def hold_memory(mib: float | None) -> None:
    """Keep this worker from taking all memory; not beside CUDA, whose driver reserves more than there is."""
    if not torch.cuda.is_available():
        limit_memory(mib)


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies, however it dies."""
    if sys.platform == "linux":
        import ctypes
        import signal

        parent = os.getppid()
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
