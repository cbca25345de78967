"""The interface of a tracker: what takes a run's events to a program that shows experiments, such as TensorBoard."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from pairbench.plugin.events import EpochFinished, RoundFinished, RunFinished, RunStarted


class Tracker(ABC):
    """Writes what a run does to an experiment tracker; chosen by `--track NAME`.

    It is made without arguments in a process of its own, which it may block, fill with output or crash: the run goes
    on, and a note says so. Its methods are called one after the other, `run_started` first and `close` last.

    name: what `--track` calls it.
    packages: the modules that it imports and that pairbench does not bring.
    install: the command that installs them.
    """

    name: ClassVar[str] = ""
    packages: ClassVar[tuple[str, ...]] = ()
    install: ClassVar[str] = ""

    @abstractmethod
    def run_started(self, run: RunStarted) -> None:
        """A run starts."""

    def epoch_finished(self, epoch: EpochFinished) -> None:  # noqa: B027 - a tracker may leave it out
        """A round has finished an epoch; called a few times a second at most, the record has every epoch."""

    def round_finished(self, finished: RoundFinished) -> None:  # noqa: B027
        """A round has ended, and its record is in the store."""

    def run_finished(self, finished: RunFinished) -> None:  # noqa: B027
        """The run is over. Not called where it is interrupted or cannot go on."""

    def close(self) -> None:  # noqa: B027
        """Write what is left and let everything go."""

    def place(self) -> str:
        """Where to look, in a few words; shown below the results."""
        return ""
