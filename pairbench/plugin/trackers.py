"""The interface of a tracker, which passes the events of a run on to a program such as TensorBoard."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from pairbench.plugin.events import EpochFinished, RoundFinished, RunFinished, RunStarted


class Tracker(ABC):
    """Logs a run to an experiment tracker; selected by `--track NAME`.

    It is created without arguments in a process of its own. If it blocks, prints or crashes there, the run continues
    and a note says so. Its methods are called one after the other, `run_started` first and `close` last.

    name: its name for `--track`.
    packages: the modules that it imports and that do not come with pairbench.
    install: the command that installs them.
    """

    name: ClassVar[str] = ""
    packages: ClassVar[tuple[str, ...]] = ()
    install: ClassVar[str] = ""

    @abstractmethod
    def run_started(self, run: RunStarted) -> None:
        """A run starts."""

    def epoch_finished(self, epoch: EpochFinished) -> None:  # noqa: B027 - optional
        """A round has finished an epoch; called at most a few times a second. The record has every epoch."""

    def round_finished(self, finished: RoundFinished) -> None:  # noqa: B027
        """A round is over, and its record is in the store."""

    def run_finished(self, finished: RunFinished) -> None:  # noqa: B027
        """The run is over. Not called if it is interrupted or cannot continue."""

    def close(self) -> None:  # noqa: B027
        """Write what is left and release all resources."""

    def place(self) -> str:
        """Where to find the logged run, in a few words; shown below the results."""
        return ""
