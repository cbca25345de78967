"""Which executor does a job, and what is made of its events: records reach the store whoever writes them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from pairbench.config.options import read
from pairbench.config.spec import split_words
from pairbench.errors import PairbenchError, SpecError, WorkerError
from pairbench.execution.plan import Job
from pairbench.plugin.executors import Executor, JobEvent, JobRefused, JobRound, JobTiming
from pairbench.plugin.gathering import shown
from pairbench.plugin.registry import Registry, reason_of
from pairbench.store.model_files import keep, model_path
from pairbench.store.record import STATUSES, key_of, misshapen
from pairbench.store.store import Store
from pairbench.text import quoted

CHOICE = "PAIRBENCH_EXECUTOR"
LOCAL, IN_PROCESS = "local", "in_process"


def chosen_executor(text: str | Executor | None, workers: int | None, registry: Registry) -> Executor:
    """The executor that `text` names with its options, such as "ray num_gpus=0.5"; None asks PAIRBENCH_EXECUTOR.

    Without a choice, `workers` decides: 0 means this process.

    Raises:
        SpecError: there is no such executor, an option is wrong, or the number of workers does not fit.
    """
    if isinstance(text, Executor):
        return text
    text = os.environ.get(CHOICE, "") if text is None else text
    name, _, rest = text.strip().partition(" ")
    name = name or (IN_PROCESS if workers == 0 else LOCAL)
    kind = registry.find_executor(name)
    if kind.name == LOCAL and workers == 0:
        raise SpecError("executor 'local' with 0 workers: use at least 1, or the executor in_process.")
    settings = {}
    for word in split_words(rest):
        option, equals, value = word.partition("=")
        if not equals:
            raise SpecError(f"executor {quoted(name)}: expected OPTION=VALUE after its name, got {quoted(word)}.")
        settings[option] = value
    return read(kind, "executor", settings)


def with_options(text: str | None, options: Sequence[str]) -> str | None:
    """`text`, or what PAIRBENCH_EXECUTOR holds, with more options, each KEY=VALUE.

    Raises:
        SpecError: there are options and no executor.
    """
    if not options:
        return text
    text = text or os.environ.get(CHOICE, "")
    if not text.strip():
        raise SpecError(f"--executor.{options[0].partition('=')[0]} without an executor: add --executor NAME.")
    return " ".join([text, *options])


def execute(executor: Executor, job: Job, store: Path) -> Generator[JobEvent, None, None]:
    """Let `executor` do `job`; every round that is yielded is in the store.

    Raises:
        StoreError: the store cannot be written.
        WorkerError: the executor failed, or ended before all rounds had.
    """
    left = {(task.config_index, index) for task in job.tasks for index in task.rounds}
    refused, place = False, Store(store)
    try:
        with contextlib.closing(_iterated(executor, job, store)) as events:
            for event in events:
                if not isinstance(event, JobEvent):
                    raise WorkerError(f"executor {quoted(executor.name)} gave {shown(event)}: expected a job event.")
                refused |= isinstance(event, JobRefused)
                if isinstance(event, JobRound):
                    left.discard((event.config_index, event.round_index))
                if not executor.writes_store:
                    _write(executor, job, place, event)
                yield event
    except (PairbenchError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise WorkerError(
            f"executor {quoted(executor.name)} failed: {reason_of(error)}. Finished rounds are saved: run the same "
            "command again to continue."
        ) from error
    if left and not refused:
        raise WorkerError(
            f"executor {quoted(executor.name)} ended without {len(left)} of the rounds. Finished rounds are saved: run "
            "the same command again to continue."
        )


def _iterated(executor: Executor, job: Job, store: Path) -> Generator[JobEvent, None, None]:
    """What `execute` gives, as something that can be closed."""
    events: Iterator[JobEvent] = iter(executor.execute(job, store))
    try:
        yield from events
    finally:
        close = getattr(events, "close", None)
        if close is not None:
            close()


def _write(executor: Executor, job: Job, store: Store, event: JobEvent) -> None:
    """Store what an executor without access to the store has sent, after checking that it is what was asked for."""
    if isinstance(event, JobTiming):
        store.write_timing({**event.timing, "config_id": job.configs[event.config_index].config_id})
    if not isinstance(event, JobRound):
        return
    planned, record = job.configs[event.config_index], event.record
    key = planned.round_keys()[event.round_index]
    if record.get("status") not in STATUSES or key_of(record) != key or misshapen(record):
        raise WorkerError(
            f"executor {quoted(executor.name)} gave a record of another round, data or code for round "
            f"{event.round_index} of {planned.name}. Use the same versions of pairbench and its plugins everywhere."
        )
    if event.model is not None and record["status"] == "finished":
        # Before the record, so that a round that is there has its model.
        keep(model_path(store, planned.config_id, event.round_index, key), event.model)
    store.write(record, replace=job.replace)
