"""Trackers of a run, each in a process of its own behind a bounded queue: one that fails or hangs ends in a note."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from pairbench.environment import seconds_from
from pairbench.errors import SpecError
from pairbench.plugin.events import EpochFinished, RoundFinished, RunFinished, RunStarted
from pairbench.plugin.registry import Registry, reason_of
from pairbench.plugin.trackers import Tracker
from pairbench.text import printable, quoted

CHOICE = "PAIRBENCH_TRACK"
PATIENCE = "PAIRBENCH_TRACK_SECONDS"
PATIENCE_SECONDS = 30.0
# What a tracker may take in all after the run, in times of its patience, where it goes on slowly.
SLOW = 10
# Events that wait for a tracker, in bytes; one that is further behind is given up.
WAITING_BYTES = 64 * 1024 * 1024
_COMMAND = (sys.executable, "-P", "-m", "pairbench.execution.tracker_process")


def chosen_trackers(track: str | Sequence[str] | None, registry: Registry) -> list[type[Tracker]]:
    """The trackers that `track` names, with commas between or as a sequence; None asks PAIRBENCH_TRACK.

    Raises:
        SpecError: there is no such tracker, or a package that it needs is not installed.
    """
    if track is None:
        track = os.environ.get(CHOICE, "")
    words = [track] if isinstance(track, str) else track
    names = dict.fromkeys(name.strip() for word in words for name in word.split(",") if name.strip())
    found = [registry.find_tracker(name) for name in names]
    for name, tracker in zip(names, found, strict=True):
        missing = [package for package in tracker.packages if not _is_there(package)]
        if missing:
            install = tracker.install or f"pip install {' '.join(missing)}"
            raise SpecError(
                f"tracker {quoted(name)} needs the package {printable(missing[0], 60)}, which is not installed. "
                f"Run: {printable(install, 100)}"
            )
    return found


def patience() -> float:
    """Seconds that a tracker may stand still once a run is over.

    Raises:
        SpecError: PAIRBENCH_TRACK_SECONDS is no number above 0.
    """
    return seconds_from(PATIENCE, PATIENCE_SECONDS)


def _is_there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):
        return False


class Tracking:
    """The trackers of one run: hand it the events as they come, and close it on every way out.

    note: called with a line about each tracker, once it is known where it wrote or what went wrong.
    """

    def __init__(self, trackers: Sequence[type[Tracker]], note: Callable[[str], None]) -> None:
        self._seconds = patience()
        self._kinds, self._note = trackers, note
        self._open: list[TrackerProcess] = []

    def pairbench_run_started(self, run: RunStarted) -> None:
        """Start the trackers, which costs the run nothing: they load while it trains."""
        self._open = [TrackerProcess(kind) for kind in self._kinds]
        self._send("run_started", run)

    def pairbench_epoch_finished(self, epoch: EpochFinished) -> None:
        """Hand on an epoch."""
        self._send("epoch_finished", epoch)

    def pairbench_round_finished(self, finished: RoundFinished) -> None:
        """Hand on a round."""
        self._send("round_finished", finished)

    def pairbench_run_finished(self, finished: RunFinished) -> None:
        """Hand on the end of the run, and wait for the trackers within their time limits."""
        self._send("run_finished", finished)
        self.close()

    def _send(self, method: str, event: object) -> None:
        if self._open:
            message = pickle.dumps((method, event))
            for process in self._open:
                process.send(message)

    def close(self, seconds: float | None = None) -> None:
        """End all trackers, each within `seconds` without progress; those that are closed already stay as they are."""
        for process in self._open:
            process.end()
        for process in self._open:
            self._note(process.wait(self._seconds if seconds is None else min(seconds, self._seconds)))
        self._open = []


class TrackerProcess:
    """One tracker in its process; neither sending to it nor waiting for it can hang.

    folder: its working folder; that of this process where it is None.
    environment: its environment variables; those of this process where it is None.
    """

    def __init__(
        self, kind: type[Tracker], *, folder: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = kind.name
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        # When it last took a step, or had to begin to.
        self._moved = time.monotonic()
        self._ending = False
        self._failure = ""
        self._said: dict[str, str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by wait
        try:
            # By reference: the process imports the module that the class is in.
            self._push(pickle.dumps(list(sys.path)) + pickle.dumps(kind))
            self._process = subprocess.Popen(
                _COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                cwd=folder,
                env=environment,
                # Ctrl-C is for the run, which closes its trackers itself; and all that a tracker starts ends with it.
                start_new_session=True,
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, the run goes on without the tracker
            self._failure = f"could not start: {reason_of(error)}"
            return
        for work in (self._write, self._read):
            threading.Thread(target=work, name=f"tracker {self.name}", daemon=True).start()

    def send(self, message: bytes) -> None:
        """Queue a message; a tracker that is too far behind is given up instead."""
        with self._changed:
            if self._failure or self._said is not None:
                return
            if self._bytes + len(message) > WAITING_BYTES:
                self._failure = "fell too far behind and was stopped; what it wrote is not complete"
                self._waiting.clear()
            else:
                self._push(message)
            self._changed.notify_all()
        if self._failure:
            self._kill()

    def _push(self, message: bytes) -> None:
        self._waiting.append(message)
        self._bytes += len(message)

    def end(self) -> None:
        """Say that no more comes; from now on it has to go on."""
        with self._changed:
            self._ending, self._moved = True, time.monotonic()
            self._changed.notify_all()

    def wait(self, seconds: float) -> str:
        """A line that says where the tracker wrote, or what went wrong; it has ended when this returns.

        seconds: how long it may stand still; one that goes on may take ten times as long in all.
        """
        latest = time.monotonic() + SLOW * seconds
        with self._changed:
            while not self._failure and self._said is None:
                left = min(self._moved + seconds, latest) - time.monotonic()
                if left <= 0:
                    self._failure = f"gave no answer for {seconds:g} s and was stopped; what it wrote is not complete"
                    break
                self._changed.wait(left)
        if self._process is not None:
            if self._said is not None:
                # What it has registered to run at exit gets its time too.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(max(0.0, min(seconds, latest - time.monotonic())))
            self._kill()
        line = self._line()
        self._log.close()
        return line

    def _line(self) -> str:
        if self._failure:
            return f"tracker {self.name} {self._failure}"
        said = self._said or {}
        if "failed" in said:
            return f"tracker {self.name} failed in {said['failed']}: {said['reason']}"
        return f"tracked by {self.name}" + (f": {printable(said['place'], 300)}" if said.get("place") else "")

    def _write(self) -> None:
        """Feed the process from the queue; a thread of its own, because a pipe to a process that hangs fills up."""
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError), self._process.stdin as stream:
            while True:
                with self._changed:
                    while not self._waiting and not self._ending:
                        self._changed.wait()
                    if not self._waiting:
                        return
                    message = self._waiting.popleft()
                    self._bytes -= len(message)
                stream.write(message)
                stream.flush()

    def _read(self) -> None:
        """Take in how far the process is, and what it says last."""
        assert self._process is not None
        assert self._process.stdout is not None
        said: Any = None
        with contextlib.suppress(OSError, ValueError), self._process.stdout as stream:
            for line in stream:
                said = json.loads(line)
                if isinstance(said, int):
                    with self._changed:
                        self._moved = time.monotonic()
                        self._changed.notify_all()
        with self._changed:
            if isinstance(said, dict):
                self._said = said
            elif not self._failure:
                self._failure = f"ended early: {self._last_words()}"
            self._waiting.clear()
            self._ending = True
            self._changed.notify_all()

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = [line.strip() for line in self._log.read()[-4000:].decode(errors="replace").splitlines()]
        told = [line for line in lines if line]
        return printable(told[-1]) if told else "without a word"

    def _kill(self) -> None:
        """End the process and all that it has started."""
        process = self._process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
        process.wait()
