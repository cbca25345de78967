"""Runs of Weights & Biases."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pairbench
from pairbench_trackers.readings import config_figures, curves, live_figures, plain_options, round_figures

# Weights & Biases refuses longer names of groups and runs.
LONGEST = 120


class WeightsAndBiases(pairbench.Tracker):
    """Runs of Weights & Biases, grouped by config: one for each round, and a summary; offline by default."""

    name = "wandb"
    packages = ("wandb",)
    install = "pip install 'pairbench[wandb]'"

    def run_started(self, run: pairbench.RunStarted) -> None:
        self._run = run
        # Nothing leaves this machine unless the user asks for it.
        self._mode = os.environ.get("WANDB_MODE") or "offline"
        self._rounds: dict[tuple[int, int], Any] = {}

    def epoch_finished(self, epoch: pairbench.EpochFinished) -> None:
        self._round(epoch.config_index, epoch.round_index).log({"epoch": epoch.epoch, **live_figures(epoch)})

    def round_finished(self, finished: pairbench.RoundFinished) -> None:
        run = self._round(finished.config_index, finished.round_index)
        for epoch, figures in curves(finished.record):
            run.log({"epoch": epoch, **figures})
        run.summary.update(round_figures(finished.record))
        run.summary.update({"record_id": finished.record_id, "status": finished.status})
        run.finish(exit_code=1 if finished.status == "failed" else 0)
        del self._rounds[finished.config_index, finished.round_index]

    def run_finished(self, finished: pairbench.RunFinished) -> None:
        for index, config in enumerate(finished.configs):
            run = self._start(index, "summary")
            run.summary.update(config_figures(config))
            run.finish(exit_code=1 if config.rounds["failed"] else 0)

    def close(self) -> None:
        for run in self._rounds.values():
            run.finish(exit_code=1)

    def place(self) -> str:
        folder = Path(os.environ.get("WANDB_DIR") or ".") / "wandb"
        return f"wandb sync {folder}/offline-run-*" if self._mode == "offline" else str(folder)

    def _round(self, index: int, number: int) -> Any:
        if (index, number) not in self._rounds:
            self._rounds[index, number] = self._start(index, f"round {number}")
        return self._rounds[index, number]

    def _start(self, index: int, what: str) -> Any:
        import wandb

        config = self._run.configs[index]
        run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or "pairbench",
            group=f"{config.name[: LONGEST - 13]} {config.config_id}",
            job_type=what.split()[0],
            name=f"{config.name[: LONGEST - 13]}, {what}",
            config=plain_options(config.options)
            | {"config_id": config.config_id, "run_id": self._run.run_id, "suite": self._run.suite or "none"},
            mode=self._mode,  # type: ignore[arg-type]
            # Rounds train side by side.
            reinit="create_new",
            settings=wandb.Settings(console="off", silent=True),
        )
        run.define_metric("*", step_metric="epoch")
        return run
