"""The engine `loop`: one model after the other, without a DataLoader, and without reading results within an epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pairbench.config.run_config import RunConfig
from pairbench.data.round_data import RoundData
from pairbench.model.pair_model import PairModel, build_model
from pairbench.plugin.components import PairBatch, PairOutput
from pairbench.seeds import member_seed
from pairbench.training.acceleration import accelerated, autocast, laid_out
from pairbench.training.epoch_buffer import Gathered
from pairbench.training.evaluation import Scores
from pairbench.training.final_metrics import asked, epoch_figures, final_figures
from pairbench.training.frozen_features import LookedUpBatch, features_of, looked_up
from pairbench.training.optim import Schedule, build_optimizer, build_schedule
from pairbench.training.sampling import Sampler, batch_slices

Curves = dict[str, dict[str, list[float | None]]]
OnEpoch = Callable[[int, float, float | None], None]


@dataclass(frozen=True)
class RoundSplits:
    """The examples of one round: train, validation and test."""

    train: RoundData
    validation: RoundData
    test: RoundData


@dataclass
class Outcome:
    """The result of a round: status "finished" or "diverged", final metrics, curves, seconds of training.

    curves: those of the first member of an ensemble; "train" has each epoch, "test" each evaluated epoch.
    train_seconds: the time of the training steps, without the evaluations between them.
    accelerators: those that computed parts of it.
    """

    status: str = "finished"
    metrics: dict[str, float | None] = field(default_factory=dict)
    curves: Curves = field(default_factory=lambda: {"train": {}, "test": {}})
    train_seconds: float = 0.0
    accelerators: tuple[str, ...] = ()


class Diverged(Exception):  # noqa: N818 - an outcome, not a fault
    """The loss stopped being finite."""


class Loop:
    """Trains rounds of one config; train.carry_over passes the model and optimiser of each on to the next."""

    def __init__(self, config: RunConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        self.models: list[PairModel] = []
        self._carried: tuple[PairModel, torch.optim.Optimizer] | None = None

    def run(self, number: int, splits: RoundSplits, on_epoch: OnEpoch | None = None) -> Outcome:
        """Train and evaluate round `number`; `on_epoch` gets the epoch, its training loss and the test accuracy."""
        train, outcome = self.config.train, Outcome()
        self.models = []
        try:
            for member in range(train.members):
                self.models.append(self._train(number, member, splits, outcome, on_epoch))
            with accelerated(train, self.device, *self.models):
                finished(self.config, self.models, splits, outcome)
        except Diverged:
            outcome.status, outcome.metrics = "diverged", {}
        return outcome

    def _train(
        self, number: int, member: int, splits: RoundSplits, outcome: Outcome, on_epoch: OnEpoch | None
    ) -> PairModel:
        """A trained model; curves are those of the first member.

        Raises:
            Diverged: the loss stopped being finite.
        """
        train = self.config.train
        torch.manual_seed(member_seed(train.seed, number, "weights", member))
        model, optimizer = self._start()
        # Before the average is created, so that it gets the same features.
        sampler = self._sampler(model, splits, number, member)
        average = average_of(model, train.ema)
        with accelerated(train, self.device, model, weights(model, average)) as outcome.accelerators:
            self._epochs(model, average, optimizer, sampler, member, splits, outcome, on_epoch)
        return weights(model, average)

    def _epochs(
        self,
        model: PairModel,
        average: AveragedModel | None,
        optimizer: torch.optim.Optimizer,
        sampler: Sampler,
        member: int,
        splits: RoundSplits,
        outcome: Outcome,
        on_epoch: OnEpoch | None,
    ) -> None:
        train = self.config.train
        forward = self._compiled(model)
        schedule = build_schedule(train, optimizer, len(batch_slices(len(splits.train), train.batch_size)))
        for epoch in range(1, train.epochs + 1):
            started = time.perf_counter()
            figures = self._epoch(model, forward, optimizer, schedule, sampler, average)
            schedule.epoch(epoch, figures["total_loss"])
            outcome.train_seconds += time.perf_counter() - started
            if not member:
                append_curve(outcome.curves["train"], figures)
            if not math.isfinite(figures["total_loss"]):
                raise Diverged
            accuracy = None
            if not member and train.evaluate_every and epoch % train.evaluate_every == 0:
                test = scored(self.config, [weights(model, average)], splits.test)
                append_curve(outcome.curves["test"], test)
                accuracy = test["accuracy"]
            if on_epoch:
                on_epoch(epoch, figures["total_loss"], accuracy)

    def _start(self) -> tuple[PairModel, torch.optim.Optimizer]:
        if self._carried is not None:
            return self._carried
        model = laid_out(build_model(self.config), self.config.train, self.device)
        optimizer = build_optimizer(self.config.train, model)
        if self.config.train.carry_over:
            self._carried = (model, optimizer)
        return model, optimizer

    def _sampler(self, model: PairModel, splits: RoundSplits, number: int, member: int = 0) -> Sampler:
        """The batches of a round, with the features of a frozen encoder if they can be looked up."""
        train = self.config.train
        sampler = Sampler(train, self.config.dataset.task, splits.train, number, member)
        if looked_up(model, train.augment) and not train.transforms:
            sampler.features = features_of(model, splits.train)
        return sampler

    def stepper(self, number: int, splits: RoundSplits) -> Iterator[None]:
        """Endless training steps of round `number`, one for each `next`; their results are discarded."""
        torch.manual_seed(member_seed(self.config.train.seed, number, "weights", 0))
        model, optimizer = self._start()
        sampler = self._sampler(model, splits, number)
        forward = self._compiled(model)
        with accelerated(self.config.train, self.device, model):
            while True:
                model.train()
                for batch in sampler.epoch():
                    self._step(model, forward, optimizer, batch)
                    yield

    def _compiled(self, model: PairModel) -> Callable[[Tensor], PairOutput]:
        """The forward pass in training: the model itself, or compiled by torch."""
        if self.config.train.compile != "on":
            return model
        # Splitting a batch replaces functions of the norms at run time, which the compiler would retrace each time.
        model.views_together = False
        compiled: Callable[[Tensor], PairOutput] = torch.compile(model)
        return compiled

    def _step(
        self,
        model: PairModel,
        forward: Callable[[Tensor], PairOutput],
        optimizer: torch.optim.Optimizer,
        batch: PairBatch,
    ) -> tuple[Tensor, PairOutput]:
        """One training step: its total loss and the model's output."""
        train = self.config.train
        optimizer.zero_grad(set_to_none=True)
        with autocast(model, self.device.type, train.precision == "bf16"):
            comparison = model.answer(batch.features) if isinstance(batch, LookedUpBatch) else forward(batch.images)
        comparison = comparison.float()
        total, _ = model.loss(comparison, batch)
        total.backward()
        if train.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), train.clip_norm)
        optimizer.step()
        return total.detach(), comparison

    def _epoch(
        self,
        model: PairModel,
        forward: Callable[[Tensor], PairOutput],
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        sampler: Sampler,
        average: AveragedModel | None,
    ) -> dict[str, float]:
        """One pass over the training pairs; returns its metrics, computed from the outputs in training mode."""
        model.train()
        supervises = self.config.loss.supervises_classes
        gathered = Gathered(len(sampler.data))
        for batch in sampler.epoch():
            total, comparison = self._step(model, forward, optimizer, batch)
            schedule.step()
            if average is not None:
                average.update_parameters(model)
            pieces = {"logits": comparison.logits.detach(), "target": batch.target, "classes": batch.classes}
            if supervises:
                with torch.no_grad():
                    pieces["class_logits"] = model.class_logits(comparison.embeddings)
            gathered.add(total * len(batch.target), pieces)
        tables = gathered.tables
        scores = Scores(tables["logits"], tables.get("class_logits"), float(gathered.total()) / len(sampler.data))
        return epoch_figures(self.config.dataset.task, scores, tables["target"], tables["classes"])


