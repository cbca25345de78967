"""Optimisers and schedules of torch and timm by name, and those of other packages by their dotted path."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer, lr_scheduler

from pairbench.config.train_options import TrainOptions
from pairbench.errors import MismatchError
from pairbench.plugin.dotted import imported, is_dotted
from pairbench.text import did_you_mean, one_line, printable, quoted

# These need more than a gradient and a step: a closure, second derivatives, sparse gradients.
_REFUSED = {"lbfgs", "adahessian", "sparseadam", "optimizer"}
# These update each element of a parameter independently, whatever its shape.
_ELEMENTWISE = {"adadelta", "adagrad", "adam", "adamax", "adamw", "nadam", "radam", "rmsprop", "rprop", "sgd"}
# torch's Muon only accepts matrices; timm's flattens convolutions and leaves the rest to AdamW.
_TIMMS_OWN = {"muon"}
# A matrix, a bias and a convolution, which optimisers treat differently.
_SHAPES = ((4, 4), (4,), (4, 4, 3, 3))
# torch's StepLR and MultiStepLR are available as steplr and multisteplr.
_TIMMS_SCHEDULES = {"step", "multistep", "plateau", "poly", "tanh"}


def build_optimizer(train: TrainOptions, model: nn.Module) -> Optimizer:
    """The optimiser that `train` names over the trainable parameters of `model`.

    Raises:
        MismatchError: neither torch nor timm has it, it cannot train these networks, or an argument is wrong.
    """
    return optimizer_over([parameter for parameter in model.parameters() if parameter.requires_grad], train)


def works_elementwise(train: TrainOptions) -> bool:
    """Whether the optimiser updates each element independently, so that it can train stacked parameters as they are."""
    return train.optimizer.lower().replace("_", "") in _ELEMENTWISE


def optimizer_over(trainable: list[nn.Parameter], train: TrainOptions, *, stacked: bool = False) -> Optimizer:
    """The optimiser that `train` names over `trainable`, whose first dimension is the rounds if they are stacked.

    Raises:
        MismatchError: neither torch nor timm has it, it cannot train these networks, or an argument is wrong.
    """
    name = train.optimizer.lower().replace("_", "")
    arguments: dict[str, Any] = dict(train.optimizer_options)
    if train.weight_decay is not None:
        arguments["weight_decay"] = train.weight_decay
    if not trainable:
        raise MismatchError(
            "nothing to train: no component of this config has a trainable parameter. Choose another component."
        )
    if name in _REFUSED:
        raise MismatchError(
            f"train.optimizer={train.optimizer} needs more than a gradient for a step. Use adam, adamw or sgd."
        )
    torch_optimizers = _torch_optimizers()
    chosen: Any = _groups(trainable, train, matrix=3 if stacked else 2)
    if is_dotted(train.optimizer):
        return _other_optimizer(train, chosen, arguments)
    try:
        if name in torch_optimizers and name not in _TIMMS_OWN:
            kind = torch_optimizers[name]
            if "fused" in inspect.signature(kind).parameters and name in {"adam", "adamw", "sgd"}:
                arguments.setdefault("fused", True)
            return kind(chosen, lr=train.learning_rate, **arguments)
        return _timm_optimizer(train, chosen, arguments)
    except MismatchError:
        raise
    except (TypeError, ValueError, AssertionError, ImportError) as error:
        raise _refused(train, error) from error


def try_options(train: TrainOptions) -> None:
    """Take a few steps over small parameters, since some options are only read then.

    Raises:
        MismatchError: the optimiser or the schedule cannot be built, or its first steps fail.
    """
    if not (train.optimizer_options or train.schedule_options or train.dotted()):
        return
    some = [nn.Parameter(torch.ones(shape)) for shape in _SHAPES]
    optimizer = optimizer_over(some, train)
    schedule = build_schedule(train, optimizer, 1)
    for parameter in some:
        parameter.grad = torch.ones_like(parameter)
    # Whatever fails here would fail in every round.
    try:
        optimizer.step()
    except Exception as error:
        raise _refused(train, error) from error
    try:
        schedule.step()
        for done in (1, 2):
            schedule.epoch(done, 1.0)
    except Exception as error:
        raise _refused_schedule(train, error) from error


def _refused(train: TrainOptions, error: Exception) -> MismatchError:
    return MismatchError(
        f"train.optimizer={train.optimizer} rejects its options: {_one_line(error)}. "
        "Fix train.optimizer_options, train.learning_rate or train.weight_decay."
    )


def _groups(parameters: list[nn.Parameter], train: TrainOptions, matrix: int) -> list[dict[str, Any]]:
    """The parameters in one group, or without decay_all those of fewer than two dimensions in another, not decayed."""
    if train.decay_all:
        return [{"params": parameters}]
    matrices = [parameter for parameter in parameters if parameter.ndim >= matrix]
    others = [parameter for parameter in parameters if parameter.ndim < matrix]
    groups: list[dict[str, Any]] = [{"params": matrices}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def watches_loss(train: TrainOptions) -> bool:
    """Whether the schedule depends on the training loss, and may therefore differ between rounds."""
    # One of another package may do so.
    return "plateau" in train.schedule.lower() or is_dotted(train.schedule)


class Schedule:
    """The learning rate over a round: `step` after each optimiser step, `epoch` after each epoch."""

    def __init__(
        self, step: Callable[[], None] | None = None, epoch: Callable[[int, float], None] | None = None
    ) -> None:
        self._step, self._epoch = step, epoch

    def step(self) -> None:
        """One optimiser step is done."""
        if self._step:
            self._step()

    def epoch(self, done: int, metric: float) -> None:
        """`done` epochs are done; `metric` is the last one's mean training loss."""
        if self._epoch:
            self._epoch(done, metric)


