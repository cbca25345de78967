"""The interface of an executor: where the work of a run happens; and the events that it yields."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pairbench.plugin.components import Options

if TYPE_CHECKING:
    from pairbench.execution.plan import Job


@dataclass(frozen=True)
class JobEvent:
    """What an executor yields: one of the classes below."""


@dataclass(frozen=True)
class JobReady(JobEvent):
    """Every config has been checked and its data is ready: training starts."""


@dataclass(frozen=True)
class JobRefused(JobEvent):
    """A config cannot be trained because of the user's input; the run ends with this message and exit code 2."""

    config_index: int
    message: str


@dataclass(frozen=True)
class JobBroken(JobEvent):
    """A config cannot be built.

    error: {"reason", "traceback"}.
    """

    config_index: int
    error: Mapping[str, str]


@dataclass(frozen=True)
class JobData(JobEvent):
    """A dataset reads its data: `done` of `total` steps; `what` is a few words, such as "decoding images"."""

    what: str
    done: int
    total: int


@dataclass(frozen=True)
class JobEpoch(JobEvent):
    """A round has finished an epoch, counted from 1; `accuracy` on the test pairs is None if it was not evaluated."""

    config_index: int
    round_index: int
    epoch: int
    loss: float
    accuracy: float | None = None


@dataclass(frozen=True)
class JobRound(JobEvent):
    """A round has ended: its record, and the file of its model as bytes where `keep_models` asks for it."""

    config_index: int
    round_index: int
    record: dict[str, Any]
    model: bytes | None = None


@dataclass(frozen=True)
class JobTiming(JobEvent):
    """The speed of a config was measured."""

    config_index: int
    timing: dict[str, Any]


@dataclass(frozen=True)
class JobNote(JobEvent):
    """Something that a reader of the results has to know, in one line."""

    message: str


class Executor(Options):
    """Carries out a job; chosen by `--executor NAME`. Its fields are its options, as those of a component are.

    name: what `--executor` calls it.
    writes_store: whether its workers write records, models and timings into the store themselves. Otherwise the process
        that the user started writes what the events bring.
    """

    name: ClassVar[str] = ""
    writes_store: ClassVar[bool] = False

    @abstractmethod
    def execute(self, job: Job, store: Path) -> Iterator[JobEvent]:
        """Train the rounds of `job` and yield what happens.

        Args:
            job: picklable, and valid on any machine with the same packages and data.
            store: the folder of the records, on this machine alone.

        The iterator is closed when the run is interrupted, and must then stop what it has started. Whatever it raises
        ends the run with exit code 1; rounds that it has yielded are kept.
        """
