"""Trackers: TensorBoard, MLflow, and Weights & Biases."""

import pairbench
from pairbench_trackers.mlflow_runs import MLflow
from pairbench_trackers.tensorboard_files import TensorBoard
from pairbench_trackers.wandb_runs import WeightsAndBiases


@pairbench.hookimpl
def pairbench_trackers() -> list[type[pairbench.Tracker]]:
    """The bundled trackers."""
    return [TensorBoard, MLflow, WeightsAndBiases]
