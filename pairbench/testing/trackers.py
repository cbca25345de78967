"""Checks of a tracker: it is handed a simulated run in a process, a folder and a home of its own."""

from __future__ import annotations

import os
import pickle
import tempfile
from importlib.util import find_spec
from pathlib import Path

from pairbench.errors import DataError
from pairbench.execution.tracking import TrackerProcess
from pairbench.plugin.events import (
    ConfigFinished,
    ConfigStarted,
    EpochFinished,
    RoundFinished,
    RunFinished,
    RunStarted,
)
from pairbench.plugin.trackers import Tracker
from pairbench.testing.kit import broken

_SECONDS = 60.0
# What a process needs to start; nothing else of the user's, so that no simulated run lands among real ones.
_KEPT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "LANG", "TMPDIR")
_OPTIONS = {
    "dataset": "mnist_pairs",
    "encoder": "cnn",
    "encoder.channels": [8, 16],
    "encoder.bias": True,
    "head": "concat_linear",
    "loss": "aux",
    "train.epochs": 2,
    "train.evaluate_every": 2,
    "train.weight_decay": None,
    "train.augment": {"rotate": 10.0},
}
_IDS = ("0123456789ab", "ba9876543210")


def tracker_is_documented(kind: type[Tracker]) -> None:
    """The class says what it is, and how the packages that it needs are installed."""
    if not (kind.__dict__.get("__doc__") or "").strip():
        raise broken(f"{kind.__name__} has no docstring", "Say in a sentence what it writes")
    if kind.packages and not kind.install:
        raise broken(
            f"{kind.__name__} needs {', '.join(kind.packages)} and does not say how to get it", "Set `install`"
        )


def tracker_takes_a_whole_run(kind: type[Tracker]) -> None:
    """Two configs, rounds side by side, one of which diverges and one fails before its first epoch."""
    _hand(kind, [*_beginning(), *_ending()])


def tracker_takes_a_run_that_stops(kind: type[Tracker]) -> None:
    """The run ends while rounds are training."""
    _hand(kind, _beginning())


def tracker_takes_a_run_without_rounds(kind: type[Tracker]) -> None:
    """All rounds are in the store already."""
    _hand(kind, [("run_started", _run(())), _ending()[-1]])


def _hand(kind: type[Tracker], calls: list[tuple[str, object]]) -> None:
    for package in kind.packages:
        if find_spec(package) is None:
            raise DataError(f"tracker '{kind.name}' needs the package {package}. Run: {kind.install}")
    with tempfile.TemporaryDirectory(prefix="pairbench-", ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "home"
        (Path(folder) / "work").mkdir()
        home.mkdir()
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ} | {"HOME": str(home)}
        process = TrackerProcess(kind, folder=Path(folder) / "work", environment=environment)
        for call in calls:
            process.send(pickle.dumps(call))
        process.end()
        told = process.wait(_SECONDS)
    if not told.startswith("tracked by"):
        raise broken(told, "Fix the method that is named")


def _run(pending: tuple[int, ...]) -> RunStarted:
    configs = tuple(
        ConfigStarted(f"encoder=cnn loss={loss}", config_id, _OPTIONS | {"loss": loss}, 2, pending, 2)
        for config_id, loss in zip(_IDS, ("aux", "cross_entropy"), strict=True)
    )
    return RunStarted("20260101T000000-01234567", "report", Path("pairbench-results"), configs, 2, 2)


def _beginning() -> list[tuple[str, object]]:
    """The start of the run and the first epochs of three rounds."""
    rounds = ((0, 0), (1, 0), (0, 1))
    figures = {"train.total_loss": 0.7}
    epochs = [EpochFinished(config, index, _IDS[config], 1, 2, figures) for config, index in rounds]
    return [("run_started", _run((0, 1))), *(("epoch_finished", epoch) for epoch in epochs)]


def _ending() -> list[tuple[str, object]]:
    """The ends of all four rounds, and of the run."""
    last = EpochFinished(0, 0, _IDS[0], 2, 2, {"train.total_loss": 0.6, "test.accuracy": 0.75})
    statuses = {(0, 0): "finished", (1, 0): "finished", (0, 1): "diverged", (1, 1): "failed"}
    rounds = [_round(config, index, status) for (config, index), status in statuses.items()]
    summary = {"accuracy": {"mean": 0.75, "std": None, "low": None, "high": None, "rounds": 1}}
    cost = {"parameters": 10, "flops_per_pair": 100, "train_seconds": 0.5, "cpu_seconds": 0.4, "peak_mib": 1.0}
    configs = tuple(
        ConfigFinished(name, config_id, {"finished": 1, "diverged": 1 - at, "failed": at}, summary, cost, None)
        for at, (name, config_id) in enumerate(zip(_run(()).names, _IDS, strict=True))
    )
    calls: list[tuple[str, object]] = [("epoch_finished", last)]
    calls += [("round_finished", item) for item in rounds]
    return [*calls, ("run_finished", RunFinished("20260101T000000-01234567", 1.5, 1, configs))]


def _round(config: int, index: int, status: str) -> RoundFinished:
    finished, failed = status == "finished", status == "failed"
    record = {
        "schema": 1,
        "config": _OPTIONS,
        "config_id": _IDS[config],
        "round": index,
        "seed": 1,
        "status": status,
        "metrics": {"accuracy": 0.75, "auc": None} if finished else {},
        "curves": {} if failed else {"train": {"total_loss": [0.7, 0.6]}, "test": {"accuracy": [0.75], "auc": [None]}},
        "cost": {} if failed else {"parameters": 10, "flops_per_pair": 100, "train_seconds": 0.5},
        "environment": {},
        "provenance": {"name": "encoder=cnn", "suite": "report", "created": "2026-01-01T00:00:00+00:00"},
    } | ({"error": {"reason": "ValueError: no", "traceback": ""}} if failed else {})
    return RoundFinished(config, index, _IDS[config], f"{_IDS[config]}/0000{index}-0123456789abcdef", status, record)
