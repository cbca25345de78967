"""Handing the events of a run to the display, the trackers and the plugins, none of which can spoil it."""

from __future__ import annotations

import copy
import datetime
import inspect
import secrets
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pairbench.execution.plan import Job
from pairbench.plugin.events import ConfigFinished, ConfigStarted, EpochFinished, RoundFinished, RunFinished, RunStarted
from pairbench.plugin.executors import JobEpoch, JobRound
from pairbench.plugin.hook_calls import GuardedManager, Watcher, watched_by
from pairbench.plugin.registry import reason_of
from pairbench.results.results import Result, Results
from pairbench.store.record import STATUSES
from pairbench.store.store import Store

# The files that call plugins: the frame after theirs is the plugin's own.
_CALLERS = ("hook_calls.py", "tracker_process.py")


class Announcer(Watcher):
    """Calls event hooks: first those of `listeners`, which are objects with methods of their names, then the plugins'.

    note: called with a line about each plugin that fails in a hook, the first time that it does.
    """

    def __init__(self, manager: GuardedManager, listeners: Sequence[object], note: Callable[[str], None]) -> None:
        self._manager, self._listeners, self._note = manager, listeners, note
        self._failed: set[str] = set()

    def tell(self, hook: str, **values: Any) -> None:
        """Call `hook` with `values`."""
        for listener in self._listeners:
            method = getattr(listener, hook, None)
            if method is not None:
                wanted = inspect.signature(method).parameters
                method(**copy.deepcopy({name: value for name, value in values.items() if name in wanted}))
        with watched_by(self):
            getattr(self._manager.hook, hook)(**values)

    def taken(self, values: Sequence[Any]) -> Sequence[Any]:
        """Copies, since what a plugin does to its record must reach neither the results nor the next plugin."""
        return copy.deepcopy(values)

    def failed(self, plugin: str, hook: str, error: BaseException) -> None:
        place = f"plugin {plugin} failed in {hook}{where(error)}"
        if place not in self._failed:
            self._failed.add(place)
            self._note(f"{place}: {reason_of(error)}")


def where(error: BaseException) -> str:
    """The line of the plugin from which `error` came, in brackets after a space; "" where it is not the plugin's."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).name not in _CALLERS]
    return f" ({Path(frames[0].filename).name}:{frames[0].lineno})" if frames else ""


def run_started(job: Job, store: Path, left: Sequence[Sequence[int]]) -> RunStarted:
    """The event of a run that is about to do `job`; `left` has the rounds of each config that are left."""
    configs = tuple(
        ConfigStarted(
            planned.name,
            planned.config_id,
            planned.config.flat(),
            planned.config.train.rounds,
            tuple(rounds),
            planned.config.train.epochs,
        )
        for planned, rounds in zip(job.configs, left, strict=True)
    )
    now = datetime.datetime.now(datetime.UTC)
    run_id = f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
    return RunStarted(run_id, job.suite, store, configs, len(job.timed), job.workers)


def epoch_finished(run: RunStarted, event: JobEpoch) -> EpochFinished:
    """The event of an epoch, from what the executor reports."""
    config = run.configs[event.config_index]
    figures = {"train.total_loss": event.loss, "test.accuracy": event.accuracy}
    return EpochFinished(
        event.config_index,
        event.round_index,
        config.config_id,
        event.epoch,
        config.epochs,
        {name: value for name, value in figures.items() if value is not None},
    )


def round_finished(store: Store, event: JobRound) -> RoundFinished:
    """The event of a round that has ended, from what the executor reports."""
    record = event.record
    # The file of a failed round has a random part in its name besides.
    file = store.path(record | {"status": "finished"})
    return RoundFinished(
        event.config_index,
        record["round"],
        record["config_id"],
        file.relative_to(store.root).with_suffix("").as_posix(),
        record["status"],
        record,
    )


def run_finished(run_id: str, results: Results, seconds: float) -> RunFinished:
    """The event of a run that is over."""
    configs = tuple(_config_finished(result) for result in results)
    return RunFinished(run_id, seconds, 1 if results.failed else 0, configs)


def _config_finished(result: Result) -> ConfigFinished:
    statuses = [record["status"] for record in result.records]
    return ConfigFinished(
        result.name,
        result.config_id,
        {status: statuses.count(status) for status in STATUSES},
        {metric: asdict(summary) for metric, summary in result.summary.items()},
        result.cost,
        result.timing,
    )
