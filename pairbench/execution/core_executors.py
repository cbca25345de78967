"""The executors of the core, which it brings by the same hook as a plugin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pairbench.plugin.executors import Executor, JobEvent
from pairbench.plugin.hooks import hookimpl

if TYPE_CHECKING:
    from pairbench.execution.plan import Job


class Local(Executor):
    """Worker processes on this machine: a crash, or a round that takes too long, takes one round with it."""

    name = "local"
    writes_store: ClassVar[bool] = True

    def execute(self, job: Job, store: Path) -> Iterator[JobEvent]:
        """Train in `job.workers` processes."""
        from pairbench.execution.local import run_workers

        return run_workers(job, store)


class InProcess(Executor):
    """This process: for notebooks, debuggers, and components that no plugin brings."""

    name = "in_process"
    writes_store: ClassVar[bool] = True

    def execute(self, job: Job, store: Path) -> Iterator[JobEvent]:
        """Train one round after the other."""
        from pairbench.worker.inprocess import run_here

        return run_here(job, store)


@hookimpl
def pairbench_executors() -> list[type[Executor]]:
    """The two executors that need nothing but this machine."""
    return [Local, InProcess]
