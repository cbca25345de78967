"""A recurrent layer of Elman's form: the gradients of its weights are one product over all steps, not one for each."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pairbench_cpu.vmap_function import VmapFunction, several

_NAMES = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


class Recurrence(VmapFunction):
    """x (T, N, I), weights (H, I) and (H, H), bias (H) or None -> states (T, N, H).

    h[t] = tanh(x[t] @ first.T + bias + h[t - 1] @ second.T), from zeros on. All may have one more axis in front, for
    models that are trained at once.
    """

    @staticmethod
    def forward(x: Tensor, first: Tensor, second: Tensor, bias: Tensor | None) -> Tensor:
        states: Tensor = x.flatten(-3, -2) @ first.mT
        if bias is not None:
            states += bias.unsqueeze(-2)
        states = states.unflatten(-2, x.shape[-3:-1])
        before: Tensor | None = None
        for state in states.unbind(-3):
            if before is not None:
                _add_product(state, before, second.mT)
            before = state.tanh_()
        return states

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, first, second, bias = inputs
        ctx.save_for_backward(x, first, second, output)
        ctx.biased = bias is not None

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, first, second, states = ctx.saved_tensors
        found: list[Tensor] = []
        for back, state in zip(reversed(gradients[0].unbind(-3)), reversed(states.unbind(-3)), strict=True):
            total = back + found[-1] @ second if found else back
            found.append(torch.ops.aten.tanh_backward(total, state))
        passed = torch.stack(found[::-1], dim=-3)
        flat = passed.flatten(-3, -2)
        later = passed[..., 1:, :, :].flatten(-3, -2)
        return (
            (flat @ first).unflatten(-2, x.shape[-3:-1]) if ctx.needs_input_grad[0] else None,
            flat.mT @ x.flatten(-3, -2),
            later.mT @ states[..., :-1, :, :].flatten(-3, -2),
            flat.sum(-2) if ctx.biased else None,
        )


class FastRnn:
    """Stands in for the forward of an nn.RNN of one layer and direction."""

    def __init__(self, module: nn.RNN) -> None:
        self.module = module

    def __call__(self, rows: Tensor, hx: Tensor | None = None) -> tuple[Tensor, Tensor]:
        module = self.module
        if hx is not None or not _suits(rows):
            plain: tuple[Tensor, Tensor] = nn.RNN.forward(module, rows, hx)
            return plain
        x = (rows.transpose(0, 1) if module.batch_first else rows).contiguous()
        first, second, *biases = (getattr(module, name) for name in _NAMES[: 4 if module.bias else 2])
        states = Recurrence.apply(x, first, second, sum(biases) if biases else None)
        return states.transpose(0, 1) if module.batch_first else states, states[-1:]


def elman_layers(model: nn.Module) -> list[nn.RNN]:
    """The recurrent layers of `model` that have a faster way."""
    return [part for part in model.modules() if type(part) is nn.RNN and _simple(part)]


@contextmanager
def fast_recurrence(model: nn.Module) -> Generator[list[FastRnn]]:
    """Within this block, recurrent layers of `model` that have a faster way take it."""
    found = [FastRnn(part) for part in elman_layers(model)]
    for layer in found:
        layer.module.forward = layer  # type: ignore[method-assign, assignment]
    try:
        yield found
    finally:
        for layer in found:
            del layer.module.forward


def _simple(part: nn.RNN) -> bool:
    return (
        part.num_layers == 1 and not part.bidirectional and part.nonlinearity == "tanh" and "forward" not in vars(part)
    )


def _suits(rows: Any) -> bool:
    return (
        isinstance(rows, Tensor)
        and rows.ndim == 3
        and rows.device.type == "cpu"
        and rows.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled("cpu")
        and several() is not None
    )


def _add_product(target: Tensor, one: Tensor, other: Tensor) -> None:
    """target += one @ other, for one matrix or several."""
    target.baddbmm_(one, other) if target.ndim == 3 else target.addmm_(one, other)