def build_schedule(train: TrainOptions, optimizer: Optimizer, steps_per_epoch: int) -> Schedule:
    """The schedule that `train` names.

    Raises:
        MismatchError: neither torch nor timm has it, or an argument is wrong.
    """
    name = train.schedule.lower().replace("_", "")
    total = max(1, train.epochs * steps_per_epoch)
    try:
        if name in ("constant", "cosine", "linear"):
            _refuse_options(train)
            warmup = round(train.warmup * total)
            if name == "constant" and not warmup:
                return Schedule()
            curve = lr_scheduler.LambdaLR(optimizer, lambda done: _share(name, done, warmup, total))
            return Schedule(step=curve.step)
        if name in ("onecycle", "onecyclelr"):
            options: dict[str, Any] = {"max_lr": train.learning_rate, "total_steps": total} | dict(
                train.schedule_options
            )
            if options["total_steps"] < total:
                raise ValueError(f"it ends after {options['total_steps']} steps, and a round takes {total} or more")
            return Schedule(step=lr_scheduler.OneCycleLR(optimizer, **options).step)
        if is_dotted(train.schedule):
            return _other_schedule(train, optimizer, total)
        if name in _TIMMS_SCHEDULES:
            return _timm_schedule(train, optimizer)
        torch_schedules = _torch_schedules()
        kind = torch_schedules.get(name) or torch_schedules.get(f"{name}lr")
        if kind is not None:
            return _torch_schedule(train, optimizer, kind)
        return _timm_schedule(train, optimizer)
    except MismatchError:
        raise
    except (TypeError, ValueError, AttributeError) as error:
        raise _refused_schedule(train, error) from error


def _refused_schedule(train: TrainOptions, error: Exception) -> MismatchError:
    return MismatchError(
        f"train.schedule={train.schedule} rejects its options: {_one_line(error)}. Fix train.schedule_options."
    )


def _share(name: str, done: int, warmup: int, total: int) -> float:
    """The fraction of the peak learning rate after `done` of `total` steps."""
    if done < warmup:
        return (done + 1) / (warmup + 1)
    left = 1 - (done - warmup) / max(1, total - warmup)
    if name == "cosine":
        return 0.5 * (1 - math.cos(math.pi * min(1.0, max(0.0, left))))
    return max(0.0, left) if name == "linear" else 1.0


def _refuse_options(train: TrainOptions) -> None:
    if train.schedule_options:
        option = next(iter(train.schedule_options))
        raise TypeError(f"it has no option {option!r}")


def _torch_optimizers() -> dict[str, Callable[..., Optimizer]]:
    found = vars(torch.optim).items()
    return {name.lower(): kind for name, kind in found if isinstance(kind, type) and issubclass(kind, Optimizer)}


