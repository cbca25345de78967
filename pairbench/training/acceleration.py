"""The faster way of training: where pairbench's own layers are used, and the memory layout that suits each way."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager

import torch

from pairbench.config.train_options import TrainOptions
from pairbench.kernels.finding import fast_layers, fast_parts
from pairbench.kernels.matrix import has_matrices
from pairbench.kernels.recurrent import fast_recurrence
from pairbench.model.pair_model import PairModel


def laid_out(model: PairModel, train: TrainOptions, device: torch.device) -> PairModel:
    """`model` on `device`, its weights in the order in memory that training them takes."""
    # The library's convolutions are faster with channels last, and nothing else minds.
    layout = torch.contiguous_format if has_ways(train, device, model) else torch.channels_last
    return model.to(device).to(memory_format=layout)


@contextmanager
def fast(train: TrainOptions, device: torch.device, *models: PairModel) -> Generator[bool]:
    """Within it, convolutions of `models` take their faster way, where they have one; gives whether they have.

    With train.precision=bf16 they then multiply in bf16 themselves, and nothing else does: casting what is small costs
    more than it saves.
    """
    found = False
    with ExitStack() as stack:
        for model in dict.fromkeys(models):
            if device.type == "cpu" and train.compile != "on" and train.precision != "bf16":
                stack.enter_context(fast_recurrence(model))
            if not has_ways(train, device, model):
                continue
            layers, found = stack.enter_context(fast_layers(model)), True
            changes = {"parts_for_norms": model.parts_for_norms or model.batch_coupled}
            if train.precision == "bf16":
                changes["halves"] = True
                for layer in layers:
                    layer.half = True
            for name, value in changes.items():
                stack.callback(setattr, model, name, getattr(model, name))
                setattr(model, name, value)
        yield found


def autocast(model: PairModel, device: str, bf16: bool) -> torch.autocast:
    """Autocast to bf16 on a kind of device, where it is asked for and `model` does not multiply in it by itself."""
    return torch.autocast(device, torch.bfloat16, bf16 and not model.halves)


def has_ways(train: TrainOptions, device: torch.device, model: PairModel) -> bool:
    """Whether the convolutions of `model` have a faster way on `device`."""
    if device.type != "cpu" or train.compile == "on":
        return False
    if train.precision == "bf16" and not has_matrices():
        return False
    layers = fast_parts(model)
    return bool(layers) and (train.precision != "bf16" or any(layer.halves for layer in layers))
