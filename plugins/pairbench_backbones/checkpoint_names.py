"""Finds a network's weights in a checkpoint: their prefix, and the tensors that do not belong to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pairbench import MismatchError, printable

if TYPE_CHECKING:
    from torch import Tensor

State = Mapping[str, "Tensor"]
# Weights averaged over training, preferred as in timm.
AVERAGED = ("state_dict_ema", "model_ema")
# The depth of nested mappings; a pickle may contain itself.
DEEPEST = 10


@dataclass(frozen=True)
class Located:
    """The weights of one network in a checkpoint.

    prefix: the prefix of their names, "" or ending in a dot.
    state: the tensors by their names in the network.
    left_out: the full names of the other tensors.
    """

    prefix: str
    state: dict[str, Tensor]
    left_out: tuple[str, ...]


def flattened(content: Any) -> dict[str, Tensor]:
    """Every tensor in nested mappings, by its path of keys joined with dots."""
    from torch import Tensor

    found: dict[str, Tensor] = {}

    def visit(value: Any, path: str, above: tuple[int, ...]) -> None:
        if isinstance(value, Tensor):
            found[path] = value
        elif isinstance(value, Mapping) and len(above) < DEEPEST and id(value) not in above:
            for name, inner in value.items():
                visit(inner, f"{path}.{name}" if path else str(name), (*above, id(value)))

    visit(content, "", ())
    return found


def located(
    tensors: State, own: State, classifiers: Sequence[str], *, prefix: str | None, path: str, option: str
) -> Located | None:
    """The weights that fit a network whose tensors are `own`; None if no prefix has all of them.

    Args:
        tensors: every tensor of the checkpoint by its full name.
        own: the network's `state_dict`.
        classifiers: modules that the network lacks; a checkpoint may have them, with any number of classes.
        prefix: the only prefix to consider; None considers all.
        path: the checkpoint, for messages.
        option: the option that names a prefix, for messages.

    Raises:
        MismatchError: several prefixes have different weights that fit, or none starts with `prefix`.
    """
    if prefix is not None:
        wanted = f"{prefix.rstrip('.')}." if prefix.rstrip(".") else ""
        if not any(name.startswith(wanted) for name in tensors):
            raise MismatchError(
                f"{option}={printable(prefix, 60)}: checkpoint '{path}' has no tensor below it. "
                f"Choose from {_listed(prefixes(tensors))}."
            )
        candidates = [wanted]
    else:
        candidates = _candidates(tensors, own)
    fitting = [candidate for candidate in candidates if _fits(tensors, own, classifiers, candidate)]
    chosen = _one_of(fitting, tensors, own)
    if chosen is None and fitting:
        names = [candidate.rstrip(".") or '""' for candidate in fitting]
        raise MismatchError(
            f"checkpoint '{path}' has different weights that fit below {_listed(names)}. "
            f"Set {option}={names[0]} or another of them."
        )
    if chosen is None:
        return None
    state = {name: tensors[chosen + name] for name in own if chosen + name in tensors}
    used = {chosen + name for name in state}
    return Located(chosen, state, tuple(name for name in tensors if name not in used))


def prefixes(tensors: State) -> list[str]:
    """The names of the outermost mappings or modules of a checkpoint."""
    return sorted({name.partition(".")[0] for name in tensors if "." in name})


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(printable(name, 60) for name in names[:6])
    return f"{shown}{', ...' if len(names) > 6 else ''}"


def _needed(own: State) -> list[str]:
    return [name for name in own if not name.endswith("num_batches_tracked")]


def _candidates(tensors: State, own: State) -> list[str]:
    """The prefixes under which the network's first tensor may be, shortest first."""
    first = _needed(own)[0]
    ends = [name for name in tensors if name == first or name.endswith(f".{first}")]
    return sorted({name.removesuffix(first) for name in ends}, key=lambda prefix: (len(prefix), prefix))


def _fits(tensors: State, own: State, classifiers: Sequence[str], prefix: str) -> bool:
    """Whether `prefix` has all tensors of the network, and no others in its modules.

    A deeper network of the same kind has every tensor of a shallower one, but is a different network.
    """
    needed = _needed(own)
    if not all(prefix + name in tensors and tensors[prefix + name].shape == own[name].shape for name in needed):
        return False
    modules = {name.partition(".")[0] for name in own}
    spare = tuple(f"{name}." for name in classifiers)
    inside = (name.removeprefix(prefix) for name in tensors if name.startswith(prefix))
    return not any(
        name not in own and name.partition(".")[0] in modules and not name.startswith(spare) for name in inside
    )


def _one_of(fitting: Sequence[str], tensors: State, own: State) -> str | None:
    """The prefix to use: the only one, the averaged weights, or any if all have equal weights."""
    import torch

    averaged = [prefix for prefix in fitting if prefix.partition(".")[0] in AVERAGED]
    left = averaged or list(fitting)
    if not left:
        return None
    first = left[0]
    same = all(torch.equal(tensors[first + name], tensors[other + name]) for other in left[1:] for name in _needed(own))
    return first if same else None
