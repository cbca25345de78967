"""Options shared by commands, and printing in the requested format."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pairbench.results.render import Document
    from pairbench.results.results import Results


class Format(StrEnum):
    """How results are printed."""

    table = "table"
    json = "json"
    csv = "csv"
    markdown = "markdown"


FormatOption = Annotated[Format, typer.Option("--format", "-f", help="Output format on standard output.")]
StoreOption = Annotated[
    str | None,
    typer.Option("--store", help="Folder with the records. [default: $PAIRBENCH_STORE, else pairbench-results]"),
]
TracebackOption = Annotated[bool, typer.Option("--traceback", help="Show the full traceback of an error.")]


def aside() -> AbstractContextManager[object]:
    """Redirect what plugins print to standard error, so that standard output holds only the results."""
    return contextlib.redirect_stdout(sys.stderr)


def reading(done: int, count: int) -> None:
    """Show on a terminal how many records of a large store have been read."""
    if sys.stderr.isatty() and count >= 5000:
        end = "" if done < count else "\r\x1b[K"
        print(f"\rreading records: {done:,} of {count:,}", end=end, file=sys.stderr, flush=True)


def emit_results(form: Format, results: Results) -> None:
    """Print results; only the requested format is computed."""
    from pairbench.results import tables

    if form is Format.json:
        for part in results.json_parts():
            print(part, end="")
        print()
    elif form is Format.csv:
        for line in tables.results_csv(results):
            print(line, end="")
    else:
        emit(form, tables.of_results(results), None)


def emit(form: Format, document: Document, value: Any, csv: str | None = None) -> None:
    """Print `document`, or `value` (plain values) as one JSON document, or `csv` (the first table where it is None)."""
    from pairbench.results import render

    if form is Format.json:
        print(json.dumps(value, indent=1, allow_nan=False))
    elif form is Format.csv:
        print(render.to_csv(document) if csv is None else csv, end="")
    elif form is Format.markdown:
        print(render.to_markdown(document))
    else:
        from rich.console import Console

        console = Console()
        if not console.is_terminal and "COLUMNS" not in os.environ:
            # A pipe has no width; a table cut to 80 columns would be unreadable there.
            console = Console(width=200)
        console.print(render.to_rich(document, console.width))
