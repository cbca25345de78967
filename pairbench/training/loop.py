"""The engine `loop`: one model after the other, no DataLoader, and no number read before the epoch ends."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pairbench.config import RunConfig
from pairbench.data import RoundData
from pairbench.model import PairModel, build_model
from pairbench.seeds import round_seed, stream_seed
from pairbench.training.evaluation import Scores, evaluate, evaluate_in_training_mode, metrics
from pairbench.training.optim import build_optimizer, build_schedule

Curves = dict[str, dict[str, list[float | None]]]
OnEpoch = Callable[[int, float, float], None]


@dataclass(frozen=True)
class RoundSplits:
    """The examples of one round: train, validation and test."""

    train: RoundData
    validation: RoundData
    test: RoundData


@dataclass
class Outcome:
    """What a round came to: status "finished" or "diverged", final figures, curves for each epoch, seconds of training.

    `train_seconds` counts the training steps alone, not the evaluations between them.
    """

    status: str
    metrics: dict[str, float | None] = field(default_factory=dict)
    curves: Curves = field(default_factory=dict)
    train_seconds: float = 0.0


class Loop:
    """Trains rounds of one config; with train.carry_over it keeps the model and optimiser from round to round."""

    def __init__(self, config: RunConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        self.model: PairModel | None = None
        self._optimizer: torch.optim.Optimizer | None = None

    def run(self, number: int, splits: RoundSplits, on_epoch: OnEpoch | None = None) -> Outcome:
        """Train and evaluate round `number`; `on_epoch` gets the epoch, its training loss and the test accuracy."""
        config, train = self.config, self.config.train
        torch.manual_seed(round_seed(train.seed, number))
        if self.model is None or self._optimizer is None or not train.carry_over:
            self.model = build_model(config).to(self.device)
            self._optimizer = build_optimizer(train, self.model.parameters())
        model, optimizer = self.model, self._optimizer
        steps = math.ceil(len(splits.train) / train.batch_size)
        schedule = build_schedule(train, optimizer, steps)
        order = torch.Generator().manual_seed(stream_seed(train.seed, number, "order"))
        outcome = Outcome("finished", curves={"train": {}, "test": {}})
        for epoch in range(1, train.epochs + 1):
            started = time.perf_counter()
            shuffled = torch.randperm(len(splits.train), generator=order).to(self.device)
            figures = self._epoch(model, optimizer, schedule.step, splits.train, shuffled)
            schedule.epoch(epoch, figures["total_loss"])
            outcome.train_seconds += time.perf_counter() - started
            _append(outcome.curves["train"], figures)
            if not math.isfinite(figures["total_loss"]):
                return _diverged(outcome)
            test = self._evaluate(model, splits.test)
            _append(outcome.curves["test"], test)
            if on_epoch:
                on_epoch(epoch, figures["total_loss"], test["accuracy"])
        validation = self._evaluate(model, splits.validation)
        final = test | {f"validation_{name}": value for name, value in validation.items()}
        if not (math.isfinite(final["loss"]) and math.isfinite(final["total_loss"])):
            return _diverged(outcome)
        outcome.metrics = {name: _finite(value) for name, value in final.items()}
        return outcome

    def _epoch(
        self,
        model: PairModel,
        optimizer: torch.optim.Optimizer,
        scheduled: Callable[[], None],
        data: RoundData,
        shuffled: Tensor,
    ) -> dict[str, float]:
        """One pass over `data`; the figures are those of training mode, gathered on the way."""
        model.train()
        supervises = self.config.loss.supervises_classes
        logits, class_logits, totals = [], [], []
        for examples in shuffled.split(self.config.train.batch_size):
            batch = data.batch(examples)
            optimizer.zero_grad(set_to_none=True)
            comparison = model(batch.images)
            total, _ = model.loss(comparison, batch)
            total.backward()
            optimizer.step()
            scheduled()
            logits.append(comparison.logits.detach())
            totals.append(total.detach() * len(examples))
            if supervises:
                with torch.no_grad():
                    class_logits.append(model.class_logits(comparison.embeddings))
        mean_total = float(torch.stack(totals).sum()) / len(data)
        scores = Scores(torch.cat(logits), torch.cat(class_logits) if class_logits else None, mean_total)
        return metrics(scores, data.target[shuffled], data.classes[shuffled])

    def _evaluate(self, model: PairModel, data: RoundData) -> dict[str, float]:
        supervises, train = self.config.loss.supervises_classes, self.config.train
        if train.evaluation == "train":
            return evaluate_in_training_mode(model, data, supervises=supervises, batch_size=train.batch_size)
        return evaluate(model, data, supervises=supervises)


def _append(curves: dict[str, list[float | None]], figures: dict[str, float]) -> None:
    for name, value in figures.items():
        curves.setdefault(name, []).append(_finite(value))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _diverged(outcome: Outcome) -> Outcome:
    outcome.status, outcome.metrics = "diverged", {}
    return outcome
