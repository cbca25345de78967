"""Checks of an executor: it trains a few small rounds, whose figures have to be those of this process."""

from __future__ import annotations

import pickle
import tempfile
import time
from pathlib import Path

from pairbench.config.run_config import resolve
from pairbench.config.spec import expand, parse
from pairbench.errors import DataError, SpecError
from pairbench.execution.executors import execute
from pairbench.execution.plan import Job, Task, planned_config
from pairbench.plugin.executors import Executor, JobEvent, JobReady, JobRound
from pairbench.plugin.registry import installed
from pairbench.testing.kit import broken

_WORDS = (
    "dataset.train_pairs=40 dataset.validation_pairs=20 dataset.test_pairs=20 train.epochs=1 train.rounds=2 "
    "train.engine=loop train.device=cpu encoder=mlp,cnn"
)


def executor_is_documented(executor: Executor) -> None:
    """The class and each option have a description."""
    kind = type(executor)
    if not kind.summary():
        raise broken(f"{kind.__name__} has no docstring", "Say in a sentence where it trains")
    for option, text in kind.option_texts().items():
        if not text.strip():
            raise broken(f"option '{option}' has no description", f"Add a line '{option}: ...' to the docstring")


def every_round_is_trained_as_here(executor: Executor) -> None:
    """Each round of two configs is yielded once, is in the store, and has the figures of this process."""
    job = _job()
    expected = _trained(installed().find_executor("in_process")(), job)
    found = _trained(executor, job)
    for place, record in expected.items():
        if place not in found:
            raise broken(f"round {place[1]} of config {place[0]} is not yielded", "Yield a JobRound for every round")
        if found[place]["metrics"] != record["metrics"]:
            raise broken(
                f"round {place[1]} of config {place[0]} has other figures than in this process",
                "Train with pairbench.run_tasks, and pass the job on as it is",
            )


def training_starts_once(executor: Executor) -> None:
    """JobReady comes once, before the first round."""
    kinds = [type(event) for event in _events(executor, _job())]
    if kinds.count(JobReady) != 1 or kinds.index(JobReady) > kinds.index(JobRound):
        raise broken("JobReady does not come once, before the first round", "Yield it before training starts")


def an_interrupted_run_ends(executor: Executor, most: float = 60.0) -> None:
    """When its iterator is closed after the first event, it returns soon, after `most` seconds at the latest."""
    with tempfile.TemporaryDirectory() as folder:
        events = execute(executor, _job(), Path(folder))
        next(events)
        started = time.monotonic()
        events.close()
        seconds = time.monotonic() - started
    if seconds > most:
        raise broken(f"it took {seconds:.0f} s to stop", "Stop what is running in a `finally`")


def _trained(executor: Executor, job: Job) -> dict[tuple[int, int], dict[str, dict[str, float]]]:
    """The record of each round."""
    rounds = [event for event in _events(executor, job) if isinstance(event, JobRound)]
    places = [(event.config_index, event.round_index) for event in rounds]
    for place in places:
        if places.count(place) > 1:
            raise broken(f"round {place[1]} of config {place[0]} is yielded twice", "Yield each round once")
    return {place: event.record for place, event in zip(places, rounds, strict=True)}


def _events(executor: Executor, job: Job) -> list[JobEvent]:
    with tempfile.TemporaryDirectory() as folder:
        return list(execute(executor, job, Path(folder)))


def _job() -> Job:
    """Two rounds each of two small configs, as it arrives on another machine.

    Raises:
        DataError: the components that it uses are not installed.
    """
    registry = installed()
    try:
        configs = [resolve(settings, registry) for settings in expand(parse(_WORDS.split()))]
    except SpecError as error:
        raise DataError(f"the kit trains bundled components, and cannot: {error}") from None
    planned = tuple(planned_config(str(config), config, config.data(), registry) for config in configs)
    tasks = tuple(Task(number, (index,)) for number in range(len(planned)) for index in range(2))
    job: Job = pickle.loads(pickle.dumps(Job(planned, tasks, workers=2)))
    return job
