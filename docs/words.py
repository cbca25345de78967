"""Small pieces of Markdown that the generated pages share."""

from __future__ import annotations

import re

FIELD = re.compile(r"^(\w+(?:, \w+)*): (\S.*)$")


class UndescribedError(Exception):
    """Something that a reader can use has no description."""


def table(columns: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; a bar inside a cell would end it."""
    lines = [columns, ["---"] * len(columns), *([cell.replace("|", "\\|") or " " for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def sentence(text: str, what: str) -> str:
    """`text` on one line, from a capital to a full stop.

    Raises:
        UndescribedError: it is empty.
    """
    plain = " ".join((text or "").split())
    if not plain:
        raise UndescribedError(what)
    first = plain.split()[0]
    # A word of a spec or a choice such as "none is ..." stays as it is written.
    start = plain[0] if "=" in first or "`" in first or first.endswith(",") else plain[0].upper()
    return start + plain[1:] + "." * (plain[-1] not in ".?!")


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
