"""The hooks that a plugin may implement, marked with `@pairbench.hookimpl`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from pairbench.plugin.accelerators import Accelerator
    from pairbench.plugin.components import Component
    from pairbench.plugin.events import DataProgressed, EpochFinished, RoundFinished, RunFinished, RunStarted
    from pairbench.plugin.executors import Executor
    from pairbench.plugin.metric_specs import MetricSpec
    from pairbench.plugin.trackers import Tracker
    from pairbench.results.results import Results

hookspec = pluggy.HookspecMarker("pairbench")
hookimpl = pluggy.HookimplMarker("pairbench")


@hookspec
def pairbench_components() -> list[type[Component]]:  # type: ignore[empty-body]
    """The components that this plugin brings; the base class of each says its slot. Import no torch here."""


@hookspec
def pairbench_suites() -> list[Path]:  # type: ignore[empty-body]
    """The suite files (TOML) that this plugin brings; the name of a suite is the file's name without `.toml`."""


@hookspec
def pairbench_trackers() -> list[type[Tracker]]:  # type: ignore[empty-body]
    """The trackers that this plugin brings, each chosen by `--track NAME`. Import no package of theirs here."""


@hookspec
def pairbench_metrics() -> list[MetricSpec]:  # type: ignore[empty-body]
    """The metrics that this plugin brings, computed for every config of a task that has what they need. Import no torch
    here."""


@hookspec
def pairbench_executors() -> list[type[Executor]]:  # type: ignore[empty-body]
    """The executors that this plugin brings, each chosen by `--executor NAME`. Import no torch here."""


@hookspec
def pairbench_accelerators() -> list[Accelerator]:  # type: ignore[empty-body]
    """The accelerators that this plugin brings, each used wherever it suits. Import no torch here."""


@hookspec
def pairbench_data_progressed(progress: DataProgressed) -> None:
    """A dataset is reading or decoding, and has come so far; reported a few times a second, before the run starts."""


@hookspec
def pairbench_run_started(run: RunStarted) -> None:
    """A run starts: its configs, and the rounds that are left of each, which may be none."""


@hookspec
def pairbench_epoch_finished(epoch: EpochFinished) -> None:
    """A round has finished an epoch; reported a few times a second at most, and always for the last epoch."""


@hookspec
def pairbench_round_finished(record: dict[str, Any], finished: RoundFinished) -> None:
    """A round has ended, whatever its status, and its record is safe in the store."""


@hookspec
def pairbench_run_finished(results: Results, finished: RunFinished) -> None:
    """The run is over, and these are its results, rounds that were in the store before included.

    Not called where the run is interrupted or cannot go on.
    """
