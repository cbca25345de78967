"""What a run tells while it goes: frozen values that cross from workers to the process that shows them."""

from __future__ import annotations

from dataclasses import dataclass


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
class RunStarted:
    """The run is planned.

    names: the name of each config.
    pending: how many rounds of each config are left to train.
    epochs: epochs in a round of each config.
    workers: processes that train at once.
    """

    names: tuple[str, ...]
    pending: tuple[int, ...]
    epochs: tuple[int, ...]
    workers: int

    @property
    def total_epochs(self) -> int:
        """Epochs that are left in the whole run."""
        return sum(rounds * epochs for rounds, epochs in zip(self.pending, self.epochs, strict=True))


@dataclass(frozen=True)
class EpochFinished:
    """A round has finished an epoch.

    config: index into RunStarted.names.
    round: the round's number, from 0.
    epoch: the epoch's number, from 1.
    epochs: how many epochs the round has.
    loss: mean total training loss of the epoch.
    accuracy: accuracy on the test pairs after it; None where it was not evaluated.
    """

    config: int
    round: int
    epoch: int
    epochs: int
    loss: float
    accuracy: float | None
