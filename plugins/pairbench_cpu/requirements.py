"""Whether this machine and this torch have what the plugin needs; each reason is one line for `pairbench doctor`."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec

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


@cache
def llvm_missing() -> str:
    """Why no machine code can be made here; "" where it can."""
    if find_spec("llvmlite") is None:
        return "llvmlite is not installed. Run: pip install llvmlite"
    try:
        from pairbench_cpu.jit import machine_code

        machine_code("define i64 @one() { ret i64 1 }", "one")
    except Exception as error:  # noqa: BLE001 - LLVM reports a processor it does not know in several ways
        return f"LLVM makes no code for this processor: {' '.join(str(error).split())[:160] or type(error).__name__}"
    return ""
