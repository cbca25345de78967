"""Helpers for text: fixed choices, names in messages, and natural order."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from typing import Literal

from pairbench import printable

Split = Literal["train", "validation", "test"]
TaskKind = Literal["ordering", "verification", "preference"]
Resize = Literal["stretch", "crop", "pad"]


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """A key that sorts `text` with its numbers as numbers: "class 2" before "class 10"."""
    parts = re.split(r"([0-9]+)", text.casefold())
    return (
        *((0, int(part[:400]), "") if place % 2 else (1, 0, part) for place, part in enumerate(parts)),
        (2, 0, text),
    )


def named(name: str) -> str:
    """`name` in quotes, safe to print and short enough for a line."""
    return f"'{printable(name, 60)}'"


def nearest(wrong: str, names: Iterable[str]) -> str:
    """A sentence that suggests the most similar of `names`, or lists all if none is similar; starts with a space."""
    known = sorted(set(names))
    near = difflib.get_close_matches(wrong, known, 2, 0.6)
    if near:
        return " Did you mean " + " or ".join(map(named, near)) + "?"
    return f" It has {', '.join(printable(name, 40) for name in known[:20])}{', ...' if len(known) > 20 else ''}."


def cores() -> int:
    """The number of CPU cores available to this process."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
