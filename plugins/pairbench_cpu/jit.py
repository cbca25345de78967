"""Machine code for this processor, made by LLVM once and kept in the user's cache."""

from __future__ import annotations

import contextlib
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm

import pairbench

# Machine code lives as long as the engine that holds it.
_ENGINES: list[Any] = []


def machine_code(text: str, name: str) -> int:
    """The address of the function `name` in a module that is written in LLVM's language."""
    module = llvm.parse_assembly(text)
    module.verify()
    engine = llvm.create_mcjit_compiler(module, _target())
    kept = _place(text)
    engine.set_object_cache(lambda _, made: _keep(kept, made), lambda _: kept_code(kept))
    engine.finalize_object()
    _ENGINES.append(engine)
    return int(engine.get_function_address(name))


def kept_code(path: Path) -> bytes | None:
    """What `path` holds behind the checksum that it begins with; None where it is missing or damaged."""
    try:
        found = path.read_bytes()
    except OSError:
        return None
    return found[32:] if hashlib.sha256(found[32:]).digest() == found[:32] and len(found) > 32 else None


def _keep(path: Path, made: bytes) -> None:
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with pairbench.replacing(path) as draft:
            draft.write_bytes(hashlib.sha256(made).digest() + made)


def _place(text: str) -> Path:
    parts = (text, llvm.get_host_cpu_name(), _features(), llvmlite.__version__)
    return pairbench.user_cache("kernels") / f"{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:32]}.o"


@cache
def _features() -> str:
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        # LLVM would halve the vectors of some processors to keep their clock up.
        features["prefer-256-bit"] = False
    flat: str = features.flatten()
    return flat


@cache
def _target() -> llvm.TargetMachine:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(cpu=llvm.get_host_cpu_name(), features=_features(), opt=3, jit=True)
