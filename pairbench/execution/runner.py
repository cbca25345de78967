"""From words or typed configs to results: resolve, plan, execute, and read back what the store has."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pairbench.config.run_config import RunConfig, resolve
from pairbench.config.spec import expand, parse, split_words
from pairbench.config.suite import Entry, find_suite
from pairbench.environment import cores, machine
from pairbench.errors import MismatchError, SpecError
from pairbench.execution.announcing import Announcer, epoch_finished, round_finished, run_finished, run_started
from pairbench.execution.executors import IN_PROCESS, chosen_executor, execute
from pairbench.execution.plan import Job, PlannedConfig, cut, kept, pending, planned_config, unkept
from pairbench.execution.tracking import Tracking, chosen_trackers
from pairbench.plugin.accelerator_choice import allowed
from pairbench.plugin.accelerator_records import outdated
from pairbench.plugin.events import DataProgressed, RunStarted
from pairbench.plugin.executors import Executor, JobData, JobEpoch, JobNote, JobReady, JobRefused, JobRound
from pairbench.plugin.notify import heard_by
from pairbench.plugin.registry import Registry, installed
from pairbench.results.results import Result, Results
from pairbench.store.known_rounds import Known
from pairbench.store.store import Store
from pairbench.text import printable

# How long trackers may take where a run is interrupted or cannot go on.
STOPPED_SECONDS = 5.0


@dataclass(frozen=True)
class Plan:
    """The configs of a run, the suite's entry of each (None without a suite), and the suite's name."""

    configs: tuple[PlannedConfig, ...]
    entries: tuple[Entry | None, ...]
    suite: str | None


def run(
    *words: str | RunConfig,
    suite: str | None = None,
    only: Sequence[str] = (),
    store: str | Path | None = None,
    workers: int | None = None,
    timing: bool = True,
    fresh: bool = False,
    retry_failed: bool = False,
    keep_models: bool = False,
    round_timeout: float | None = None,
    memory_limit: float | None = None,
    executor: str | Executor | None = None,
    track: str | Sequence[str] | None = None,
    display: Any = None,
) -> Results:
    """Train and evaluate configs, and give back their results.

    Args:
        words: a spec, such as "encoder=deep_cnn", "loss=aux,cross_entropy"; or RunConfig objects.
        suite: the name of a suite or a TOML file; `words` then lie over each of its entries.
        only: the entries of the suite to take; all where it is empty.
        store: the folder of the records; else PAIRBENCH_STORE, else pairbench-results.
        workers: processes that train at once; 0 trains in this process; None takes one for each core.
        timing: whether speed is measured after training.
        fresh: train again what the store has.
        retry_failed: train again what has failed before.
        keep_models: keep the trained model of each round beside its record; a round that is there without its model
            is trained again for it, and its record stays.
        round_timeout: seconds after which a round is stopped and counted as failed.
        memory_limit: MiB that a worker process may allocate, beyond which its round fails; None leaves it most of what
            the machine has. Linux alone counts.
        executor: where rounds are trained, with its options, such as "local", "in_process" or "ray num_gpus=0.5"; None
            takes the one that PAIRBENCH_EXECUTOR names, else worker processes on this machine.
        track: trackers that log the run, such as "tensorboard" or ["mlflow", "wandb"]; None takes those that
            PAIRBENCH_TRACK names, and "" none.
        display: an object with event hooks, such as a progress display.

    Raises:
        InputError: the words, the suite or the data are wrong, or a tracker cannot be used; nothing has been trained.
        StoreError: the store cannot be read or written; finished rounds are kept.
        WorkerError: the worker processes could not be started.
    """
    registry = installed()
    place = Store(store)
    run = Run(Plan((), (), None), place, registry, display, track)
    with run.listening():
        run.plan = make_plan(words, suite=suite, only=only, registry=registry)
    return run.go(
        workers=workers,
        timing=timing,
        fresh=fresh,
        retry_failed=retry_failed,
        keep_models=keep_models,
        round_timeout=round_timeout,
        memory_limit=memory_limit,
        executor=executor,
    )


def make_plan(
    words: Sequence[str | RunConfig],
    *,
    suite: str | None = None,
    only: Sequence[str] = (),
    registry: Registry,
) -> Plan:
    """The configs that `words` and `suite` ask for.

    Raises:
        SpecError: a word or the suite is wrong, or two of them are the same config.
    """
    typed = [word for word in words if isinstance(word, RunConfig)]
    text = [word for item in words if isinstance(item, str) for word in split_words(item)]
    if only and suite is None:
        raise SpecError("--only names entries of a suite, and there is none. Add --suite NAME.")
    if typed and (text or suite):
        raise SpecError("RunConfig objects stand alone: give either objects, or words and a suite.")
    found: list[tuple[str, Entry | None, RunConfig]]
    if suite is not None:
        whole = find_suite(suite, registry)
        found = list(whole.only(only).configs(text, registry))
        name = whole.name
    else:
        configs = typed or [resolve(settings, registry) for settings in expand(parse(text))]
        found, name = [(str(config), None, config) for config in configs], None
    return plan_of(found, name, registry)


def plan_of(found: Sequence[tuple[str, Entry | None, RunConfig]], suite: str | None, registry: Registry) -> Plan:
    """The plan of named configs, each with the suite's entry that it comes from.

    Raises:
        SpecError: two of them are the same config.
        DataError: the data of one cannot be had.
    """
    seen: dict[str, str] = {}
    digests: dict[str, str] = {}
    configs = []
    for label, _, config in found:
        key = f"{config.dataset.name} {config.dataset!r}"
        if key not in digests:
            digests[key] = config.data()
        planned = planned_config(label, config, digests[key], registry)
        if planned.config_id in seen:
            other = printable(seen[planned.config_id], 60)
            raise SpecError(
                f"{printable(label, 60)} and {other} are the same config. Leave one of them out of the run."
            )
        seen[planned.config_id] = label
        configs.append(planned)
    return Plan(tuple(configs), tuple(entry for _, entry, _ in found), suite)


class Run:
    """One run: what it still has to do, and the events that it tells."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        registry: Registry,
        display: Any = None,
        track: str | Sequence[str] | None = None,
    ) -> None:
        self.plan, self.store, self.registry = plan, store, registry
        self.notes: list[str] = []
        self._tracking = Tracking(chosen_trackers(track, registry), self._note)
        listeners = [self._tracking] if display is None else [display, self._tracking]
        self._tell = Announcer(registry.manager, listeners, self._note).tell

    def go(
        self,
        *,
        workers: int | None,
        timing: bool,
        fresh: bool,
        retry_failed: bool,
        round_timeout: float | None,
        memory_limit: float | None = None,
        keep_models: bool = False,
        executor: str | Executor | None = None,
    ) -> Results:
        """Do what is left, and give back everything."""
        if workers is not None and workers < 0:
            raise SpecError(f"workers={workers}: expected a whole number of at least 0.")
        if round_timeout is not None and not 0 < round_timeout < math.inf:
            raise SpecError(f"round timeout {round_timeout}: expected a number of seconds above 0.")
        if memory_limit is not None and not 0 < memory_limit < math.inf:
            raise SpecError(f"memory limit {memory_limit}: expected a number of MiB above 0.")
        allowed(installed())
        started = time.time()
        configs = self.plan.configs
        scan = self.store.read({planned.config_id for planned in configs})
        known = Known.of(record for record in scan.records if not outdated(record))
        left = pending(configs, known, fresh=fresh, retry_failed=retry_failed)
        if keep_models:
            left = self._with_unkept(left, known)
        self.store.set_aside(scan.damaged)
        self.notes += [
            f"{path} was damaged ({reason}): it is set aside, and its round is trained anew where this run asks for it"
            for path, reason in scan.damaged.items()
        ]
        chosen = chosen_executor(executor, workers, self.registry)
        here = chosen.name == IN_PROCESS
        count = 0 if here else cores() if workers is None else workers
        if not here and not all(self._travels(planned) for planned in configs):
            raise SpecError(
                "a component of this run belongs to no installed plugin, so worker processes cannot find it. "
                "Use workers=0, or bring it by an entry point of the group 'pairbench'."
            )
        job = Job(
            configs,
            cut(configs, left),
            tuple(self._untimed(fresh)) if timing else (),
            self.plan.suite,
            count,
            round_timeout,
            replace=fresh,
            started=started,
            memory_mib=memory_limit,
            keep_models=keep_models,
        )
        begun = run_started(job, self.store.root.resolve(), left)
        try:
            if job.tasks or job.timed:
                self._execute(chosen, job, begun)
                self.store.tidy({planned.config_id for planned in configs})
            else:
                self._tell("pairbench_run_started", run=begun)
            results = self._results(timing, keep_models)
            finished = run_finished(begun.run_id, results, time.time() - started)
            self._tell("pairbench_run_finished", results=results, finished=finished)
        finally:
            # After Ctrl-C or an error the trackers get a moment to write what they have.
            self._tracking.close(STOPPED_SECONDS)
        return replace(results, notes=tuple(self.notes))

    def _with_unkept(self, left: list[list[int]], known: Known) -> list[list[int]]:
        """The rounds that are left, and those that are there without their model."""
        lacking = unkept(self.store, self.plan.configs, known)
        again = sum(len(set(more) - set(rounds)) for rounds, more in zip(left, lacking, strict=True))
        if again:
            self.notes.append(
                f"{again} {'rounds were' if again > 1 else 'round was'} in the store without a sound model: trained "
                "again for it; the records stay as they are"
            )
        return [sorted({*rounds, *more}) for rounds, more in zip(left, lacking, strict=True)]

    def _travels(self, planned: PlannedConfig) -> bool:
        return all(origin.plugin for origin in planned.config.origins(self.registry).values())

    def _untimed(self, fresh: bool) -> list[int]:
        """The configs that have no timing of this machine yet."""
        return [
            number
            for number, planned in enumerate(self.plan.configs)
            if fresh or self._timing(planned.config_id) is None
        ]

    def _timing(self, config_id: str) -> dict[str, Any] | None:
        here = machine()
        same = [
            timing
            for timing in self.store.timings(config_id)
            if all(timing.get("environment", {}).get(name) == value for name, value in here.items())
        ]
        return same[-1] if same else None

    def _execute(self, executor: Executor, job: Job, started: RunStarted) -> None:
        refused = []
        # Closed on every way out, so that Ctrl-C or an error leaves no worker behind.
        with self.listening(), contextlib.closing(execute(executor, job, self.store.root.resolve())) as stream:
            for event in stream:
                match event:
                    case JobRefused():
                        refused.append(event)
                    case JobReady():
                        self._tell("pairbench_run_started", run=started)
                    case JobEpoch():
                        self._tell("pairbench_epoch_finished", epoch=epoch_finished(started, event))
                    case JobData():
                        self._progressed(event.done, event.total, event.what)
                    case JobRound():
                        finished = round_finished(self.store, event)
                        self._tell("pairbench_round_finished", record=event.record, finished=finished)
                    case JobNote():
                        self._note(event.message)
        refuse_invalid(refused, started.names)

    def listening(self) -> contextlib.AbstractContextManager[None]:
        """While this holds, what datasets tell in this process is shown, and what they note is kept."""
        last = 0.0

        def progress(done: int, total: int, what: str) -> None:
            nonlocal last
            if time.monotonic() - last > 0.1 or done == total:
                last = time.monotonic()
                self._progressed(done, total, what)

        return heard_by(progress, self._note)

    def _progressed(self, done: int, total: int, what: str) -> None:
        self._tell("pairbench_data_progressed", progress=DataProgressed(what, done, total))

    def _note(self, message: str) -> None:
        if message not in self.notes:
            self.notes.append(message)

    def _results(self, timing: bool, keep_models: bool = False) -> Results:
        items = []
        scan = self.store.read({planned.config_id for planned in self.plan.configs})
        known = Known.of(scan.records)
        for planned, entry in zip(self.plan.configs, self.plan.entries, strict=True):
            records = tuple(record for key in planned.round_keys() if (record := known.record(key)) is not None)
            items.append(
                Result(
                    planned.name,
                    planned.config_id,
                    planned.config.flat(),
                    records,
                    self._timing(planned.config_id) if timing else None,
                    dict(entry.published) if entry else {},
                    entry.note if entry else "",
                )
            )
        models: dict[str, dict[int, Path]] = {}
        if keep_models:
            models = {planned.config_id: kept(self.store, planned) for planned in self.plan.configs}
            self.notes += [
                f"kept models of {name}: {len(files)}, in {self.store.root / name}" for name, files in models.items()
            ]
        return Results(tuple(items), self.store.root, scan.damaged, notes=tuple(self.notes), models=models)


def refuse_invalid(refused: Sequence[JobRefused], names: Sequence[str]) -> None:
    """Raise what the first of `refused` says, and how many more there are.

    Raises:
        MismatchError: there is one.
    """
    if refused:
        label = f"{printable(names[refused[0].config_index], 80)}: " if len(names) > 1 else ""
        more = f" ({len(refused) - 1} more cannot run either.)" if len(refused) > 1 else ""
        raise MismatchError(label + refused[0].message + more)
