"""Reads pairs from a CSV file, and formats a model's answers as a table, as CSV and as plain values."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pairbench.errors import StoreError
from pairbench.plugin.pair_list import COLUMNS
from pairbench.results.render import Document, Table
from pairbench.store.atomic import replace_file
from pairbench.text import printable


@dataclass(frozen=True)
class Said:
    """What a model says of one row: its line in the list (1 without a list), the images as written, and the answer."""

    row: int
    images: tuple[str, ...]
    answer: str
    probabilities: Mapping[str, float]
    logits: Sequence[float]


def document(said: Sequence[Said], outcomes: Sequence[str], title: str, notes: Sequence[str] = ()) -> Document:
    """The answers as a table."""
    views = len(said[0].images) if said else 2
    columns = ("row", *COLUMNS[:views], "answer", *outcomes)
    rows = tuple(
        (
            str(one.row),
            *(printable(name, 80) for name in one.images),
            one.answer,
            *(f"{one.probabilities[name]:.4f}" for name in outcomes),
        )
        for one in said
    )
    return Document((Table(title, columns, rows, left=views + 2, notes=tuple(notes)),))


def value(said: Sequence[Said], model: Mapping[str, Any], skipped: Mapping[int, str]) -> dict[str, Any]:
    """The answers as `--format json` prints them."""
    return {
        "schema": 1,
        "model": dict(model),
        "answers": [
            {
                "row": one.row,
                "images": list(one.images),
                "answer": one.answer,
                "probabilities": dict(one.probabilities),
                "logits": list(one.logits),
            }
            for one in said
        ],
        "skipped": [{"row": row, "reason": reason} for row, reason in skipped.items()],
    }


def to_csv(said: Sequence[Said], outcomes: Sequence[str]) -> str:
    """The answers as CSV: row, the images, answer, and probability_OUTCOME for each outcome."""
    views = len(said[0].images) if said else 2
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", *COLUMNS[:views], "answer", *(f"probability_{name}" for name in outcomes)])
    for one in said:
        names = [printable(name, 1000) for name in one.images]
        # Escape text that a spreadsheet would read as a formula.
        names = [f"'{name}" if name[:1] in ("=", "+", "-", "@") else name for name in names]
        writer.writerow([one.row, *names, one.answer, *(repr(one.probabilities[name]) for name in outcomes)])
    return text.getvalue()


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that the user named, atomically; a pipe or a device is written to directly.

    Raises:
        StoreError: it cannot be written.
    """
    try:
        # Write to the target of a link and leave the link.
        path = path.resolve()
        if path.exists() and not path.is_file():
            path.write_bytes(content)
            return
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StoreError(f"cannot write {printable(str(path), 120)}: {reason}.") from None
    try:
        replace_file(path, content)
    except OSError as error:
        raise StoreError(f"cannot write {printable(str(path), 120)}: {error.strerror or error}.") from None
