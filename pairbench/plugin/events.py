"""What a run reports while it goes: values that are handed to plugins in the process that the user started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class DataProgressed:
    """A dataset is getting its data ready, before anything trains.

    what: what it does, such as "decoding images".
    done: how many steps of it are done.
    total: how many there are.
    """

    what: str
    done: int
    total: int


@dataclass(frozen=True)
class ConfigStarted:
    """One config of a run that starts.

    name: how the run or the suite calls it.
    config_id: what it is known by in the store.
    options: every option, defaults included, by its key in a spec.
    rounds: how many rounds are asked for.
    pending: the rounds that are left to train, by their index; the others are in the store.
    epochs: epochs in a round.
    """

    name: str
    config_id: str
    options: Mapping[str, Any]
    rounds: int
    pending: tuple[int, ...]
    epochs: int


@dataclass(frozen=True)
class RunStarted:
    """The run is planned.

    run_id: different for each run, and sorted by time.
    suite: the name of the suite; None without one.
    store: the folder of the records.
    configs: the configs of the run; other events give an index into them.
    timed: how many of them have their speed measured afterwards.
    workers: processes that train at once; 0 trains in the process that the user started.
    """

    run_id: str
    suite: str | None
    store: Path
    configs: tuple[ConfigStarted, ...]
    timed: int
    workers: int

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each config."""
        return tuple(config.name for config in self.configs)

    @property
    def pending(self) -> tuple[int, ...]:
        """How many rounds of each config are left to train."""
        return tuple(len(config.pending) for config in self.configs)

    @property
    def epochs(self) -> tuple[int, ...]:
        """Epochs in a round of each config."""
        return tuple(config.epochs for config in self.configs)

    @property
    def total_epochs(self) -> int:
        """Epochs that are left in the whole run."""
        return sum(len(config.pending) * config.epochs for config in self.configs)


@dataclass(frozen=True)
class EpochFinished:
    """A round has finished an epoch; reported a few times a second at most, and always for the last epoch.

    config_index: index into RunStarted.configs.
    round_index: the round, from 0.
    config_id: what the config is known by in the store.
    epoch: the epoch, from 1.
    epochs: how many epochs the round has.
    figures: what is known of the epoch, by the name of its curve in a record, such as "train.total_loss" and
        "test.accuracy"; a curve that has no point at this epoch is missing.
    """

    config_index: int
    round_index: int
    config_id: str
    epoch: int
    epochs: int
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def loss(self) -> float:
        """Mean total training loss of the epoch."""
        return self.figures["train.total_loss"]

    @property
    def accuracy(self) -> float | None:
        """Accuracy on the test pairs after it; None where it was not evaluated."""
        return self.figures.get("test.accuracy")

    @property
    def config(self) -> int:
        """The first name of `config_index`, for plugins that were written for it."""
        return self.config_index

    @property
    def round(self) -> int:
        """The first name of `round_index`, for plugins that were written for it."""
        return self.round_index


@dataclass(frozen=True)
class RoundFinished:
    """A round has ended, whatever its status, and its record is in the store.

    config_index: index into RunStarted.configs.
    round_index: the round, from 0.
    config_id: what the config is known by in the store.
    record_id: the record's file below the store, without its ending.
    status: "finished", "diverged" or "failed".
    record: the record, as the store holds it.
    """

    config_index: int
    round_index: int
    config_id: str
    record_id: str
    status: str
    record: Mapping[str, Any]


@dataclass(frozen=True)
class ConfigFinished:
    """What one config of the run came to, rounds that were in the store before included.

    name: how the run or the suite calls it.
    config_id: what it is known by in the store.
    rounds: how many rounds have each status: "finished", "diverged" and "failed".
    summary: for each metric, its "mean", "std", "low" and "high" (the 95% interval of the mean) and "rounds".
    cost: parameters, FLOPs per pair, and the medians of what a round took; empty where no round has ended.
    timing: the speed on this machine; None where it was not measured.
    """

    name: str
    config_id: str
    rounds: Mapping[str, int]
    summary: Mapping[str, Mapping[str, float | None]]
    cost: Mapping[str, Any]
    timing: Mapping[str, Any] | None


@dataclass(frozen=True)
class RunFinished:
    """The run is over.

    run_id: that of RunStarted.
    seconds: how long the run took.
    exit_code: 0, or 1 where a round failed.
    configs: what each config came to, in the order of RunStarted.configs.
    """

    run_id: str
    seconds: float
    exit_code: int
    configs: tuple[ConfigFinished, ...]
