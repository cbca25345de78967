"""Progress of a run on standard error: a live display in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from pairbench.plugin.events import DataProgressed, EpochFinished, RoundFinished, RunStarted
from pairbench.plugin.hooks import hookimpl
from pairbench.text import printable


class Quiet(AbstractContextManager["Quiet"]):
    """Shows nothing."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


def display(stream: TextIO | None = None, *, quiet: bool = False) -> Quiet:
    """The display that suits `stream`; None means standard error."""
    # Not a default argument, which would be evaluated once, at import.
    stream = stream or sys.stderr
    if quiet or stream is None:
        return Quiet()
    console = Console(file=stream)
    return Live(console) if console.is_terminal and not console.is_dumb_terminal else Lines(stream)


class Lines(Quiet):
    """A line when the run starts, when a round ends, and at most every five seconds in between.

    clock: seconds since some moment.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock, self._last = stream, clock, 0.0
        self._names: tuple[str, ...] = ()
        self._done = self._total = 0
        self._reading, self._since = "", 0.0

    @hookimpl
    def pairbench_data_progressed(self, progress: DataProgressed) -> None:
        now = self._clock()
        if self._reading != progress.what:
            self._reading, self._since = progress.what, now
        # Short phases need no message.
        if now - self._since > 1 and (now - self._last > 5 or progress.done == progress.total):
            self._say(f"{progress.what}: {progress.done}/{progress.total}")

    @hookimpl
    def pairbench_run_started(self, run: RunStarted) -> None:
        self._names, self._total = run.names, sum(run.pending)
        # Where there is nothing to do, the results follow at once.
        if self._total or run.timed:
            self._say(opening(run))

    @hookimpl
    def pairbench_epoch_finished(self, epoch: EpochFinished) -> None:
        if self._clock() - self._last > 5:
            self._say(
                f"{self._names[epoch.config_index]}: round {epoch.round_index}, epoch {epoch.epoch}/{epoch.epochs}, "
                f"loss {epoch.loss:.4f}{_accuracy(epoch.accuracy)}"
            )

    @hookimpl
    def pairbench_round_finished(self, finished: RoundFinished) -> None:
        self._done += 1
        self._say(f"[{self._done}/{self._total}] {ending(finished.record)}")

    def _say(self, line: str) -> None:
        self._last = self._clock()
        self._stream.write(printable(line, 300) + "\n")
        self._stream.flush()


class Live(Quiet):
    """A bar over all epochs with the time left, and a line for each round in training."""

    def __init__(self, console: Console) -> None:
        columns: list[ProgressColumn] = [
            _Label(),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}", style="dim"),
            TimeRemainingColumn(elapsed_when_finished=True),
            _Figures(),
        ]
        self._progress = Progress(*columns, console=console, transient=True)
        self._names: tuple[str, ...] = ()
        self._rows: dict[tuple[int, int], Any] = {}
        self._whole: Any = None
        self._reading: dict[str, Any] = {}
        self._epochs: tuple[int, ...] = ()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    @hookimpl
    def pairbench_data_progressed(self, progress: DataProgressed) -> None:
        if progress.what not in self._reading:
            self._progress.start()
            self._reading[progress.what] = self._progress.add_task(
                "data", total=progress.total, label=printable(progress.what, 40), figures="", unit=""
            )
        self._progress.update(self._reading[progress.what], completed=progress.done, total=progress.total)

    @hookimpl
    def pairbench_run_started(self, run: RunStarted) -> None:
        for row in self._reading.values():
            self._progress.remove_task(row)
        self._reading = {}
        self._names, self._epochs = run.names, run.epochs
        if not (sum(run.pending) or run.timed):
            return
        self._progress.console.print(Text(printable(opening(run), 300), style="dim"))
        self._progress.start()
        self._whole = self._progress.add_task(
            "all", total=run.total_epochs or None, label="all rounds", figures="", unit="epochs"
        )

    @hookimpl
    def pairbench_epoch_finished(self, epoch: EpochFinished) -> None:
        key = (epoch.config_index, epoch.round_index)
        if key not in self._rows:
            label = f"{printable(self._names[epoch.config_index], 40)}, round {epoch.round_index}"
            self._rows[key] = self._progress.add_task(
                "round", total=epoch.epochs, label=label, figures="", unit="epochs"
            )
        row = self._rows[key]
        before = self._progress.tasks[self._progress.task_ids.index(row)].completed
        figures = f"loss {epoch.loss:.4f}{_accuracy(epoch.accuracy)}"
        self._progress.update(row, completed=epoch.epoch, figures=figures)
        self._progress.advance(self._whole, epoch.epoch - before)

    @hookimpl
    def pairbench_round_finished(self, finished: RoundFinished) -> None:
        row = self._rows.pop((finished.config_index, finished.round_index), None)
        if row is not None:
            task = self._progress.tasks[self._progress.task_ids.index(row)]
            self._progress.advance(self._whole, (task.total or 0) - task.completed)
            self._progress.remove_task(row)
        else:
            self._progress.advance(self._whole, self._epochs[finished.config_index])
        if finished.status != "finished":
            self._progress.console.print(Text(printable(ending(finished.record), 300), style="red"))


class _Label(ProgressColumn):
    def render(self, task: Any) -> Text:
        return Text(task.fields["label"])


class _Figures(ProgressColumn):
    def render(self, task: Any) -> Text:
        return Text(task.fields["figures"], style="cyan")


def opening(run: RunStarted) -> str:
    """One line that says what the run is about to do."""
    rounds = sum(run.pending)
    if not rounds:
        return "every round is in the store already; measuring speed"
    configs = sum(1 for pending in run.pending if pending)
    what = f"{rounds} round{'s' * (rounds != 1)} of {configs} config{'s' * (configs != 1)}"
    where = "in this process" if run.workers == 0 else f"on {run.workers} worker{'s' * (run.workers != 1)}"
    return f"training {what} {where}"


def ending(record: Mapping[str, Any]) -> str:
    """One line that says how a round ended."""
    who = f"{record['provenance']['name']}: round {record['round']} {record['status']}"
    accuracy = record["metrics"].get("accuracy")
    if accuracy is not None:
        return f"{who}, accuracy {100 * accuracy:.2f} %, {record['cost']['train_seconds']:.1f} s"
    return f"{who}: {record['error']['reason']}" if "error" in record else who


def _accuracy(value: float | None) -> str:
    return "" if value is None else f", accuracy {100 * value:.1f} %"