def scored(config: RunConfig, models: list[PairModel], data: RoundData) -> dict[str, float]:
    """The metrics of an ensemble on `data` after an epoch, evaluated as train.evaluation says."""
    return epoch_figures(config.dataset.task, asked(config, models, data), data.target, data.classes)


def finished(config: RunConfig, models: list[PairModel], splits: RoundSplits, outcome: Outcome) -> None:
    """Store the final metrics of trained models in `outcome`.

    Raises:
        Diverged: they are not finite.
    """
    final = final_figures(config, models, splits.test, splits.validation)
    if not (math.isfinite(final["loss"]) and math.isfinite(final["total_loss"])):
        raise Diverged
    outcome.metrics = {name: _finite(value) for name, value in final.items()}


def average_of(model: PairModel, decay: float) -> AveragedModel | None:
    """A moving average of the weights of `model`; None if `decay` is 0."""
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True) if decay else None


def weights(model: PairModel, average: AveragedModel | None) -> PairModel:
    """The model that is evaluated: the average, if there is one."""
    if average is None:
        return model
    assert isinstance(average.module, PairModel)
    return average.module


def append_curve(curves: dict[str, list[float | None]], figures: dict[str, float]) -> None:
    """Append the metrics of one epoch to the curves."""
    for name, value in figures.items():
        curves.setdefault(name, []).append(_finite(value))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
