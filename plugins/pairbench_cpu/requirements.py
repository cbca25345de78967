"""Whether this torch has the private names that the plugin uses."""

from __future__ import annotations

from functools import cache
from importlib import import_module

# What is used of torch beyond its public interface: a vmap's arguments without its general, slow way, and hooks.
_FUNCTORCH = (
    "CVmapInterpreterPtr",
    "TransformType",
    "_add_batch_dim",
    "_unwrap_batched",
    "peek_interpreter_stack",
    "pop_dynamic_layer_stack",
    "push_dynamic_layer_stack",
)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@cache
def torch_missing() -> str:
    """What this torch lacks, such as "torch 3.0 has no torch._C._functorch.TransformType"; "" where it has all."""
    import torch

    try:
        functorch = import_module("torch._C._functorch")
    except ImportError:
        return f"torch {torch.__version__} has no torch._C._functorch"
    missing = [f"torch._C._functorch.{name}" for name in _FUNCTORCH if not hasattr(functorch, name)]
    layer = torch.nn.Identity()
    missing += [f"torch.nn.Module.{name}" for name in _HOOKS if not hasattr(layer, name)]
    return f"torch {torch.__version__} has no {', '.join(missing)}" if missing else ""
