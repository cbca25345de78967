"""The body of a worker process: it does a few things, one after the other, and says so through a pipe."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from pairbench.errors import StoreError
from pairbench.timing.peak_memory import forget_peak
from pairbench.worker.channel import Channel
from pairbench.worker.process import die_with_parent, hold_memory

# The seconds after which a worker begins nothing else.
BRIEF = 0.5
Event = dict[str, Any]


def work_through(works: list[Callable[[Channel], None]], pipe: Connection, log: Path, memory_mib: float | None) -> None:
    """The body of a worker process."""
    die_with_parent()
    hold_memory(memory_mib)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, null), (1, handle), (2, handle)):
        os.dup2(source, target)
    import faulthandler

    faulthandler.enable(file=2, all_threads=False)
    try:
        _do(works, pipe.send)
    except StoreError as error:
        pipe.send({"event": "store_error", "message": str(error)})
    pipe.send({"event": "worker_done"})


def _do(works: list[Callable[[Channel], None]], send: Callable[[Event], None]) -> None:
    """Do `works` one after the other, until that has taken long enough or a round has failed."""
    started, failed = time.monotonic(), False

    def told(event: Event) -> None:
        nonlocal failed
        failed |= event["event"] == "round" and event["record"]["status"] == "failed"
        send(event)

    for place, work in enumerate(works):
        if place:
            forget_peak()
        work(Channel(told, used=place > 0))
        send({"event": "unit_done"})
        if failed or time.monotonic() - started > BRIEF:
            return


def load_everything() -> None:
    """Pay now, once, for what torch loads late: its first optimiser brings in the whole compiler."""
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    # A worker that looks for garbage writes to all that it looks at, and so has the kernel copy it: leave out what is
    # here already, which takes longer than many a round.
    gc.collect()
    gc.freeze()
