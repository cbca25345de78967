"""What there is to do: the rounds that the store does not have, cut into tasks for workers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any, Self

from pairbench.config.run_config import RunConfig, canonical, from_flat
from pairbench.plugin.registry import Registry
from pairbench.seeds import round_seed
from pairbench.store.known_rounds import Known
from pairbench.store.model_files import is_sound, model_path
from pairbench.store.record import Context, round_key
from pairbench.store.store import Store


@dataclass(frozen=True)
class PlannedConfig:
    """One config of a run: its name, and what its rounds depend on."""

    name: str
    config: RunConfig
    context: Context

    @cached_property
    def config_id(self) -> str:
        """The config's id with the data and weights of this run, whatever becomes of their files meanwhile."""
        return self.context.id_of(self.config)

    def round_keys(self) -> list[str]:
        """The key of each round that is asked for."""
        train = self.config.train
        return [
            round_key(self.config_id, number, round_seed(train.seed, number), self.context)
            for number in range(train.rounds)
        ]

    @property
    def dataset_key(self) -> str:
        """Members with the same key see the same pools."""
        dataset, code = self.config.dataset, self.context.code.get("dataset")
        return canonical([dataset.name, dataset.values(), self.config.train.seed, self.context.data, code])


def planned_config(name: str, config: RunConfig, data: str, registry: Registry) -> PlannedConfig:
    """`config` as part of a run here and now; `data` is the digest of its data.

    Raises:
        DataError: the weights of its encoder cannot be read.
    """
    return PlannedConfig(name, config, Context.of(config, data, registry))


@dataclass(frozen=True)
class Task:
    """Rounds of one config that one worker trains."""

    config_index: int
    rounds: tuple[int, ...]


@dataclass(frozen=True)
class Job:
    """All that an executor needs: picklable, and without anything that means something on one machine alone.

    configs: the configs, by index.
    tasks: the rounds to train.
    timed: the configs whose speed is to be measured.
    suite: the name of the suite, for records.
    workers: processes that may train at once.
    round_timeout: seconds after which a round counts as failed.
    threads: threads of torch in a worker.
    replace: whether records that are in the store are trained again.
    repeats: repeats of each measurement of speed.
    started: when the plan was made, in seconds since 1970; what others have written since counts as this run's.
    memory_mib: what a worker may allocate; None leaves it most of what the machine has.
    modes: ways to answer that are timed besides.
    timing_seconds: when to stop timing; None takes all repeats.
    keep_models: whether the trained model of each round is kept beside its record.
    """

    configs: tuple[PlannedConfig, ...]
    tasks: tuple[Task, ...]
    timed: tuple[int, ...] = ()
    suite: str | None = None
    workers: int = 1
    round_timeout: float | None = None
    threads: int = 1
    replace: bool = False
    repeats: int = 11
    modes: tuple[str, ...] = ()
    timing_seconds: float | None = None
    started: float = field(default_factory=time.time)
    memory_mib: float | None = None
    keep_models: bool = False

    def to_json(self) -> dict[str, Any]:
        """This job as plain values."""
        return {
            "configs": [
                {"name": m.name, "config": m.config.qualified(), "data": m.context.data, "code": m.context.code}
                for m in self.configs
            ],
            "tasks": [[task.config_index, list(task.rounds)] for task in self.tasks],
            "timed": list(self.timed),
            "suite": self.suite,
            "workers": self.workers,
            "round_timeout": self.round_timeout,
            "threads": self.threads,
            "replace": self.replace,
            "repeats": self.repeats,
            "modes": list(self.modes),
            "timing_seconds": self.timing_seconds,
            "started": self.started,
            "memory_mib": self.memory_mib,
            "keep_models": self.keep_models,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any], registry: Registry | None = None) -> Self:
        """The job that `to_json` wrote."""
        configs = tuple(
            PlannedConfig(m["name"], from_flat(m["config"], registry), Context(m["data"], m["code"]))
            for m in value["configs"]
        )
        tasks = tuple(Task(config_index, tuple(rounds)) for config_index, rounds in value["tasks"])
        rest = {key: item for key, item in value.items() if key not in ("configs", "tasks", "timed")}
        return cls(configs, tasks, tuple(value["timed"]), **rest | {"modes": tuple(value["modes"])})

    def concerned(self) -> list[int]:
        """The configs that have rounds to train or a timing to take."""
        return sorted({task.config_index for task in self.tasks} | set(self.timed))

    def dataset_groups(self) -> dict[str, list[int]]:
        """The configs that have rounds to train, by the pools that they see."""
        groups: dict[str, list[int]] = {}
        for number in sorted({task.config_index for task in self.tasks}):
            groups.setdefault(self.configs[number].dataset_key, []).append(number)
        return groups


