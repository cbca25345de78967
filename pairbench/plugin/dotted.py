"""Objects of other packages, named in options by their dotted path, such as `my_package.MyOptimizer`."""

from __future__ import annotations

import importlib
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pairbench.errors import MismatchError, SpecError
from pairbench.plugin.registry import Origin, hash_files, reason_of
from pairbench.text import printable, quoted

_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def is_dotted(name: str) -> bool:
    """Whether `name` is a dotted path, rather than the plain name of something in torch or timm."""
    return _PATH.fullmatch(name) is not None


def imported(path: str, option: str) -> Any:
    """The object at `path`, for `option`.

    Raises:
        MismatchError: its module cannot be imported, or has no such name, or the object cannot be called.
    """
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (Exception, SystemExit) as error:
        raise MismatchError(
            f"{option}={printable(path, 80)} cannot be imported: {reason_of(error)}. Check its spelling."
        ) from error
    if not callable(found):
        raise MismatchError(f"{option}={printable(path, 80)} is not a class or function. Name one.")
    return found


def code_of(path: str) -> Origin:
    """The origin of the code at `path`: its top-level package, and a hash of that package's source. Imports no torch.

    Raises:
        SpecError: there is no such module.
    """
    parts = path.split(".")[:-1]
    spec = None
    for count in range(1, len(parts) + 1):
        try:
            spec = find_spec(".".join(parts[:count]))
        except (ImportError, ValueError):
            spec = None
        if spec is None:
            break
        # A namespace package has no file.
        if spec.origin is not None and Path(spec.origin).is_file():
            return Origin(parts[0], "", "", _hash(Path(spec.origin)))
    if spec is not None:
        # Built into Python.
        return Origin(parts[0], "", "", "")
    raise SpecError(
        f"{printable(path, 80)}: there is no module {quoted('.'.join(parts))}. "
        "Install its package, or put its folder on PYTHONPATH."
    )


def _hash(file: Path) -> str:
    files = sorted(file.parent.rglob("*.py")) if file.name == "__init__.py" else [file]
    return hash_files(file.parent, files)
