"""Where accelerators compute: which of them suit a model, and the memory layout and precision that go with them."""

from __future__ import annotations

import functools
from collections.abc import Generator
from contextlib import ExitStack, contextmanager

import torch

from pairbench.config.train_options import TrainOptions
from pairbench.model.pair_model import PairModel
from pairbench.plugin.accelerator_choice import allowed
from pairbench.plugin.accelerators import Accelerator
from pairbench.plugin.notify import tell_note
from pairbench.plugin.registry import installed, reason_of
from pairbench.text import quoted


def laid_out(model: PairModel, train: TrainOptions, device: torch.device) -> PairModel:
    """`model` on `device`, its weights in the memory layout that training them takes."""
    contiguous = any(accelerator.contiguous for accelerator in suitable(model, train, device).values())
    # torch's convolutions are faster with channels last, and nothing else minds.
    return model.to(device).to(memory_format=torch.contiguous_format if contiguous else torch.channels_last)


@contextmanager
def accelerated(train: TrainOptions, device: torch.device, *models: PairModel) -> Generator[tuple[str, ...]]:
    """A block within which every accelerator that suits one of `models` computes for it; gives their names."""
    used: dict[str, None] = {}
    with ExitStack() as stack:
        for model in dict.fromkeys(models):
            for attribute in ("views_together", "casts_itself"):
                stack.callback(setattr, model, attribute, getattr(model, attribute))
            for name, accelerator in suitable(model, train, device).items():
                stack.enter_context(accelerator.applied(model, device, _precision(train)))
                used[name] = None
        yield tuple(used)


def autocast(model: PairModel, device: str, bf16: bool) -> torch.autocast:
    """Autocast to bf16 on a kind of device, where it is asked for and `model` does not multiply in it by itself."""
    return torch.autocast(device, torch.bfloat16, bf16 and not model.casts_itself)


def suitable(model: PairModel, train: TrainOptions, device: torch.device) -> dict[str, Accelerator]:
    """The accelerators that make `model` faster on `device`, by name; none where torch compiles it."""
    if train.compile == "on":
        return {}
    return {name: item for name, item in usable().items() if _suits(name, item, model, device, _precision(train))}


@functools.cache
def usable() -> dict[str, Accelerator]:
    """The accelerators that may and can be used on this machine, by name."""
    found = allowed(installed())
    return {name: accelerator for name, accelerator in found.items() if not why_unavailable(accelerator)}


def why_unavailable(accelerator: Accelerator) -> str:
    """Why `accelerator` cannot be used here, in one line; "" where it can."""
    try:
        return accelerator.unavailable()
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything, and torch's own code does the same
        return reason_of(error)


def _suits(name: str, accelerator: Accelerator, model: PairModel, device: torch.device, precision: str) -> bool:
    try:
        return accelerator.suits(model, device, precision)
    except Exception as error:  # noqa: BLE001 - as above
        tell_note(f"accelerator {quoted(name)} is not used: {reason_of(error)}")
        return False


def _precision(train: TrainOptions) -> str:
    return "bf16" if train.precision == "bf16" else "fp32"
