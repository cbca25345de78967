"""Checks of the module that a recipe builds: seeds, gradients, stacking, saving, and independence of examples."""

from __future__ import annotations

import copy
import io
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from pairbench.plugin.components import Component
from pairbench.testing.kit import broken
from pairbench.testing.network_checks.probes import Probe, isolated, served
from pairbench.text import one_line

EXAMPLES = 5
ROUNDS = 3
STEPS = 6


@isolated
def examples_do_not_depend_on_neighbours(recipe: Component) -> None:
    """In eval mode a batch gives the same outputs as its examples one by one."""
    probe = served(recipe)
    module, inputs = probe.build(0).eval(), probe.inputs(EXAMPLES, 1)
    with torch.no_grad():
        together = probe.call(module, inputs)
        again = probe.call(module, inputs)
        alone = [probe.call(module, tuple(part[n : n + 1] for part in inputs)) for n in range(EXAMPLES)]
    if not _close(together, again):
        raise broken(
            "in eval mode the same input gives two different outputs",
            "Use nn.Dropout, or pass training=self.training to functional dropout; use no random numbers in eval mode",
        )
    if not _close(together, torch.cat(alone)):
        raise broken(
            f"in eval mode an example's output changes by up to {_gap(together, torch.cat(alone)):.2g} "
            "with the other examples in the batch",
            "Compute no batch statistics in eval mode, and do not mix examples in reshapes",
        )


@isolated
def equal_seeds_give_equal_weights(recipe: Component) -> None:
    """torch.manual_seed determines every weight."""
    probe = served(recipe)
    first, second = probe.build(1).state_dict(), probe.build(1).state_dict()
    for name, weight in first.items():
        if name not in second or not _equal(weight, second[name]):
            raise broken(
                f"'{name}' differs between two modules that were built after the same torch.manual_seed",
                "Draw weights only from torch's global generator, not from random, numpy or the clock",
            )


@isolated
def different_seeds_give_different_weights(recipe: Component) -> None:
    """Different seeds give different weights, if there is a trainable matrix; a single scale may start at one."""
    probe = served(recipe)
    first, second = probe.build(1), probe.build(2)
    others = dict(second.named_parameters())
    drawn = {name: weight for name, weight in _trainable(first).items() if weight.ndim >= 2}
    if drawn and all(_equal(weight, others[name]) for name, weight in drawn.items()):
        raise broken(
            "all weights are the same for two different seeds, so rounds would not be independent",
            "Do not seed torch inside build, and do not fill every weight with a constant",
        )


@isolated
def gradients_reach_every_parameter(recipe: Component) -> None:
    """Within a few steps every trainable parameter gets a non-zero gradient; a loss also passes one to its inputs."""
    probe = served(recipe)
    module = probe.build(0)
    parameters = _trainable(module)
    missing, reached = set(parameters), False
    # Several steps, since a weight that starts at zero blocks the gradient of others in the first.
    for step in range(STEPS):
        inputs = _differentiable(probe, probe.inputs(8, step), grad=True)
        module.zero_grad(set_to_none=True)
        value = _objective(probe.call(module, inputs), step)
        if not value.requires_grad:
            break
        value.backward()
        for name, parameter in parameters.items():
            gradient = parameter.grad
            if gradient is not None and not bool(gradient.isfinite().all()):
                raise broken(
                    f"the gradient of '{name}' is not finite",
                    "Bound divisors and the arguments of roots and exponentials",
                )
            if gradient is not None and bool(gradient.any()):
                missing.discard(name)
        reached = reached or any(part.grad is not None and bool(part.grad.any()) for part in inputs[: probe.floats])
        if not missing and reached:
            break
        _step(parameters)
    if missing:
        raise broken(
            f"no gradient reaches {', '.join(sorted(missing)[:5])} ({len(missing)} of {len(parameters)} parameters)",
            "Use it in forward without detach, delete it, or set requires_grad_(False) on it",
        )
    if recipe.slot == "loss" and not reached:
        raise broken("no gradient reaches the logits or the embeddings", "Do not detach them: nothing would be trained")


@isolated
def stacked_rounds_equal_separate_ones(recipe: Component) -> None:
    """Modules stacked with torch.func give the outputs and gradients of each alone, in eval mode."""
    probe = served(recipe)
    modules = [probe.build(seed).eval() for seed in range(ROUNDS)]
    inputs = [probe.inputs(4, seed) for seed in range(ROUNDS)]
    try:
        wide = [copy.deepcopy(module).double() for module in modules]
        separate = [_alone(probe, module, _widened(probe, part)) for module, part in zip(wide, inputs, strict=True)]
        modules, inputs = wide, [_widened(probe, part) for part in inputs]
    except RuntimeError:
        # A module that creates float32 tensors itself is compared in float32.
        separate = [_alone(probe, module, part) for module, part in zip(modules, inputs, strict=True)]
    try:
        outputs, gradients = _together(probe, modules, inputs)
    except Exception as error:
        reason = one_line(error)[:160]
        raise broken(
            f"its rounds cannot be stacked with torch.func.vmap ({type(error).__name__}: {reason})",
            "Avoid .item(), branches on values, assignments to buffers, and classes defined in build; or declare that "
            "it trains one round after the other: expected_failures={'stacked_rounds_equal_separate_ones': 'why'}",
        ) from error
    for number, (output, found) in enumerate(separate):
        if not _close(output, outputs[number]):
            raise broken(
                f"stacked, round {number} differs from a separate one by up to {_gap(output, outputs[number]):.2g}",
                "Keep everything that differs between rounds in parameters and buffers",
            )
        for name, gradient in found.items():
            if not _close(gradient, gradients[name][number]):
                raise broken(
                    f"stacked, the gradient of '{name}' in round {number} differs from a separate one",
                    "Keep everything that differs between rounds in parameters and buffers",
                )


