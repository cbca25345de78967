"""Training without a store: for executors whose workers cannot reach the one of the run."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pairbench.execution.plan import Job, Task
from pairbench.plugin.executors import JobEvent, JobReady, JobRound
from pairbench.store.model_files import model_path
from pairbench.store.store import Store
from pairbench.worker.inprocess import run_here


def run_tasks(job: Job, tasks: Sequence[Task]) -> Iterator[JobEvent]:
    """Train `tasks`, some of `job.tasks`, in this process, and yield what happens.

    Works in any process with the same packages and data, and leaves nothing behind: records and models come as values.
    Speed is not measured.

    Raises:
        StoreError: there is no room for the pools in the temporary folder.
    """
    part = replace(job, tasks=tuple(tasks), timed=(), workers=0)
    with tempfile.TemporaryDirectory(prefix="pairbench-", ignore_cleanup_errors=True) as folder:
        store = Store(folder)
        for event in run_here(part, Path(folder)):
            if isinstance(event, JobReady):
                continue
            if isinstance(event, JobRound) and job.keep_models:
                planned = job.configs[event.config_index]
                key = planned.round_keys()[event.round_index]
                path = model_path(store, planned.config_id, event.round_index, key)
                event = replace(event, model=path.read_bytes() if path.is_file() else None)
            yield event
