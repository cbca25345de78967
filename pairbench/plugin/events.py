"""The events of a run, which are passed to plugins in the process that the user started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class DataProgressed:
    """A dataset has made progress in preparing its data, before training starts.

    what: the current activity, such as "decoding images".
    done: how many of its steps are done.
    total: how many there are.
    """

    what: str
    done: int
    total: int


@dataclass(frozen=True)
class ConfigStarted:
    """One config of a run that starts.

    name: its name in the run or suite.
    config_id: its id in the store.
    options: every option, defaults included, by its key in a spec.
    rounds: how many rounds are requested.
    pending: the indices of the rounds that are left to train; the others are in the store.
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
    """The run starts, and its rounds are planned.

    run_id: unique; sorting by it sorts runs by time.
    suite: the name of the suite; None without one.
    store: the folder of the records.
    configs: the configs of the run; other events give an index into them.
    timed: how many of them are timed afterwards.
    workers: how many processes train; 0 trains in the process that the user started.
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
    config_id: the config's id in the store.
    epoch: the epoch, from 1.
    epochs: how many epochs the round has.
    figures: the values of this epoch by the name of their curve in a record, such as "train.total_loss" and
        "test.accuracy"; curves without a value for this epoch are missing.
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
        """Accuracy on the test pairs after it; None if they were not evaluated."""
        return self.figures.get("test.accuracy")

    @property
    def config(self) -> int:
        """The old name of `config_index`, for plugins that use it."""
        return self.config_index

    @property
    def round(self) -> int:
        """The old name of `round_index`, for plugins that use it."""
        return self.round_index


@dataclass(frozen=True)
class RoundFinished:
    """A round is over, whatever its status, and its record is in the store.

    config_index: index into RunStarted.configs.
    round_index: the round, from 0.
    config_id: the config's id in the store.
    record_id: the path of the record's file in the store, without its suffix.
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
    """The results of one config of the run, including rounds that were in the store before.

    name: its name in the run or suite.
    config_id: its id in the store.
    rounds: how many rounds have each status: "finished", "diverged" and "failed".
    summary: for each metric, its "mean", "std", "low" and "high" (the 95% interval of the mean) and "rounds".
    cost: parameters, FLOPs per pair, and the median cost of a round; empty if no round is over.
    timing: the speed on this machine; None if it was not measured.
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
    exit_code: 0, or 1 if a round failed.
    configs: the results of each config, in the order of RunStarted.configs.
    """

    run_id: str
    seconds: float
    exit_code: int
    configs: tuple[ConfigFinished, ...]
