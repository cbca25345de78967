"""The executor without worker processes: for notebooks, debuggers, and components that no plugin brings."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Generator
from pathlib import Path
from typing import Any

import torch

from pairbench.execution.claims import SHARED
from pairbench.execution.job_events import typed
from pairbench.execution.plan import Job, LocalJob, Task
from pairbench.plugin.executors import JobEvent
from pairbench.training.complexity import Profile
from pairbench.worker.channel import Channel
from pairbench.worker.checks import check
from pairbench.worker.pools import prepare
from pairbench.worker.records import fail
from pairbench.worker.rounds import train_unclaimed
from pairbench.worker.timings import take_timings_in_turn


def run_here(job: Job, store: Path) -> Generator[JobEvent, None, None]:
    """Do `job` in this process, one thing after the other, on as many threads as a worker has."""
    threads = torch.get_num_threads()
    torch.set_num_threads(job.threads)
    try:
        with tempfile.TemporaryDirectory(prefix="pairbench-") as folder:
            yield from filter(None, map(typed, _steps(LocalJob.of(job, store), Path(folder))))
    finally:
        torch.set_num_threads(threads)


def _steps(job: LocalJob, folder: Path) -> Generator[dict[str, Any], None, None]:
    events: list[dict[str, Any]] = []
    emit = Channel(events.append)
    check(job, job.concerned(), emit)
    folders: dict[int, Path] = {}
    for place, numbers in enumerate(job.dataset_groups().values()):
        if not any(event["event"] == "invalid" for event in events):
            prepare(job, numbers, folder / str(place), emit)
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
                events.append(fail(job, task.config_index, index, broken[task.config_index]))
        else:
            # Epoch events arrive with their round here; only worker processes tell them live.
            train_unclaimed(job, task, folders[task.config_index], profiles[task.config_index], emit, wait=wait)
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
        take_timings_in_turn(job, timed, emit)
        yield from (event for event in events if event["event"] != "waiting")
