"""A griffe extension: the `name: text` lines of a docstring become a list, so that the API page shows them apart."""

from __future__ import annotations

import re
from typing import Any

import griffe

FIELD = re.compile(r"^([a-z_][\w, ]*): (\S.*)$")


class Fields(griffe.Extension):
    """Rewrites docstrings before they are parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called by griffe for each object that it has collected."""
        if obj.docstring:
            obj.docstring.value = listed(obj.docstring.value)


def listed(text: str) -> str:
    """`text` with each run of `name: text` lines as a Markdown list."""
    lines: list[str] = []
    inside = False
    for line in text.splitlines():
        found = FIELD.match(line)
        if found:
            names = ", ".join(f"`{name}`" for name in found[1].split(", "))
            lines += [""] * (not inside) + [f"- {names}: {found[2]}"]
            inside = True
        else:
            inside = inside and line.startswith("    ")
            lines.append(line)
    return "\n".join(lines)
