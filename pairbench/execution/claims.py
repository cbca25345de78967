"""Which live process trains which round: a lock beside the records, which the kernel lets go when its holder ends.

Two runs that want the same rounds share them: each trains what the other has not claimed, and picks up the other's
records. A claim is a lock on a file, so it needs no clean-up after a crash and no clock; it works between processes of
one machine. Where there are no such locks, both runs train, and the first record of a round stands.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from pairbench.execution.plan import Job, Task
from pairbench.plugin.accelerator_records import outdated
from pairbench.store.locks import Claim
from pairbench.store.model_files import is_sound, model_path
from pairbench.store.record import Record
from pairbench.store.store import Store

PAUSE = 0.2
SHARED = "another run on the same store was training some of these rounds at the same time; they are shared"
Emit = Callable[[dict[str, Any]], None]


@contextlib.contextmanager
def claimed(job: Job, task: Task, emit: Emit, *, wait: bool = False) -> Iterator[Task]:
    """The part of `task` that is left for this process to train, claimed while the context lasts.

    A round that ended since the plan was made is told as a "round" event; one that another process is training as
    "elsewhere". With `wait`, waits until there is something to train or to tell, and says "waiting" meanwhile.

    Raises:
        StoreError: the store cannot be written.
    """
    store, planned = Store(job.store), job.configs[task.config_index]
    keys = planned.round_keys()
    # A model that is carried over goes from round to round in one process: the first round stands for all.
    whole = planned.config.train.carry_over
    held: dict[int, Claim] = {}
    try:
        while True:
            for index in task.rounds[:1] if whole else task.rounds:
                claim = store.claim(planned.config_id, index, keys[index])
                if claim is not None:
                    held[index] = claim
            if held or not wait:
                break
            emit({"event": "waiting"})
            time.sleep(PAUSE)
        mine = task.rounds if whole and held else tuple(held)
        away = tuple(index for index in task.rounds if index not in mine)
        if away:
            emit({"event": "elsewhere", "config_index": task.config_index, "rounds": list(away)})
        ended = {} if job.replace else _ended(store, job, task.config_index, mine)
        if not whole or len(ended) == len(mine):
            for index, record in ended.items():
                emit({"event": "round", "config_index": task.config_index, "round": index, "record": record})
                if index in held:
                    held.pop(index).release()
            mine = tuple(index for index in mine if index not in ended)
        yield Task(task.config_index, mine)
    finally:
        for claim in held.values():
            claim.release()


def _ended(store: Store, job: Job, number: int, rounds: tuple[int, ...]) -> dict[int, Record]:
    """The records of `rounds` that are there by now: finished or diverged, or failed since the run started."""
    planned = job.configs[number]
    keys = planned.round_keys()
    found = {}
    for index in rounds:
        record = store.ended(planned.config_id, index, keys[index], job.started)
        if record is None or outdated(record):
            continue
        if not (job.keep_models and _lacks_model(store, job, number, record)):
            found[index] = record
    return found


def _lacks_model(store: Store, job: Job, number: int, record: Record) -> bool:
    """Whether a round has ended with figures and its model is not there."""
    planned = job.configs[number]
    path = model_path(store, record["config_id"], record["round"], planned.round_keys()[record["round"]])
    return record["status"] == "finished" and not is_sound(path)


@contextlib.contextmanager
def alone(job: Job, emit: Emit) -> Iterator[None]:
    """Wait until no other run on this store takes timings, and keep others waiting while the context lasts."""
    store = Store(job.store)
    while (claim := store.claim_timing()) is None:
        emit({"event": "waiting"})
        time.sleep(PAUSE)
    try:
        yield
    finally:
        claim.release()


def untimed(job: Job, numbers: list[int]) -> list[int]:
    """Those of the configs `numbers` that no other run has timed since this one started."""
    store = Store(job.store)
    return [
        number for number in numbers if job.replace or not store.timed_since(job.configs[number].config_id, job.started)
    ]