def _torch_schedules() -> dict[str, Callable[..., Any]]:
    found = vars(lr_scheduler).items()
    base = lr_scheduler.LRScheduler
    kinds = {name.lower(): kind for name, kind in found if isinstance(kind, type) and issubclass(kind, base)}
    return {name: kind for name, kind in kinds.items() if kind is not base and not name.startswith("_")}


def _torch_schedule(train: TrainOptions, optimizer: Optimizer, kind: Callable[..., Any]) -> Schedule:
    options: dict[str, Any] = dict(train.schedule_options)
    if "T_max" in inspect.signature(kind).parameters:
        options.setdefault("T_max", train.epochs)
    schedule = kind(optimizer, **options)
    if isinstance(schedule, lr_scheduler.ReduceLROnPlateau):
        return Schedule(epoch=lambda _, metric: schedule.step(metric))
    return Schedule(epoch=lambda *_: schedule.step())


def _other_optimizer(train: TrainOptions, groups: list[dict[str, Any]], arguments: dict[str, Any]) -> Optimizer:
    """The optimiser at a dotted path, called as torch's are: (parameter groups, lr=..., further arguments)."""
    kind = imported(train.optimizer, "train.optimizer")
    if not (isinstance(kind, type) and issubclass(kind, Optimizer)):
        raise MismatchError(
            f"train.optimizer={printable(train.optimizer, 80)} is no subclass of torch.optim.Optimizer. Name one."
        )
    try:
        return kind(groups, lr=train.learning_rate, **arguments)  # type: ignore[call-arg]
    except Exception as error:
        raise _refused(train, error) from error


def _other_schedule(train: TrainOptions, optimizer: Optimizer, total: int) -> Schedule:
    """The scheduler at a dotted path; it advances after each step if it has an argument `total_steps`, else after each
    epoch."""
    kind = imported(train.schedule, "train.schedule")
    try:
        takes = inspect.signature(kind).parameters
        given = {name: value for name, value in (("epochs", train.epochs), ("total_steps", total)) if name in takes}
        made = kind(optimizer, **given | dict(train.schedule_options))
    except Exception as error:
        raise _refused_schedule(train, error) from error
    if isinstance(made, lr_scheduler.ReduceLROnPlateau):
        return Schedule(epoch=lambda _, metric: made.step(metric))
    if not isinstance(made, lr_scheduler.LRScheduler):
        raise MismatchError(
            f"train.schedule={printable(train.schedule, 80)} gave {printable(type(made).__name__, 40)}: "
            "expected a scheduler of torch.optim.lr_scheduler. Name a subclass, or a function that returns one."
        )
    return Schedule(step=made.step) if "total_steps" in takes else Schedule(epoch=lambda *_: made.step())


def _timm_optimizer(train: TrainOptions, groups: list[dict[str, Any]], arguments: dict[str, Any]) -> Optimizer:
    from timm.optim import create_optimizer_v2, list_optimizers

    if train.optimizer.lower() not in list_optimizers():
        known = [*list_optimizers(), *_torch_optimizers()]
        raise MismatchError(
            f"unknown optimizer {quoted(train.optimizer)}: neither torch nor timm has it."
            f"{did_you_mean(train.optimizer.lower(), known)}"
        )
    decay = float(arguments.pop("weight_decay", 0.0))
    optimizer: Optimizer = create_optimizer_v2(
        groups, opt=train.optimizer.lower(), lr=train.learning_rate, weight_decay=decay, **arguments
    )
    return optimizer


def _timm_schedule(train: TrainOptions, optimizer: Optimizer) -> Schedule:
    from timm.scheduler import create_scheduler_v2

    name = train.schedule.lower()
    if name not in _TIMMS_SCHEDULES:
        names = [
            *_TIMMS_SCHEDULES,
            "constant",
            "cosine",
            "linear",
            "one_cycle",
            *(kind for kind in vars(lr_scheduler) if kind[0].isupper()),
        ]
        raise MismatchError(
            f"unknown schedule {quoted(train.schedule)}: neither torch nor timm has it."
            f"{did_you_mean(train.schedule, names)}"
        )
    warmup = round(train.warmup * train.epochs)
    schedule, _ = create_scheduler_v2(
        optimizer,
        sched=name,
        num_epochs=train.epochs,
        warmup_epochs=warmup,
        **dict(train.schedule_options),
    )
    return Schedule(epoch=lambda done, metric: schedule.step(done, metric))


def _one_line(error: Exception) -> str:
    return printable(one_line(error), 160).rstrip(".")
