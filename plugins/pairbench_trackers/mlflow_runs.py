"""Runs of MLflow."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import pairbench
from pairbench_trackers.readings import config_figures, curves, live_figures, plain_options, round_figures

# MLflow refuses larger batches and longer values.
PARAMS, METRICS, LONGEST = 100, 1000, 500


class MLflow(pairbench.Tracker):
    """Runs of MLflow: one for each config, and below it one for each round."""

    name = "mlflow"
    packages = ("mlflow",)
    install = "pip install 'pairbench[mlflow]'"

    def run_started(self, run: pairbench.RunStarted) -> None:
        import mlflow

        self._run = run
        self._client = mlflow.MlflowClient()
        self._where = f"{mlflow.get_tracking_uri()}, experiment {self._experiment_name()}"
        self._experiment = self._experiment_id()
        self._parents = [self._create(index, config.name, {}) for index, config in enumerate(run.configs)]
        self._rounds: dict[tuple[int, int], str] = {}

    def epoch_finished(self, epoch: pairbench.EpochFinished) -> None:
        self._log(self._round(epoch.config_index, epoch.round_index), live_figures(epoch), epoch.epoch)

    def round_finished(self, finished: pairbench.RoundFinished) -> None:
        run = self._round(finished.config_index, finished.round_index)
        points = [(name, value, epoch) for epoch, figures in curves(finished.record) for name, value in figures.items()]
        points += [(name, value, 0) for name, value in round_figures(finished.record).items()]
        self._log_points(run, points)
        self._client.set_tag(run, "pairbench.record_id", finished.record_id)
        self._client.set_tag(run, "pairbench.status", finished.status)
        self._client.set_terminated(run, "FAILED" if finished.status == "failed" else "FINISHED")
        del self._rounds[finished.config_index, finished.round_index]

    def run_finished(self, finished: pairbench.RunFinished) -> None:
        for run, config in zip(self._parents, finished.configs, strict=True):
            self._log(run, config_figures(config), 0)
            self._client.set_terminated(run, "FAILED" if config.rounds["failed"] else "FINISHED")
        self._parents = []

    def close(self) -> None:
        for run in [*self._rounds.values(), *self._parents]:
            self._client.set_terminated(run, "KILLED")

    def place(self) -> str:
        return self._where

    def _experiment_name(self) -> str:
        return os.environ.get("MLFLOW_EXPERIMENT_NAME") or "pairbench"

    def _experiment_id(self) -> str:
        name = self._experiment_name()
        found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id if found else self._client.create_experiment(name))

    def _round(self, index: int, number: int) -> str:
        if (index, number) not in self._rounds:
            tags = {"mlflow.parentRunId": self._parents[index], "pairbench.round": str(number)}
            name = f"{self._run.configs[index].name}, round {number}"
            self._rounds[index, number] = self._create(index, name, tags)
        return self._rounds[index, number]

    def _create(self, index: int, name: str, tags: Mapping[str, str]) -> str:
        from mlflow.entities import Param

        config = self._run.configs[index]
        known = {"pairbench.run_id": self._run.run_id, "pairbench.config_id": config.config_id}
        known |= {"pairbench.suite": self._run.suite} if self._run.suite else {}
        made = self._client.create_run(self._experiment, tags={**known, **tags}, run_name=name[:LONGEST])
        run = str(made.info.run_id)
        params = (Param(key, str(value)[:LONGEST]) for key, value in plain_options(config.options).items())
        for batch in _batches(params, PARAMS):
            self._client.log_batch(run, params=batch)
        return run

    def _log(self, run: str, figures: Mapping[str, float], step: int) -> None:
        self._log_points(run, [(name, value, step) for name, value in figures.items()])

    def _log_points(self, run: str, points: Iterable[tuple[str, float, int]]) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        for batch in _batches((Metric(name, value, now, step) for name, value, step in points), METRICS):
            self._client.log_batch(run, metrics=batch)


def _batches(items: Iterable[Any], size: int) -> Iterable[list[Any]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
