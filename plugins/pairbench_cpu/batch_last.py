"""The accelerator `batch_last`: convolutions in machine code over images whose last axis is the batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import pairbench
from pairbench_cpu.requirements import llvm_missing, torch_missing

if TYPE_CHECKING:
    import torch
    from torch import nn


class BatchLast(pairbench.Accelerator):
    """Convolutions of few channels, with the batch norm, ReLU and dropout after them, and max pooling.

    In bf16 only the products of 3x3 convolutions are rounded, on processors with tile registers (Intel AMX).
    """

    name = "batch_last"
    contiguous = True
    neutral_in_bf16 = True
    # More pairs at once do not stay in the processor's cache.
    inference_batch: ClassVar[int | None] = 128

    def unavailable(self) -> str:
        """Why it cannot be used: llvmlite, a name of torch's, or code for this processor is missing."""
        return torch_missing() or llvm_missing()

    def suits(self, model: nn.Module, device: torch.device, precision: str) -> bool:
        """Whether all convolutions of `model` can be computed this way, and most are faster so."""
        if device.type != "cpu":
            return False
        from pairbench_cpu.amx import has_matrices
        from pairbench_cpu.patching import fast_parts

        half = precision == "bf16"
        if half and not has_matrices():
            return False
        layers = fast_parts(model)
        return bool(layers) and (not half or any(layer.halves for layer in layers))

    @contextmanager
    def applied(self, model: nn.Module, device: torch.device, precision: str) -> Iterator[None]:
        """A block within which the layers of `model` compute this way."""
        from pairbench_cpu.patching import fast_layers

        half = precision == "bf16"
        with fast_layers(model) as layers:
            for layer in layers:
                layer.half = half
            pairs: Any = model
            pairs.views_together = pairs.views_together or pairs.batch_coupled
            pairs.casts_itself = pairs.casts_itself or half
            yield
