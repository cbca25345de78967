"""The executor without worker processes: for notebooks, debuggers, and components that no plugin brings."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Generator
from pathlib import Path
from typing import Any

import torch

from pairbench.execution.claims import SHARED
from pairbench.execution.plan import Job, Task
from pairbench.training.complexity import Profile
from pairbench.worker import steps as worker


def run_here(job: Job) -> Generator[dict[str, Any], None, None]:
    """Do `job` in this process, one thing after the other, on as many threads as a worker has."""
    threads = torch.get_num_threads()
    torch.set_num_threads(job.threads)
    try:
        with tempfile.TemporaryDirectory(prefix="pairbench-") as folder:
            yield from _steps(job, Path(folder))
    finally:
        torch.set_num_threads(threads)


def _steps(job: Job, folder: Path) -> Generator[dict[str, Any], None, None]:
    events: list[dict[str, Any]] = []
    worker.check(job, job.concerned(), events.append)
    folders: dict[int, Path] = {}
    for place, numbers in enumerate(job.dataset_groups().values()):
        if not any(event["event"] == "invalid" for event in events):
            worker.prepare(job, numbers, folder / str(place), events.append)
            folders |= dict.fromkeys(numbers, folder / str(place))
    yield from events
    if any(event["event"] == "invalid" for event in events):
        return
    yield {"event": "ready"}
    broken = {event["config_index"]: event["error"] for event in events if event["event"] == "broken"}
    profiles = {event["config_index"]: Profile(**event["profile"]) for event in events if event["event"] == "profiled"}
    tasks, told = deque((task, False) for task in job.tasks), False
    while tasks:
        task, wait = tasks.popleft()
        events.clear()
        if task.config_index in broken:
            for index in task.rounds:
                events.append(worker.fail(job, task.config_index, index, broken[task.config_index]))
        else:
            # Epoch events arrive with their round here; only worker processes tell them live.
            worker.train_unclaimed(
                job, task, folders[task.config_index], profiles[task.config_index], events.append, wait=wait
            )
        for event in events:
            if event["event"] == "elsewhere":
                tasks.append((Task(event["config_index"], tuple(event["rounds"])), True))
                if not told:
                    yield {"event": "note", "message": SHARED}
                told = True
            elif event["event"] == "split":
                tasks.extendleft((Task(event["config_index"], (index,)), False) for index in reversed(event["rounds"]))
            elif event["event"] != "waiting":
                yield event
    timed = [number for number in job.timed if number not in broken]
    if timed:
        events.clear()
        worker.take_timings_in_turn(job, timed, events.append)
        yield from (event for event in events if event["event"] != "waiting")