@dataclass(frozen=True)
class LocalJob(Job):
    """A job whose workers write to a store on their own machine.

    store: the folder of the records.
    """

    store: str = ""

    @classmethod
    def of(cls, job: Job, store: Path) -> LocalJob:
        """`job`, with the store at `store`."""
        parts = {item.name: getattr(job, item.name) for item in fields(Job)}
        return cls(**parts, store=str(store.resolve()))

    def to_json(self) -> dict[str, Any]:
        """This job as plain values."""
        return super().to_json() | {"store": self.store}


def pending(configs: Sequence[PlannedConfig], known: Known, *, fresh: bool, retry_failed: bool) -> list[list[int]]:
    """The rounds of each config that are left to train."""
    left = []
    for planned in configs:
        rounds = [
            number
            for number, key in enumerate(planned.round_keys())
            if fresh or not (key in known.done or (key in known.failed and not retry_failed))
        ]
        left.append(rounds)
    return left


def cut(configs: Sequence[PlannedConfig], left: Sequence[Sequence[int]]) -> tuple[Task, ...]:
    """The rounds that are left as tasks: blocks that may be trained at once, and single rounds.

    Where the model is carried over, one task has the rounds up to the last that is left.
    """
    tasks = []
    for number, (planned, rounds) in enumerate(zip(configs, left, strict=True)):
        train = planned.config.train
        if rounds and train.carry_over:
            tasks.append(Task(number, tuple(range(max(rounds) + 1))))
        elif train.engine == "loop":
            tasks += [Task(number, (index,)) for index in rounds]
        else:
            tasks += [Task(number, block) for block in _blocks(rounds, block_size(planned.config))]
    return tuple(tasks)


def _blocks(rounds: Sequence[int], size: int) -> list[tuple[int, ...]]:
    return [tuple(block) for _, block in groupby(sorted(rounds), lambda index: index // size)]


def block_size(config: RunConfig) -> int:
    """How many rounds may be trained at once: few on a CPU, so that every core has some, and many on a GPU."""
    return 64 if config.train.device == "cuda" else 5


def block_of(task: Task, config: RunConfig) -> tuple[int, ...]:
    """All rounds of the block that `task` has rounds of: what is drawn in a block depends on the whole of it."""
    size = block_size(config)
    start = task.rounds[0] // size * size
    return tuple(range(start, min(start + size, config.train.rounds)))


def unkept(store: Store, configs: Sequence[PlannedConfig], known: Known) -> list[list[int]]:
    """The finished rounds of each config whose model is not there or is damaged."""
    return [
        [
            number
            for number, key in enumerate(planned.round_keys())
            if key in known.done
            and known.done[key]["status"] == "finished"
            and not is_sound(model_path(store, planned.config_id, number, key))
        ]
        for planned in configs
    ]


def kept(store: Store, planned: PlannedConfig) -> dict[int, Path]:
    """The file of each round's model that is there."""
    paths = {n: model_path(store, planned.config_id, n, key) for n, key in enumerate(planned.round_keys())}
    return {number: path for number, path in paths.items() if path.is_file()}
