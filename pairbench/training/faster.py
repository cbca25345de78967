"""The faster way of training: where pairbench's own layers are used, and the memory layout that suits each way."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager

import torch

from pairbench.config import TrainOptions
from pairbench.kernels.finding import fast_layers, fast_parts
from pairbench.model import PairModel


def laid_out(model: PairModel, train: TrainOptions, device: torch.device) -> PairModel:
    """`model` on `device`, its weights in the order in memory that training them takes."""
    fast = _may_be_fast(train, device) and fast_parts(model)
    # The library's convolutions are faster with channels last, and nothing else minds.
    return model.to(device).to(memory_format=torch.contiguous_format if fast else torch.channels_last)


@contextmanager
def fast(train: TrainOptions, device: torch.device, *models: PairModel) -> Generator[bool]:
    """Within it, convolutions of `models` take their faster way, where they have one; gives whether they have."""
    found = False
    with ExitStack() as stack:
        for model in dict.fromkeys(models if _may_be_fast(train, device) else ()):
            found = bool(stack.enter_context(fast_layers(model)))
            if found and model.batch_coupled and not model.parts_for_norms:
                model.parts_for_norms = True
                stack.callback(setattr, model, "parts_for_norms", False)
        yield found


def _may_be_fast(train: TrainOptions, device: torch.device) -> bool:
    return device.type == "cpu" and train.compile != "on" and train.precision == "fp32"
