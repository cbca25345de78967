"""The engine `stacked`: several rounds of one config at once, their weights in one tensor with an axis for the rounds.

Each round has the same data, order, initial weights and gradients as in the engine `loop`. Random numbers inside the
network (dropout) have the same distribution, but other values.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.optim.swa_utils import AveragedModel

from pairbench.config.run_config import RunConfig
from pairbench.data.round_data import RoundData
from pairbench.model.pair_model import PairModel, build_model
from pairbench.plugin.components import PairBatch
from pairbench.seeds import member_seed
from pairbench.training.acceleration import accelerated, autocast
from pairbench.training.epoch_buffer import Gathered
from pairbench.training.evaluation import Scores
from pairbench.training.final_metrics import epoch_figures
from pairbench.training.frozen_features import looked_up
from pairbench.training.loop import Diverged, Outcome, RoundSplits, append_curve, average_of, finished, scored, weights
from pairbench.training.optim import (
    Schedule,
    build_optimizer,
    build_schedule,
    optimizer_over,
    watches_loss,
    works_elementwise,
)
from pairbench.training.sampling import Sampler, batch_slices

OnStackedEpoch = Callable[[int, int, float, float | None], None]


class NotStackable(Exception):  # noqa: N818 - a reason to use the other engine, not a fault
    """The rounds of this config cannot be trained at once; the message says why."""


@dataclass
class Layer:
    """One model of the stack: round `number`, member `member` of its ensemble."""

    number: int
    member: int
    model: PairModel
    sampler: Sampler
    average: AveragedModel | None
    alive: bool = True


class _Step(nn.Module):
    """A model and its loss as one function of tensors: (images, target, classes) -> total, logits, class logits."""

    def __init__(self, model: PairModel, supervises: bool, bf16: bool, device: str) -> None:
        super().__init__()
        self.model, self.supervises, self.bf16, self.device = model, supervises, bf16, device

    def forward(self, images: Tensor, target: Tensor, classes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with autocast(self.model, self.device, self.bf16):
            comparison = self.model(images)
        comparison = comparison.float() if self.bf16 else comparison
        total, _ = self.model.loss(comparison, PairBatch(images, target, classes))
        guesses = self.model.class_logits(comparison.embeddings) if self.supervises else comparison.logits[..., :0]
        return total, comparison.logits, guesses


class Stack:
    """Models of the same architecture whose parameters and buffers are views of stacked tensors."""

    def __init__(self, models: Sequence[PairModel], step: Callable[[PairModel], _Step]) -> None:
        self.models = list(models)
        self.base = step(models[0])
        self.parameters = {
            f"model.{name}": self._stacked(name, [dict(model.named_parameters())[name] for model in models])
            for name, _ in models[0].named_parameters()
        }
        self.buffers = {
            f"model.{name}": torch.stack([dict(model.named_buffers())[name] for model in models])
            for name, _ in models[0].named_buffers()
        }
        for number, model in enumerate(models):
            for name, parameter in model.named_parameters():
                parameter.data = self.parameters[f"model.{name}"].data[number]
            for name, buffer in model.named_buffers():
                buffer.data = self.buffers[f"model.{name}"][number]
        self._through_grad = self._plain_works = False

    @staticmethod
    def _stacked(name: str, parts: Sequence[nn.Parameter]) -> nn.Parameter:
        if len({part.shape for part in parts}) > 1:
            raise NotStackable(f"its rounds have parameters '{name}' of different shapes")
        return nn.Parameter(torch.stack([part.detach() for part in parts]), requires_grad=parts[0].requires_grad)

    def trainable(self) -> list[nn.Parameter]:
        """The stacked parameters (R, ...) that are trained."""
        return [parameter for parameter in self.parameters.values() if parameter.requires_grad]

    def backward(self, images: Tensor, target: Tensor, classes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One forward and backward pass of all rounds, which sets `grad` of the stacked parameters.

        Args:
            images: (R, N, V, C, H, W).
            target: (R, N).
            classes: (R, N, V).

        Returns:
            total (R,), logits (R, N, O) and class logits (R, N, M, K), all detached.

        Raises:
            NotStackable: torch cannot batch an operation of this network.
        """
        if not self._through_grad:
            try:
                return self._plain(images, target, classes)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError:
                if self._plain_works:
                    raise
                # Some layers, such as torch's recurrent ones, batch only once autograd has taken them apart, one
                # transformation further in. Anything else fails there again.
                self._through_grad = True
        return self._transformed(images, target, classes)

    def _call(
        self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], *tensors: Tensor
    ) -> tuple[tuple[Tensor, Tensor, Tensor], dict[str, Tensor]]:
        # Cloned, because transformations cannot write to tensors from outside; read back by name, because some modules
        # replace a buffer instead of writing to it.
        state = {**parameters, **{name: buffer.clone() for name, buffer in buffers.items()}}
        outputs = functional_call(self.base, state, tensors)
        return outputs, {name: state[name] for name in buffers}

    def _plain(self, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        outputs, buffers = vmap(self._call, randomness="different")(self.parameters, self.buffers, *tensors)
        outputs[0].sum().backward()
        self._plain_works = True
        self._take(buffers)
        return _detached(outputs)

    def _transformed(self, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        def one(
            trained: dict[str, Tensor], fixed: dict[str, Tensor], buffers: dict[str, Tensor], *parts: Tensor
        ) -> tuple[dict[str, Tensor], Any]:
            def loss(trained: dict[str, Tensor]) -> tuple[Tensor, Any]:
                outputs, state = self._call({**trained, **fixed}, buffers, *parts)
                return outputs[0], (outputs, state)

            gradients, (_, aside) = grad_and_value(loss, has_aux=True)(trained)
            return gradients, aside

        trained = {name: item.detach() for name, item in self.parameters.items() if item.requires_grad}
        fixed = {name: item.detach() for name, item in self.parameters.items() if not item.requires_grad}
        gradients, (outputs, buffers) = vmap(one, randomness="different")(trained, fixed, self.buffers, *tensors)
        for name, gradient in gradients.items():
            parameter = self.parameters[name]
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        self._take(buffers)
        return _detached(outputs)

    def _take(self, buffers: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, buffer in buffers.items():
                self.buffers[name].copy_(buffer)

    def clip(self, most: float) -> None:
        """Scale the gradient of each round down to a norm of at most `most`, as torch's clip_grad_norm_ does."""
        gradients = [item.grad for item in self.trainable() if item.grad is not None]
        squares = torch.stack([gradient.flatten(1).square().sum(1) for gradient in gradients])
        scale = (most / (squares.sum(0).sqrt() + 1e-6)).clamp(max=1.0)  # (R,)
        for gradient in gradients:
            gradient.mul_(scale.view(-1, *[1] * (gradient.ndim - 1)))


def _detached(outputs: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    total, logits, class_logits = outputs
    return total.detach(), logits.detach(), class_logits.detach()


class Optimizers:
    """The optimiser and schedule of a stack: one for all models if that is exact, else one for each."""

    def __init__(self, stack: Stack, config: RunConfig, steps_per_epoch: int) -> None:
        train = config.train
        self.stack, self.together = stack, works_elementwise(train) and not watches_loss(train)
        if self.together:
            self.optimizers = [optimizer_over(stack.trainable(), train, stacked=True)]
        else:
            self.optimizers = [build_optimizer(train, model) for model in stack.models]
        self.schedules: list[Schedule] = [
            build_schedule(train, optimizer, steps_per_epoch) for optimizer in self.optimizers
        ]

    def clear(self) -> None:
        """Clear the gradients of the last step."""
        for parameter in self.stack.trainable():
            parameter.grad = None

    def step(self) -> None:
        """One step of every model."""
        if not self.together:
            for number, model in enumerate(self.stack.models):
                for name, parameter in model.named_parameters():
                    gradient = self.stack.parameters[f"model.{name}"].grad
                    parameter.grad = None if gradient is None else gradient[number]
        for optimizer in self.optimizers:
            optimizer.step()
        for schedule in self.schedules:
            schedule.step()

    def epoch(self, done: int, losses: Sequence[float]) -> None:
        """Advance the schedules after an epoch with these training losses."""
        for schedule, loss in zip(self.schedules, losses, strict=False):
            schedule.epoch(done, loss)


def why_not(config: RunConfig) -> str:
    """Why the options of `config` do not allow its rounds to be trained at once; "" if they do."""
    if config.train.carry_over:
        return "train.carry_over passes the model of one round on to the next"
    return ""


class Stacked:
    """Trains rounds of one config at once, each with its own data, weights and order."""

    def __init__(self, config: RunConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        self.models: list[PairModel] = []
        self.layers: list[Layer] = []

    def run(
        self, splits: Mapping[int, RoundSplits], on_epoch: OnStackedEpoch | None = None
    ) -> Iterator[tuple[int, Outcome]]:
        """Train the rounds of `splits` together, then evaluate and yield them one by one.

        `models` is the ensemble of the round that was yielded last.

        Raises:
            NotStackable: these rounds cannot be trained at once.
        """
        reason = why_not(self.config)
        sizes = {len(part.train) for part in splits.values()}
        if reason or len(sizes) > 1:
            raise NotStackable(reason or "its rounds have different numbers of training pairs")
        outcomes = {number: Outcome() for number in splits}
        stack = self.prepare({number: part.train for number, part in splits.items()})
        with self.accelerated() as used:
            self._train(stack, splits, outcomes, on_epoch)
        for number, outcome in outcomes.items():
            layers = [layer for layer in self.layers if layer.number == number]
            self.models = [weights(layer.model, layer.average) for layer in layers]
            outcome.accelerators = used
            try:
                if not all(layer.alive for layer in layers):
                    raise Diverged
                with accelerated(self.config.train, self.device, *self.models):
                    finished(self.config, self.models, splits[number], outcome)
            except Diverged:
                outcome.status, outcome.metrics = "diverged", {}
            yield number, outcome

    def accelerated(self) -> AbstractContextManager[tuple[str, ...]]:
        """A block within which accelerators compute for all models and their averages; gives their names."""
        models = [model for layer in self.layers for model in (layer.model, weights(layer.model, layer.average))]
        return accelerated(self.config.train, self.device, *models)

    def prepare(self, data: Mapping[int, RoundData]) -> Stack:
        """A stack of new models for the rounds of `data`; `layers` describes each."""
        train, task = self.config.train, self.config.dataset.task
        self.layers = []
        for number, part in data.items():
            for member in range(train.members):
                torch.manual_seed(member_seed(train.seed, number, "weights", member))
                model = build_model(self.config).to(self.device)
                model.train()
                if looked_up(model, train.augment) and not train.transforms:
                    raise NotStackable("its frozen encoder encodes each image only once, which is cheaper")
                sampler = Sampler(train, task, part, number, member)
                self.layers.append(Layer(number, member, model, sampler, average_of(model, train.ema)))
        supervises, bf16 = self.config.loss.supervises_classes, train.precision == "bf16"
        return Stack(
            [layer.model for layer in self.layers], lambda model: _Step(model, supervises, bf16, self.device.type)
        )

    def _train(
        self,
        stack: Stack,
        splits: Mapping[int, RoundSplits],
        outcomes: Mapping[int, Outcome],
        on_epoch: OnStackedEpoch | None,
    ) -> None:
        train = self.config.train
        count = len(next(iter(splits.values())).train)
        optimizers = Optimizers(stack, self.config, len(batch_slices(count, train.batch_size)))
        for epoch in range(1, train.epochs + 1):
            started = time.perf_counter()
            figures = self.epoch(stack, optimizers)
            optimizers.epoch(epoch, [item["total_loss"] for item in figures])
            share = (time.perf_counter() - started) / len(splits)
            for layer, item in zip(self.layers, figures, strict=True):
                outcome = outcomes[layer.number]
                if not layer.member:
                    outcome.train_seconds += share
                was, layer.alive = layer.alive, layer.alive and math.isfinite(item["total_loss"])
                if layer.member or not was:
                    continue
                append_curve(outcome.curves["train"], item)
                accuracy = None
                if layer.alive and train.evaluate_every and epoch % train.evaluate_every == 0:
                    test = scored(self.config, [weights(layer.model, layer.average)], splits[layer.number].test)
                    append_curve(outcome.curves["test"], test)
                    accuracy = test["accuracy"]
                if on_epoch:
                    on_epoch(layer.number, epoch, item["total_loss"], accuracy)
            if not any(layer.alive for layer in self.layers):
                break

    def epoch(self, stack: Stack, optimizers: Optimizers) -> list[dict[str, float]]:
        """One pass of every model over its training pairs; returns the metrics of each, in training mode."""
        gathered = Gathered(len(self.layers[0].sampler.data), axis=1)
        for batch in self._batches():
            total, said, guessed = self._step(stack, optimizers, batch)
            pieces = {"logits": said, "guesses": guessed, "target": batch.target, "classes": batch.classes}
            gathered.add(total * batch.target.shape[1], pieces)
        return self._figures(gathered.total(), **gathered.tables)

    def stepper(self, stack: Stack, optimizers: Optimizers) -> Iterator[None]:
        """Endless training steps, one for each `next`; their results are discarded."""
        with self.accelerated():
            while True:
                for batch in self._batches():
                    self._step(stack, optimizers, batch)
                    yield

    def _batches(self) -> Iterator[PairBatch]:
        """The batches of the next epoch with an axis for the rounds: images (R, N, V, C, H, W)."""
        for layer in self.layers:
            layer.model.train()
        arranged = [layer.sampler.arranged() for layer in self.layers]
        target, classes = torch.stack([item[1] for item in arranged]), torch.stack([item[2] for item in arranged])
        for part in batch_slices(target.shape[1], self.config.train.batch_size):
            images = [layer.sampler.images(item[0][part]) for layer, item in zip(self.layers, arranged, strict=True)]
            yield PairBatch(torch.stack(images), target[:, part], classes[:, part])

    def _step(self, stack: Stack, optimizers: Optimizers, batch: PairBatch) -> tuple[Tensor, Tensor, Tensor]:
        """One step of every model; returns what `Stack.backward` does."""
        optimizers.clear()
        outputs = stack.backward(batch.images, batch.target, batch.classes)
        if self.config.train.clip_norm is not None:
            stack.clip(self.config.train.clip_norm)
        optimizers.step()
        for layer in self.layers:
            if layer.average is not None:
                layer.average.update_parameters(layer.model)
        return outputs

    def _figures(
        self, total: Tensor, logits: Tensor, guesses: Tensor, target: Tensor, classes: Tensor
    ) -> list[dict[str, float]]:
        sums, supervises = total.cpu(), self.config.loss.supervises_classes
        return [
            epoch_figures(
                self.config.dataset.task,
                Scores(logits[row], guesses[row] if supervises else None, float(sums[row]) / target.shape[1]),
                target[row],
                classes[row],
            )
            for row in range(len(self.layers))
        ]
