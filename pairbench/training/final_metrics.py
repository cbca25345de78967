"""The figures that a finished round is remembered by: those of every epoch, and those of its task."""

from __future__ import annotations

import math

from torch import Tensor

from pairbench.config.run_config import RunConfig
from pairbench.data.round_data import RoundData
from pairbench.model.pair_model import PairModel
from pairbench.plugin.components import TaskKind
from pairbench.training.evaluation import Scores, evaluate, evaluate_in_training_mode, metrics
from pairbench.training.metrics import (
    accuracy_at,
    agreement,
    finite_threshold,
    fold_accuracies,
    log_odds,
    swap_consistency,
    verification_metrics,
)


def asked(
    config: RunConfig, models: list[PairModel], data: RoundData, copies: int = 0, *, swap: bool = False
) -> Scores:
    """What an ensemble says of `data`, asked as train.evaluation wants it; `copies` and `swap` as in `evaluate`."""
    supervises, train = config.loss.supervises_classes, config.train
    if train.evaluation == "train":
        size = train.batch_size
        return evaluate_in_training_mode(models[0], data, supervises=supervises, batch_size=size, swap=swap)
    return evaluate(models, data, train, supervises=supervises, copies=copies, swap=swap)


def final_figures(
    config: RunConfig, models: list[PairModel], test: RoundData, validation: RoundData
) -> dict[str, float]:
    """Every figure of trained models, those on the validation examples after `validation_`.

    A threshold is chosen on the validation scores, and the test pairs are told by it.
    """
    kind, copies = config.dataset.task.kind, config.train.tta
    ours = asked(config, models, test, copies, swap=True)
    theirs = asked(config, models, validation, copies, swap=True)
    figures, chosen = _figures(kind, ours, test), _figures(kind, theirs, validation)
    if kind == "verification":
        right = _same(validation)
        # Pairs of one answer choose nothing: any threshold beyond all scores serves them.
        chooses = bool(right.any()) and not bool(right.all())
        threshold = finite_threshold(log_odds(theirs.logits).cpu(), right) if chooses else math.nan
        figures |= {"accuracy_at_threshold": _accuracy_at(ours, test, threshold), "threshold": threshold}
        chosen["accuracy_at_threshold"] = _accuracy_at(theirs, validation, threshold)
    return figures | {f"validation_{name}": value for name, value in chosen.items()}


def _figures(kind: TaskKind, scores: Scores, data: RoundData) -> dict[str, float]:
    figures = metrics(scores, data.target, data.classes)
    # On the CPU, since figures are taken in float64 and MPS has none.
    logits = scores.logits.cpu()
    if kind == "verification":
        figures |= verification_metrics(log_odds(logits), _same(data))
        if data.folds is not None and len(data.folds.unique()) > 1:
            accuracies = fold_accuracies(log_odds(logits), _same(data), data.folds)
            figures |= {"fold_accuracy": float(accuracies.mean()), "fold_accuracy_std": float(accuracies.std())}
    if kind == "preference":
        figures["agreement"] = agreement(logits, data.target.cpu())
    assert scores.swapped is not None
    figures["swap_consistency"] = swap_consistency(logits, scores.swapped.cpu(), data.classes.cpu(), kind)
    return figures


def _same(data: RoundData) -> Tensor:
    """(N,) bool, whether outcome 1 is the right answer, or the likelier one."""
    return data.target.cpu() > 0.5


def _accuracy_at(scores: Scores, data: RoundData, threshold: float) -> float:
    if math.isnan(threshold):
        return math.nan
    return accuracy_at(log_odds(scores.logits).cpu(), _same(data), threshold)
