"""A saved model's answers to pairs of image files, row by row."""

from __future__ import annotations

import sys

import torch

from pairbench.errors import DataError
from pairbench.model.pair_tables import Said
from pairbench.model.predictor import Model
from pairbench.plugin.pair_list import PairList


def answered(
    model: Model, pairs: PairList, where: str, *, skip: bool, quiet: bool
) -> tuple[list[Said], dict[int, str]]:
    """The model's answer to each row in order, and the reasons for skipped rows; each file is read once.

    Args:
        pairs: the image files of each example.
        where: prefix of the row number in messages; "" if there is only one row.
        skip: whether a row with an unreadable image is skipped instead of raising.
        quiet: whether to hide progress.

    Raises:
        DataError: an image cannot be used.
    """
    files: dict[str, int] = {}
    uses: list[int] = []
    for number, row in zip(pairs.rows, pairs.paths, strict=True):
        if len(row) != model.task.views:
            raise DataError(f"{len(row)} images were given: expected {model.task.views}.")
        for path in row:
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

    table = torch.tensor([[files[path] for path in row] for row in pairs.paths])
    shows = not quiet and where != "" and sys.stderr.isatty()

    def progress(done: int, total: int) -> None:
        if shows:
            end = "" if done < total else "\r\x1b[K"
            print(f"\rpredicting: {done:,} of {total:,}", end=end, file=sys.stderr, flush=True)

    answers = model.compare_rows(pixels, len(names), table, progress)
    said, skipped = [], {}
    for answer, number, row, line in zip(answers, pairs.rows, pairs.names, table.tolist(), strict=True):
        reasons = [bad[place] for place in line if place in bad]
        if reasons:
            skipped[number] = reasons[0]
            print(f"{where}{number} is skipped: {reasons[0]}", file=sys.stderr)
            continue
        said.append(Said(number, row, answer.answer, answer.probabilities, answer.logits))
    return said, skipped
