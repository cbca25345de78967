"""NIGHTS, people's choices of the more similar of two images, from the folder that its authors distribute."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pairbench import CsvRecords, NonNegativeInt, PairTask
from pairbench_images.assembly import TablePairs
from pairbench_images.csv_pairs import changed
from pairbench_images.files import Links
from pairbench_images.listing import Columns, known_table, read
from pairbench_images.naming import named
from pairbench_images.options import Side
from pairbench_images.splitting import Sharing
from pairbench_images.table import Table

COLUMNS = Columns(("ref_path", "left_path", "right_path"), "right_vote", "split", None, (None, None, None))


class Nights(TablePairs):
    """NIGHTS: which of two images do people find more similar to a third? (Fu et al., NeurIPS 2023)

    The folder holds data.csv with columns ref_path, left_path, right_path, left_vote, right_vote, votes and split,
    and the images at those paths. The target is the fraction of votes for the right image.

    path: the folder that contains data.csv.
    image_size: height and width that images are scaled to; the authors use 224.
    min_votes: triplets with fewer votes (column `votes`) are skipped, as the authors do.
    across_splits: triplets whose images are in more than one split: refuse raises an error, drop skips them.
    """

    name = "nights"
    locations: ClassVar[tuple[str, ...]] = ("path",)
    own_files: ClassVar[bool] = True
    path: Annotated[str, Field(min_length=1)]
    image_size: Side | tuple[Side, Side] = 224
    min_votes: NonNegativeInt = 6
    across_splits: Literal["refuse", "drop"] = "refuse"

    @property
    def task(self) -> PairTask:
        """Preference between the left (first) and the right (second) image."""
        return PairTask("preference", self.image_shape, ("first", "second"), 3)

    @property
    def sharing(self) -> Sharing:
        """The splits are those of data.csv."""
        return Sharing(None, None, 0, self.across_splits)

    def table(self) -> Table:
        """The content of data.csv; cached until it changes."""
        file = Path(self.path).expanduser() / "data.csv"
        place = (file.parent, self.links)
        return known_table(_table, *place, file, self.task, self.min_votes, changed(file))


@functools.lru_cache(maxsize=1)
def _table(
    root: Path, links: Links, file: Path, task: PairTask, min_votes: int, _changed: tuple[int, int, int]
) -> Table:
    return read(file, ",", root, links, COLUMNS, task, _Judge(min_votes))


class _Judge:
    """The fraction of votes for the right image."""

    def __init__(self, min_votes: int) -> None:
        self._min_votes = min_votes
        self._columns: tuple[int | None, int | None, int | None] | None = None

    def __call__(self, fields: list[str], records: CsvRecords) -> float | None:
        if self._columns is None:
            self._columns = (
                records.column("right_vote", "right_vote"),
                records.column("left_vote", "left_vote", needed=False),
                records.column("votes", "votes", needed=self._min_votes > 0),
            )
        right_column, left_column, votes = self._columns
        if votes is not None and _number(fields[votes], "votes", records) < self._min_votes:
            return None
        assert right_column is not None
        right = _number(fields[right_column], "right_vote", records)
        left = 1 - right if left_column is None else _number(fields[left_column], "left_vote", records)
        if left < 0 or left + right <= 0:
            raise records.wrong(
                f"right_vote {named(fields[right_column])} is wrong: expected votes for one of the two."
            )
        return right / (left + right)


def _number(text: str, column: str, records: CsvRecords) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise records.wrong(f"{column} {named(text)} is wrong: expected a number of at least 0.")
    return value
