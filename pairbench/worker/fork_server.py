"""The process that has torch loaded and forks a worker for each task; a line of JSON in, lines of JSON out.

Tasks of the same components that take less than a fork does share one; where it ends early, each is tried again alone.

It is single-threaded, so that forking is safe, and never touches CUDA itself. When its standard input closes, the
process that started it is gone, and it ends with all its workers.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from pairbench.errors import StoreError
from pairbench.execution.claims import SHARED
from pairbench.execution.plan import LocalJob, Task
from pairbench.training.complexity import Profile
from pairbench.worker.checks import check
from pairbench.worker.child import load_everything, work_through
from pairbench.worker.pools import prepare
from pairbench.worker.records import fail
from pairbench.worker.rounds import train_singly, train_unclaimed
from pairbench.worker.timings import take_timings_in_turn
from pairbench.worker.units import KILLED, Running, Unit, crash, ends

Event = dict[str, Any]
GRACE = 5.0
# How many tasks one worker may do.
MOST = 32


class Server:
    """Does one job."""

    def __init__(self, job: LocalJob, send: Callable[[Event], None], folder: Path) -> None:
        self.job, self.send, self.folder = job, send, folder
        self.profiles: dict[int, Profile] = {}
        self.broken: dict[int, dict[str, str]] = {}
        self.invalid = False
        # Where forking is not there or not safe, workers start afresh and load torch themselves.
        self._context: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
        self._ended: dict[int, set[int]] = {}
        self._elsewhere: list[Task] = []
        self._folders: dict[int, Path] = {}
        self._waiting: deque[Unit] = deque()
        self._made = 0

    def run(self) -> None:
        """Check and prepare, then train, then take timings with nothing else running."""
        job = self.job
        folders: dict[int, Path] = {}
        units = [self._checks(job.concerned())]
        for number, configs in enumerate(job.dataset_groups().values()):
            place = self.folder / f"pool-{number}"
            folders |= dict.fromkeys(configs, place)
            units.append(self._prepares(configs, place))
        self._run(units, max(2, job.workers))
        unknown = [n for n in folders if n not in self.profiles and n not in self.broken]
        if not self.invalid and unknown:
            self._run([self._checks([number]) for number in unknown], job.workers)
        if self.invalid:
            return
        self.send({"event": "ready"})
        for task in job.tasks:
            if task.config_index in self.broken:
                self._fail(task, task.rounds, self.broken[task.config_index])
        ready = [task for task in job.tasks if task.config_index not in self.broken]
        ready.sort(key=self._cost, reverse=True)
        self._folders = folders
        self._run([self._trains(task, folders[task.config_index]) for task in ready], job.workers)
        if self._elsewhere:
            self.send({"event": "note", "message": SHARED})
        while self._elsewhere and not self.invalid:
            tasks, self._elsewhere = self._elsewhere, []
            self._run([self._trains(task, folders[task.config_index], wait=True) for task in tasks], job.workers)
        timed = [number for number in job.timed if number not in self.broken]
        if timed:
            self._run([Unit(partial(take_timings_in_turn, job, timed), self._untimed)], 1)

    def _cost(self, task: Task) -> float:
        """Rough work in a task; the longest start first, so that no core idles at the end."""
        train = self.job.configs[task.config_index].config.train
        return self.profiles[task.config_index].flops_per_pair * train.epochs * len(task.rounds)

    def _checks(self, numbers: list[int]) -> Unit:
        def crashed(error: dict[str, str]) -> None:
            # One that crashes takes the others' checks with it; alone, each is checked again.
            if len(numbers) == 1:
                self._take({"event": "broken", "config_index": numbers[0], "error": error})

        return Unit(partial(check, self.job, numbers), crashed)

    def _prepares(self, numbers: list[int], place: Path) -> Unit:
        def crashed(error: dict[str, str]) -> None:
            for number in numbers:
                self._take({"event": "broken", "config_index": number, "error": error})

        return Unit(partial(prepare, self.job, numbers, place), crashed)

    def _trains(self, task: Task, place: Path, *, wait: bool = False, again: bool = False) -> Unit:
        work = partial(train_unclaimed, self.job, task, place, self.profiles[task.config_index], wait=wait)

        def crashed(error: dict[str, str]) -> None:
            ended = self._ended.get(task.config_index, set()).union(
                *(other.rounds for other in self._elsewhere if other.config_index == task.config_index)
            )
            left = tuple(index for index in task.rounds if index not in ended)
            several = (len(task.rounds) > 1 or again) and not self.job.configs[
                task.config_index
            ].config.train.carry_over
            if several and left and not again and error["reason"].startswith(KILLED):
                # Where somebody killed it, the stack as it was gives the same bits; for want of memory it ends again.
                rest = Task(task.config_index, left)
                self._waiting.appendleft(self._trains(rest, place, wait=wait, again=True))
            elif several and left:
                # Alone, each round shows whether it is the one that takes its process along.
                train_singly(self.job, place, task.config_index, f"stacked, the worker ended: {error['reason']}")
                self._split(task.config_index, left)
            else:
                self._fail(task, left, error)

        limit = self.job.round_timeout
        types = [type(component) for component in self.job.configs[task.config_index].config.components().values()]
        kin = (
            None
            if wait or again
            else " ".join([str(place), *(f"{kind.__module__}.{kind.__qualname__}" for kind in types)])
        )
        return Unit(work, crashed, limit * len(task.rounds) if limit else None, kin)

    def _untimed(self, error: dict[str, str]) -> None:
        self.send({"event": "note", "message": f"no timing: {error['reason']}"})

    def _split(self, config_index: int, rounds: Iterable[int]) -> None:
        """Train `rounds` one by one, before anything else."""
        singles = [
            self._trains(Task(config_index, (index,)), self._folders[config_index], wait=False) for index in rounds
        ]
        self._waiting.extendleft(reversed(singles))

    def _fail(self, task: Task, rounds: Iterable[int], error: dict[str, str]) -> None:
        for index in rounds:
            self._take(fail(self.job, task.config_index, index, error))

    def _take(self, event: Event) -> None:
        """Note what an event says, and pass it on."""
        kind = event["event"]
        if kind == "profiled":
            self.profiles[event["config_index"]] = Profile(**event["profile"])
        elif kind == "broken":
            self.broken[event["config_index"]] = event["error"]
        elif kind == "invalid":
            self.invalid = True
        elif kind == "round":
            self._ended.setdefault(event["config_index"], set()).add(event["round"])
        elif kind == "elsewhere":
            self._elsewhere.append(Task(event["config_index"], tuple(event["rounds"])))
        elif kind == "split":
            self._split(event["config_index"], event["rounds"])
        if kind not in ("elsewhere", "waiting", "split"):
            self.send(event)

    def _run(self, units: list[Unit], at_once: int) -> None:
        self._waiting, running = deque(units), list[Running]()
        while (self._waiting or running) and not self.invalid:
            while self._waiting and len(running) < at_once:
                running.append(self._start(self._next(at_once)))
            self._wait(running)
            for one in [one for one in running if self._over(one)]:
                running.remove(one)
        for one in running:
            one.process.kill()
            one.process.join()

    def _next(self, at_once: int) -> list[Unit]:
        """What the next worker does: the first that waits, and its kin if there is enough for all workers."""
        units = [self._waiting.popleft()]
        most = min(MOST, len(self._waiting) // (2 * at_once))
        while units[0].kin is not None and len(units) < most and self._waiting[0].kin == units[0].kin:
            units.append(self._waiting.popleft())
        return units

    def _start(self, units: list[Unit]) -> Running:
        self._made += 1
        log = self.folder / f"log-{self._made}"
        receive, send = self._context.Pipe(duplex=False)
        works = [unit.work for unit in units]
        process = self._context.Process(target=work_through, args=(works, send, log, self.job.memory_mib), daemon=True)
        process.start()
        send.close()
        return Running(units, process, receive, log)

    def _wait(self, running: list[Running]) -> None:
        """Sleep until a worker says something or ends, a timeout is due, or the parent is gone."""
        limits = [one.since + one.timeout for one in running if one.timeout]
        patience = max(0.0, min(limits) - time.monotonic()) if limits else None
        things: list[Any] = [one.pipe for one in running if not one.pipe.closed]
        ready = wait([*things, *(one.process.sentinel for one in running), sys.stdin.fileno()], patience)
        if sys.stdin.fileno() in ready:
            for one in running:
                one.process.kill()
            shutil.rmtree(self.folder, ignore_errors=True)
            os._exit(1)

    def _over(self, one: Running) -> bool:
        """Take what a worker has said; whether it has ended."""
        alive, closed = one.process.is_alive(), False
        try:
            while one.pipe.poll():
                event = one.pipe.recv()
                if event["event"] == "worker_done":
                    one.finished = True
                elif event["event"] == "unit_done":
                    one.units.pop(0)
                    one.begun, one.since = one.begun + 1, time.monotonic()
                elif event["event"] == "store_error":
                    raise StoreError(event["message"])
                else:
                    if event["event"] in ("round", "waiting"):
                        one.since = time.monotonic()
                    self._take(event)
        except (EOFError, OSError):
            closed = True
        reason = ""
        if alive and (closed or one.finished):
            # Nothing more can come; a thread or a handler of a component must not keep the whole run waiting.
            if not ends(one.process, GRACE):
                one.process.kill()
                reason = "the worker closed its pipe and did not end"
            alive = False
        if alive and one.timeout and time.monotonic() - one.since > one.timeout:
            one.process.kill()
            reason = f"a round took more than {one.timeout:g} s (--round-timeout)"
            alive = False
        if alive:
            return False
        one.process.join()
        one.pipe.close()
        if not one.finished and one.units and one.begun == 1:
            one.units.pop(0).crashed(crash(one, reason))
        elif not one.finished and one.units:
            # What was done before in the same process may be to blame.
            one.units[0] = replace(one.units[0], kin=None)
        self._waiting.extendleft(reversed(one.units))
        one.log.unlink(missing_ok=True)
        return True


def main() -> None:
    """Read a job and a scratch folder from standard input, do the job, and say "end"."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    order = json.loads(sys.stdin.readline())
    job = LocalJob.from_json(order["job"])

    def send(event: Event) -> None:
        out.write(json.dumps(event, allow_nan=False) + "\n")

    load_everything()
    try:
        Server(job, send, Path(order["scratch"])).run()
        send({"event": "end"})
    except StoreError as error:
        send({"event": "store_error", "message": str(error)})


if __name__ == "__main__":
    main()
