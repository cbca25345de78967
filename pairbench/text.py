"""Text that is safe to print, and suggestions for misspelt names."""

import difflib
import unicodedata
from collections.abc import Iterable

from pairbench.errors import SpecError

_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def printable(text: str, limit: int = 200) -> str:
    """`text` with control, bidirectional and unassigned characters replaced, cut to `limit` characters.

    Spaces of other widths become plain ones, so that the result always `isprintable`.
    """
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    if cut.isascii() and cut.isprintable():
        return cut
    return "".join(_shown(char) for char in cut)


def _shown(char: str) -> str:
    category = unicodedata.category(char)
    if category in _INVISIBLE:
        return "\N{REPLACEMENT CHARACTER}"
    return " " if category == "Zs" else char


def one_line(what: str | BaseException) -> str:
    """Text, or what an error says, on one line; the name of its type where an error says nothing."""
    words = " ".join(str(what).split())
    return type(what).__name__ if not words and isinstance(what, BaseException) else words


def quoted(text: str) -> str:
    """`text` in single quotes, safe to print, short enough for one line."""
    return f"'{printable(text, 60)}'"


def _nearness(wrong: str, name: str) -> float:
    """The similarity of two names, from 0 to 1; high if one contains the other, ignoring underscores."""
    first, second = (text[:60].lower().replace("_", "") for text in (wrong, name))
    alike = difflib.SequenceMatcher(None, first, second).ratio()
    holds = min(len(first), len(second)) >= 3 and (first in second or second in first)
    return max(alike, 0.75 + alike / 100) if holds else alike


def did_you_mean(wrong: str, names: Iterable[str]) -> str:
    """A sentence that suggests up to two similar names, or lists all if none is similar; starts with a space."""
    known = sorted(set(names))
    near = [name for name in sorted(known, key=lambda name: -_nearness(wrong, name)) if _nearness(wrong, name) >= 0.6]
    if near:
        return " Did you mean " + " or ".join(quoted(name) for name in near[:2]) + "?"
    if not known:
        return ""
    shown = ", ".join(printable(name, 40) for name in known[:20])
    return f" Choose from {shown}{', ...' if len(known) > 20 else ''}."


def unknown(what: str, wrong: str, names: Iterable[str]) -> SpecError:
    """The error for an unknown name, with suggestions."""
    return SpecError(f"unknown {what} {quoted(wrong)}.{did_you_mean(wrong, names)}")
