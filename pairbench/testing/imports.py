"""Checks in a fresh process: no heavy import before something is built."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from typing import Any

from pairbench.plugin.accelerators import Accelerator
from pairbench.plugin.components import Component
from pairbench.plugin.metric_specs import MetricSpec
from pairbench.plugin.trackers import Tracker
from pairbench.testing.kit import broken

_SECONDS = 120
# Stops at the first heavy import and reports its place, without executing it.
_PROBE = """
import importlib, importlib.util, json, os, sys, traceback
order = json.loads(sys.argv[1])
sys.path[:] = order["path"]
out = os.dup(1)
os.dup2(2, 1)
def answer(**value):
    os.write(out, json.dumps(value).encode())
    os._exit(0)
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "torchvision", "timm"):
            frames = [f for f in traceback.extract_stack() if "importlib" not in f.filename and f.filename[0] != "<"]
            answer(heavy=name, stage=stage, where=[f"{f.filename}:{f.lineno}" for f in frames[-1:]])
stage = "import"
sys.meta_path.insert(0, Watch())
name = order["module"]
try:
    if importlib.util.find_spec(name) is None:
        raise ModuleNotFoundError(name)
except ModuleNotFoundError:
    spec = importlib.util.spec_from_file_location(name, order["file"])
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
module = importlib.import_module(name)
loaded = sorted(sys.modules)
if order["kind"]:
    stage = "task"
    getattr(module, order["kind"]).model_validate(order["options"]).task
answer(loaded=loaded)
"""


def importing_needs_no_torch(recipe: Component) -> None:
    """A fresh process imports the component's module without importing torch, torchvision or timm."""
    module = type(recipe).__module__
    if module == "__main__":
        return
    # One process checks all modules that a package imports.
    package = module.split(".")[0]
    found = _probe(package)
    if module not in found.get("loaded", [module] if "heavy" in found else []):
        found = _probe(module)
    _refuse_heavy(found, f"importing {module}")


def importing_needs_no_package(kind: type[Tracker]) -> None:
    """A fresh process imports the tracker's module, and neither torch nor a package of the tracker comes with it."""
    found = _probe(kind.__module__)
    _refuse_heavy(found, f"importing {kind.__module__}")
    for package in kind.packages:
        if package in found["loaded"]:
            raise broken(
                f"importing {kind.__module__} imports {package}",
                "Move that import into a method; listing plugins must cost nothing, and work where it is not installed",
            )


def metric_needs_no_torch(spec: MetricSpec) -> None:
    """A fresh process imports the module of a metric's function; one that is named as text is imported only later."""
    module = getattr(spec.compute, "__module__", None)
    if isinstance(spec.compute, str) or module in (None, "__main__"):
        return
    _refuse_heavy(_probe(str(module)), f"importing {module}", "the function")


def accelerator_needs_no_torch(accelerator: Accelerator) -> None:
    """A fresh process imports the module of an accelerator without importing torch, torchvision or timm."""
    module = type(accelerator).__module__
    if module != "__main__":
        _refuse_heavy(_probe(module), f"importing {module}", "its methods")


def task_needs_no_torch(recipe: Component) -> None:
    """A fresh process creates the recipe and reads its task without importing torch."""
    kind = type(recipe)
    if kind.__module__ == "__main__" or "." in kind.__qualname__:
        return
    found = _probe(kind.__module__, kind.__name__, json.dumps(recipe.values()))
    # If the import itself is heavy, another rule reports it.
    if found.get("stage") == "task":
        _refuse_heavy(found, f"asking {kind.__name__} for its task")


@functools.cache
def _probe(module: str, kind: str = "", options: str = "{}") -> dict[str, Any]:
    file = getattr(sys.modules.get(module), "__file__", None)
    order = {"path": sys.path, "module": module, "file": file, "kind": kind, "options": json.loads(options)}
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, json.dumps(order)], capture_output=True, text=True, timeout=_SECONDS
    )
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise broken(
            f"a fresh process cannot import {module}: {last}", "Put the component into a module that can be imported"
        ) from None
    return found


def _refuse_heavy(found: dict[str, Any], what: str, home: str = "`build` or `load`") -> None:
    if "heavy" in found:
        where = f" at {found['where'][0]}" if found["where"] else ""
        raise broken(
            f"{what} imports {found['heavy']}{where}",
            f"Move that import into {home}, or under `if TYPE_CHECKING:`; listing plugins must not import torch",
        )
