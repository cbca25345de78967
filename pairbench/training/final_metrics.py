"""Computes the metrics of an epoch, and the final metrics of a round."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from pairbench.config.run_config import RunConfig
from pairbench.data.round_data import RoundData
from pairbench.model.pair_model import PairModel
from pairbench.plugin.components import PairTask
from pairbench.plugin.metric_specs import VALIDATION, ScoredPairs
from pairbench.plugin.metrics import known_metrics
from pairbench.plugin.notify import tell_note
from pairbench.plugin.registry import InstalledMetric, reason_of
from pairbench.text import printable
from pairbench.training.evaluation import Scores, evaluate, evaluate_in_training_mode
from pairbench.training.metrics import finite_threshold


def asked(
    config: RunConfig, models: list[PairModel], data: RoundData, copies: int = 0, *, swap: bool = False
) -> Scores:
    """The output of an ensemble for `data`, as train.evaluation says; `copies` and `swap` as in `evaluate`."""
    supervises, train = config.loss.supervises_classes, config.train
    if train.evaluation == "train":
        size = train.batch_size
        return evaluate_in_training_mode(models[0], data, supervises=supervises, batch_size=size, swap=swap)
    return evaluate(models, data, train, supervises=supervises, copies=copies, swap=swap)


def epoch_figures(task: PairTask, scores: Scores, target: Tensor, classes: Tensor) -> dict[str, float]:
    """The metrics for the curves, from `scores`, target (N,) and classes (N, V); NaN if one is undefined."""
    return _computed(scored_pairs(task, scores, target, classes), each_epoch=True)


def final_figures(
    config: RunConfig, models: list[PairModel], test: RoundData, validation: RoundData
) -> dict[str, float]:
    """Every metric of trained models, those on the validation examples as `validation_...`; NaN if one is undefined.

    A threshold is chosen on the validation scores and applied to the test pairs.
    """
    task, copies = config.dataset.task, config.train.tta
    ours, theirs = (
        scored_pairs(task, asked(config, models, data, copies, swap=True), data.target, data.classes, data.folds)
        for data in (test, validation)
    )
    if task.kind == "verification":
        right = theirs.positive
        # Pairs with a single answer determine no threshold: any beyond all scores is perfect for them.
        chooses = bool(right.any()) and not bool(right.all())
        threshold = finite_threshold(theirs.score, right) if chooses else math.nan
        ours, theirs = replace(ours, threshold=threshold), replace(theirs, threshold=threshold)
    chosen = {VALIDATION + name: value for name, value in _computed(theirs, ranked_alone=True).items()}
    return _computed(ours) | chosen


def scored_pairs(
    task: PairTask, scores: Scores, target: Tensor, classes: Tensor, folds: Tensor | None = None
) -> ScoredPairs:
    """The input of a metric: `scores` and the correct answers, on the CPU because MPS has no float64."""
    return ScoredPairs(
        task,
        scores.logits.float().cpu(),
        target.cpu(),
        classes.cpu(),
        None if scores.class_logits is None else scores.class_logits.float().cpu(),
        None if scores.swapped is None else scores.swapped.float().cpu(),
        None if folds is None else folds.cpu(),
        total_loss=scores.total_loss,
    )


def _computed(pairs: ScoredPairs, *, each_epoch: bool = False, ranked_alone: bool = False) -> dict[str, float]:
    """The values of the installed metrics that suit `pairs`, by name.

    each_epoch: only those for the curves.
    ranked_alone: only those that results can be ranked by.
    """
    figures: dict[str, float] = {}
    for name, found in known_metrics().items():
        spec = found.spec
        if (each_epoch and not spec.each_epoch) or (ranked_alone and not spec.ranks) or not spec.suits(pairs):
            continue
        # The core's metrics are trusted like the training itself: an error in one ends the round.
        value = _guarded(name, found, pairs) if found.origin.plugin else spec(pairs)
        figures[name] = math.nan if value is None else value
    return figures


def _guarded(name: str, metric: InstalledMetric, pairs: ScoredPairs) -> float | None:
    """A plugin's metric on copies of the data and with random numbers of its own; None and a note if it fails."""
    try:
        with torch.random.fork_rng(devices=[]):
            value = metric.spec(_copied(pairs))
        if value is None or math.isfinite(value):
            return value
        reason = f"it gave {value}"
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin may raise anything
        reason = reason_of(error)
    tell_note(f"metric {printable(name, 60)} of {printable(metric.origin.distribution, 60)} is null: {reason}")
    return None


def _copied(pairs: ScoredPairs) -> ScoredPairs:
    given = {item.name: getattr(pairs, item.name) for item in fields(pairs)}
    copies: dict[str, Any] = {name: value.clone() for name, value in given.items() if isinstance(value, Tensor)}
    return replace(pairs, **copies)
