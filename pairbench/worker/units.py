"""A worker process as its server sees it: what it has to do, whether it has ended, and how."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pairbench.worker.channel import Channel

KILLED = "the worker was killed by SIGKILL"


@dataclass
class Unit:
    """Something that one worker process does.

    work: called in the worker with a function that sends events.
    crashed: called here with an explanation where the worker ended without having finished.
    kin: units that share it may be done by one worker, one after the other; None is done alone.
    """

    work: Callable[[Channel], None]
    crashed: Callable[[dict[str, str]], None]
    timeout: float | None = None
    kin: str | None = None


@dataclass
class Running:
    """A worker process, its pipe and the file that holds what it printed.

    units: what it has left to do, what it is at first.
    begun: how many it has been at.
    """

    units: list[Unit]
    process: Any
    pipe: Connection
    log: Path
    since: float = field(default_factory=time.monotonic)
    finished: bool = False
    begun: int = 1

    @property
    def timeout(self) -> float | None:
        """The seconds that it may take for what it is at."""
        return self.units[0].timeout if self.units else None


def ends(process: Any, seconds: float) -> bool:
    """Whether `process` ends within `seconds`; its own `join` waits for ever where a component has closed its pipes."""
    limit = time.monotonic() + seconds
    while process.is_alive():
        if time.monotonic() > limit:
            return False
        time.sleep(0.01)
    return True


def crash(one: Running, reason: str) -> dict[str, str]:
    """Why a worker ended, and the last that it printed."""
    code = one.process.exitcode
    if not reason and code is not None and code < 0:
        with contextlib.suppress(ValueError):
            reason = f"the worker was killed by {signal.Signals(-code).name}"
        if reason == KILLED:
            reason += ", often for want of memory"
    printed = one.log.read_text(errors="replace")[-8000:] if one.log.exists() else ""
    return {"reason": reason or f"the worker exited with code {code}", "traceback": printed}
