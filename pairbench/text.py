"""Text that is safe to print, and suggestions for misspelt names."""

import difflib
import unicodedata
from collections.abc import Iterable

_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def printable(text: str, limit: int = 200) -> str:
    """`text` with control, bidirectional and unassigned characters replaced, cut to `limit` characters.

    Spaces of other widths become plain ones, so that what is given back always `isprintable`.
    """
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(_shown(char) for char in cut)


def _shown(char: str) -> str:
    category = unicodedata.category(char)
    if category in _INVISIBLE:
        return "\N{REPLACEMENT CHARACTER}"
    return " " if category == "Zs" else char


def quoted(text: str) -> str:
    """`text` in single quotes, safe to print, short enough for one line."""
    return f"'{printable(text, 60)}'"


def did_you_mean(wrong: str, names: Iterable[str]) -> str:
    """A sentence that offers up to two near names, or all of them where none is near; starts with a space."""
    known = sorted(set(names))
    near = difflib.get_close_matches(wrong[:60], known, n=2, cutoff=0.55)
    if near:
        return " Did you mean " + " or ".join(quoted(name) for name in near) + "?"
    if not known:
        return ""
    shown = ", ".join(printable(name, 40) for name in known[:20])
    return f" Choose from {shown}{', ...' if len(known) > 20 else ''}."
