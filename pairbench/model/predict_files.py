"""A saved model's answers to pairs of image files, row by row."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

from pairbench.errors import DataError
from pairbench.model.pair_tables import Said
from pairbench.model.predictor import Model


def answered(
    model: Model, rows: list[tuple[str, ...]], base: Path, where: str, *, skip: bool, quiet: bool
) -> tuple[list[Said], dict[int, str]]:
    """The model's answer to each row in order, and the reasons for skipped rows; each file is read once.

    Args:
        rows: the file names of each example, relative to `base`.
        where: prefix of the row number in messages; "" if there is only one row.
        skip: whether a row with an unreadable image is skipped instead of raising.
        quiet: whether to hide progress.

    Raises:
        DataError: an image cannot be used.
    """
    files: dict[str, int] = {}
    uses: list[int] = []
    for number, row in enumerate(rows, 1):
        if len(row) != model.task.views:
            raise DataError(f"{len(row)} images were given: expected {model.task.views}.")
        for name in row:
            path = os.path.normpath(base / name)
            if path not in files:
                files[path] = len(files)
                uses.append(number)
    names = list(files)
    bad: dict[int, str] = {}
    blank = torch.zeros(model.task.image_shape, dtype=torch.uint8)

    def pixels(number: int) -> torch.Tensor:
        try:
            return model.pixels(names[number])
        except DataError as error:
            if not skip:
                raise DataError(f"{where}{uses[number]}: {error}" if where else str(error)) from None
            bad[number] = str(error)
            return blank

    table = torch.tensor([[files[os.path.normpath(base / name)] for name in row] for row in rows])
    shows = not quiet and where != "" and sys.stderr.isatty()

    def progress(done: int, total: int) -> None:
        if shows:
            end = "" if done < total else "\r\x1b[K"
            print(f"\rpredicting: {done:,} of {total:,}", end=end, file=sys.stderr, flush=True)

    answers = model.compare_rows(pixels, len(names), table, progress)
    said, skipped = [], {}
    for number, (row, line) in enumerate(zip(rows, table.tolist(), strict=True), 1):
        reasons = [bad[place] for place in line if place in bad]
        if reasons:
            skipped[number] = reasons[0]
            print(f"{where}{number} is skipped: {reasons[0]}", file=sys.stderr)
            continue
        answer = answers[number - 1]
        said.append(Said(number, row, answer.answer, answer.probabilities, answer.logits))
    return said, skipped
