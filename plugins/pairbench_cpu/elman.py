"""The accelerator `elman_backward`: the weight gradients of a tanh recurrence as one product over all steps."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import pairbench
from pairbench_cpu.requirements import torch_missing

if TYPE_CHECKING:
    import torch
    from torch import nn


class ElmanBackward(pairbench.Accelerator):
    """Recurrent layers of Elman's form, one layer and one direction, in single precision."""

    name = "elman_backward"

    def unavailable(self) -> str:
        """Why it cannot be used: a name of torch's is missing."""
        return torch_missing()

    def suits(self, model: nn.Module, device: torch.device, precision: str) -> bool:
        """Whether `model` has such a layer."""
        if device.type != "cpu" or precision == "bf16":
            return False
        from pairbench_cpu.rnn import elman_layers

        return bool(elman_layers(model))

    def applied(self, model: nn.Module, device: torch.device, precision: str) -> AbstractContextManager[object]:
        """A block within which these layers compute this way."""
        from pairbench_cpu.rnn import fast_recurrence

        return fast_recurrence(model)
