"""Tables as plain values, and their forms: Rich, text, Markdown, CSV, HTML."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from pairbench.text import printable

if TYPE_CHECKING:
    from rich.console import Group
    from rich.text import Text


@dataclass(frozen=True)
class Table:
    """Rows of text under titles.

    left: how many columns are aligned to the left.
    notes: lines printed below the table.
    spare: titles of columns that may be hidden in a narrow terminal, in the order in which they are hidden.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1
    notes: tuple[str, ...] = ()
    spare: tuple[str, ...] = ()


@dataclass(frozen=True)
class Document:
    """Tables that are printed together, and the notes below them."""

    tables: tuple[Table, ...]
    notes: tuple[str, ...] = field(default=())


def fitted(table: Table, width: int) -> Table:
    """The table with as many spare columns hidden as needed to fit `width`, and a note that names them."""
    # Left-aligned text may wrap; numbers may not.
    widths = _widths(table, 34)
    gone: list[str] = []
    for title in table.spare:
        if sum(size for size, name in zip(widths, table.columns, strict=True) if name not in gone) <= width:
            break
        if title in table.columns:
            gone.append(title)
    if not gone:
        return table
    keep = [i for i, name in enumerate(table.columns) if name not in gone]
    rows = tuple(tuple(row[i] for i in keep) for row in table.rows)
    notes = (*table.notes, f"columns hidden, terminal too narrow: {', '.join(gone)} (--format csv shows all)")
    return Table(table.title, tuple(table.columns[i] for i in keep), rows, table.left, notes)


def _widths(table: Table, most: int) -> list[int]:
    """What each column takes with the space beside it; those on the left are folded to `most`."""
    widths = [max([len(title), *(len(row[i]) for row in table.rows)]) + 3 for i, title in enumerate(table.columns)]
    return [min(size, most) if i < table.left else size for i, size in enumerate(widths)]


def _as_list(table: Table) -> Iterator[Text]:
    """The rows one below the other, each cell on a line of its own under what stands on its row's left."""
    from rich.text import Text

    if table.title.strip():
        yield Text(printable(table.title, 300), style="bold")
    margin = max((len(name) for name in table.columns[table.left :]), default=0)
    for row in table.rows:
        yield Text(printable(" ".join(filter(None, row[: table.left])), 300), style="bold")
        for name, cell in zip(table.columns[table.left :], row[table.left :], strict=True):
            if cell.strip():
                label = f"  {name:<{margin}}  " if margin else "  "
                yield Text(printable(label, 100) + printable(cell.strip(), 300), style=_style(cell))


def to_rich(document: Document, width: int | None = None) -> Group:
    """The document for a terminal of `width` columns; nothing in it is read as markup."""
    from rich import box
    from rich.console import Group
    from rich.table import Table as RichTable
    from rich.text import Text

    parts: list[Any] = []
    for whole in document.tables:
        table = whole if width is None else fitted(whole, width)
        notes = [Text(" " + printable(note, 400), style="dim") for note in table.notes]
        if width is not None and table.left < len(table.columns) and sum(_widths(table, 17)) > width:
            parts += [*_as_list(table), *notes, Text("")]
            continue
        drawn = RichTable(
            title=Text(printable(table.title, 300), style="bold"),
            box=box.SIMPLE_HEAD,
            title_justify="left",
            header_style="bold",
            pad_edge=False,
        )
        for place, column in enumerate(table.columns):
            left = place < table.left
            longest = max(len(column), *(len(row[place]) for row in table.rows)) if table.rows else len(column)
            drawn.add_column(
                Text(printable(column, 100)),
                justify="left" if left else "right",
                overflow="fold",
                no_wrap=not left,
                min_width=min(14, longest) if left else None,
            )
        for row in table.rows:
            drawn.add_row(*(Text(printable(cell, 300), style=_style(cell)) for cell in row))
        parts += [drawn, *notes, Text("")]
    for note in document.notes:
        loud = note.startswith(("FAILED", "DIVERGED", "DAMAGED"))
        parts.append(Text(" " + printable(note, 400), style="red" if loud else "dim"))
    return Group(*parts)


def _style(cell: str) -> str:
    return {"best": "green", "better": "green", "worse": "red", "agrees": "green", "tie": "yellow"}.get(cell, "")


def to_text(document: Document, width: int = 160) -> str:
    """The document as plain text."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=width, no_color=True)
    console.print(to_rich(document, width))
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())  # type: ignore[attr-defined]


def to_markdown(document: Document) -> str:
    """The document as Markdown tables; nothing in it is read as Markdown or HTML."""
    lines: list[str] = []
    for table in document.tables:
        lines += [f"**{_literal(table.title)}**", ""] if table.title.strip() else []
        lines.append("| " + " | ".join(_literal(name) for name in table.columns) + " |")
        lines.append("|" + "|".join(" --- " if i < table.left else " ---: " for i in range(len(table.columns))) + "|")
        lines += ["| " + " | ".join(_literal(item) for item in row) + " |" for row in table.rows]
        lines += ["", *(_item(note) for note in table.notes), ""]
    lines += [_item(note) for note in document.notes]
    return "\n".join(lines).strip()


def _literal(text: str) -> str:
    """`text` escaped so that Markdown shows it literally; a `_` inside a word needs no escape."""
    plain = html.escape(printable(text, 300).strip(), quote=False)
    return re.sub(r"[\\`*\[|~$]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", plain)


def _item(note: str) -> str:
    """`note` as a list item that cannot start a heading, list or rule of its own."""
    return "- " + re.sub(r"^(\d*)([#+=.)-])", r"\1\\\2", _literal(note))


def to_html(document: Document) -> str:
    """The document as an HTML fragment, everything escaped."""

    def cell(text: str) -> str:
        return html.escape(printable(text, 300))

    parts = []
    for table in document.tables:
        head = "".join(f"<th>{cell(name)}</th>" for name in table.columns)
        body = "".join("<tr>" + "".join(f"<td>{cell(item)}</td>" for item in row) + "</tr>" for row in table.rows)
        parts.append(f"<table><caption>{cell(table.title)}</caption><tr>{head}</tr>{body}</table>")
        parts += [f"<p>{cell(note)}</p>" for note in table.notes]
    parts += [f"<p>{cell(note)}</p>" for note in document.notes]
    return "".join(parts)


def to_csv(document: Document) -> str:
    """The first table of the document as CSV."""
    table = document.tables[0] if document.tables else Table("", (), ())
    return csv_text(table.columns, table.rows)


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """CSV in which no cell can be read as a formula by a spreadsheet."""
    return "".join(csv_lines(header, rows))


def csv_lines(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """The lines of `csv_text`, one at a time."""
    for row in chain([header], rows):
        out = io.StringIO()
        cells = [_inert(value) if isinstance(value, str) else "" if value is None else value for value in row]
        csv.writer(out, lineterminator="\n").writerow(cells)
        yield out.getvalue()


def _inert(text: str) -> str:
    plain = printable(text, 10_000)
    is_number = re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", plain, re.ASCII)
    # Some spreadsheets also accept the full-width forms of these characters.
    formula = plain.lstrip().startswith(tuple("=+-@\uff1d\uff0b\uff0d\uff20"))
    return f"'{plain}" if formula and not is_number and plain != "-" else plain