@isolated
def saved_weights_give_equal_outputs(recipe: Component) -> None:
    """The state_dict, saved and loaded without running code, makes another module give the same outputs."""
    probe = served(recipe)
    module, inputs = probe.build(1), probe.inputs(EXAMPLES, 1)
    with torch.no_grad():
        probe.call(module, probe.inputs(8, 2))
        wanted = probe.call(module.eval(), inputs)
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    try:
        state = torch.load(file, weights_only=True)
    except Exception as error:
        raise broken("its state_dict holds more than tensors", "Return plain tensors from state_dict") from error
    other = probe.build(2)
    try:
        other.load_state_dict(state)
    except RuntimeError as error:
        reason = one_line(error)[:160]
        raise broken(
            f"another module rejects its state_dict: {reason}", "Create the same layers in every build"
        ) from error
    with torch.no_grad():
        found = probe.call(other.eval(), inputs)
    if not _close(wanted, found):
        raise broken(
            "a module that loads its weights gives different outputs",
            "Store every tensor that affects the output in a parameter or a persistent buffer",
        )


def _trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: weight for name, weight in module.named_parameters() if weight.requires_grad}


def _differentiable(probe: Probe, inputs: tuple[Tensor, ...], *, grad: bool) -> tuple[Tensor, ...]:
    """The inputs as leaves; those that may get a gradient require it."""
    return tuple(part.detach().requires_grad_(grad and n < probe.floats) for n, part in enumerate(inputs))


def _widened(probe: Probe, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(part.double() if n < probe.floats else part for n, part in enumerate(inputs))


def _objective(output: Tensor, seed: int) -> Tensor:
    """A scalar whose gradient reaches every number of `output`; a loss is a scalar already."""
    if output.ndim == 0:
        return output
    # No random numbers here: under vmap each round would draw different ones.
    weights = (torch.arange(output.numel(), dtype=output.dtype) + seed).cos()
    return (output * weights.view(output.shape)).sum()


@torch.no_grad()
def _step(parameters: dict[str, nn.Parameter]) -> None:
    for parameter in parameters.values():
        if parameter.grad is not None:
            parameter.sub_(0.05 * parameter.grad / (parameter.grad.norm() + 1e-12))


def _alone(probe: Probe, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Tensor]]:
    """Output and gradients of one round, by plain autograd."""
    leaves = _differentiable(probe, inputs, grad=True)
    output = probe.call(module, leaves)
    value = _objective(output, 0)
    parameters = _trainable(module)
    if not value.requires_grad or not parameters:
        return output.detach(), {name: torch.zeros_like(weight) for name, weight in parameters.items()}
    found = torch.autograd.grad(value, list(parameters.values()), allow_unused=True, materialize_grads=True)
    return output.detach(), dict(zip(parameters, found, strict=True))


def _together(
    probe: Probe, modules: list[nn.Module], inputs: list[tuple[Tensor, ...]]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Outputs and gradients of all rounds, (R, ...) each."""
    base = copy.deepcopy(modules[0])
    parameters, buffers = torch.func.stack_module_state(modules)
    stacked = tuple(torch.stack(parts) for parts in zip(*inputs, strict=True))

    def one(weights: dict[str, Tensor], state: dict[str, Tensor], *parts: Tensor) -> tuple[Any, Tensor]:
        def value(weights: dict[str, Tensor], floats: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
            def forward(*arguments: Any) -> Any:
                return torch.func.functional_call(base, (weights, state), arguments)

            output = probe.call(forward, (*floats, *parts[probe.floats :]))
            return _objective(output, 0), output

        # Under `grad` recurrent layers are decomposed into operations that vmap can batch.
        (gradients, _), output = torch.func.grad(value, argnums=(0, 1), has_aux=True)(weights, parts[: probe.floats])
        return gradients, output

    with warnings.catch_warnings():
        # Batching an operation with a slow loop is allowed.
        warnings.simplefilter("ignore")
        gradients, outputs = torch.func.vmap(one, randomness="different")(parameters, buffers, *stacked)
    return outputs.detach(), {name: gradient.detach() for name, gradient in gradients.items()}


def _equal(first: Any, second: Any) -> bool:
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return torch.equal(first, second)
    return bool(first == second)


def _gap(first: Tensor, second: Tensor) -> float:
    return float((first - second).abs().max()) if first.shape == second.shape and first.numel() else float("inf")


def _close(first: Tensor, second: Tensor) -> bool:
    """Whether the two agree up to rounding, relative to the largest value."""
    if first.shape != second.shape:
        return False
    tolerance = 1e-7 if first.dtype == torch.float64 and second.dtype == torch.float64 else 1e-4
    scale = max(1.0, float(first.abs().max())) if first.numel() else 1.0
    return torch.allclose(first, second, rtol=0, atol=tolerance * scale, equal_nan=True)
