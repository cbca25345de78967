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
    """The components of this plugin; the base class of each determines its slot. Do not import torch here."""


@hookspec
def pairbench_suites() -> list[Path]:  # type: ignore[empty-body]
    """The suite files (TOML) of this plugin; the name of a suite is the file's name without `.toml`."""


@hookspec
def pairbench_trackers() -> list[type[Tracker]]:  # type: ignore[empty-body]
    """The trackers of this plugin, which `--track NAME` selects. Do not import their packages here."""


@hookspec
def pairbench_metrics() -> list[MetricSpec]:  # type: ignore[empty-body]
    """The metrics of this plugin, computed for every config that meets their requirements. Do not import torch here."""


@hookspec
def pairbench_executors() -> list[type[Executor]]:  # type: ignore[empty-body]
    """The executors that this plugin brings, each chosen by `--executor NAME`. Import no torch here."""


@hookspec
def pairbench_accelerators() -> list[Accelerator]:  # type: ignore[empty-body]
    """The accelerators of this plugin, each used wherever it suits. Do not import torch here."""


@hookspec
def pairbench_data_progressed(progress: DataProgressed) -> None:
    """A dataset has made progress in reading or decoding; called a few times a second, before the run starts."""


@hookspec
def pairbench_run_started(run: RunStarted) -> None:
    """A run starts; `run` has its configs, and the rounds that are left of each, of which there may be none."""


@hookspec
def pairbench_epoch_finished(epoch: EpochFinished) -> None:
    """A round has finished an epoch; called at most a few times a second, and always for the last epoch."""


@hookspec
def pairbench_round_finished(record: dict[str, Any], finished: RoundFinished) -> None:
    """A round is over, whatever its status, and its record is in the store."""


@hookspec
def pairbench_run_finished(results: Results, finished: RunFinished) -> None:
    """The run is over; `results` include rounds that were in the store before.

    Not called if the run is interrupted or cannot continue.
    """
