"""Messages for misspelt model names, and other libraries' errors in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pairbench import SpecError, one_line, printable


def unknown_model(library: str, model: str, known: Iterable[str]) -> SpecError:
    """The error for a model that `library` does not have, with the most similar names."""
    names = sorted(known)
    near = difflib.get_close_matches(model.lower(), names, n=3, cutoff=0.6)
    if not near and len(model) > 2:
        near = [name for name in names if model.lower() in name][:3]
    if near:
        hint = "Did you mean " + " or ".join(f"'{name}'" for name in near) + "?"
    else:
        hint = f"Search them: pairbench list --encoder {library} PATTERN"
    return SpecError(f"encoder.model={model[:60]}: {library} has no such model. {hint}")


def line(error: BaseException, most: int = 160) -> str:
    """The message of `error` on one line, without a full stop, safe to print."""
    return printable(one_line(error).rstrip("."), most)
