"""A list of pairs as arrays: the files, and the files, target and split of each pair."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pairbench import PairTask, printable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SPLIT_NAMES = {
    name: number
    for number, names in enumerate((("train", "training"), ("validation", "valid", "val", "dev"), ("test", "testing")))
    for name in names
}


@dataclass(frozen=True, eq=False)
class Table:
    """N pairs over F files.

    source: the file that lists the pairs, for messages.
    names: (F,) the name of each file in the list.
    paths: (F,) the path of each file.
    pairs: (N, V) int64, places in `names`.
    target: (N,) int64 outcome, or float32 probability of outcome 1.
    rows: (N,) int64, the row of each pair, counted as in a spreadsheet: 1 is the header.
    classes: (F,) int64, -1 where unknown.
    split: (N,) int64 index in SPLITS, or None if the list does not say.
    group: (N,) int64 index of the group, or None.
    content: a digest of the list.
    notes: notes for readers of the results.
    counted: what `rows` counts, for messages; "" if file names are enough.
    """

    source: str
    names: list[str]
    paths: list[str]
    pairs: NDArray[np.int64]
    target: NDArray[np.generic]
    rows: NDArray[np.int64]
    classes: NDArray[np.int64]
    split: NDArray[np.int64] | None
    group: NDArray[np.int64] | None
    content: str
    notes: tuple[str, ...] = field(default=())
    counted: str = "row"

    def place(self, pair: int) -> str:
        """The place of a pair in the list, for messages."""
        return f"{self.counted} {self.rows[pair]}"

    def where(self, file: int) -> str:
        """A file with its first row, for messages."""
        import numpy as np

        first = int(np.argmax((self.pairs == file).any(axis=1)))
        return f"{self.place(first)}: {shown(self.names[file])}" if self.counted else shown(self.names[file])


def shown(name: str) -> str:
    """A file's name, safe to print and short enough for a line."""
    return printable(name if len(name) <= 90 else f"…{name[-89:]}", 90)


def label_of(text: str, task: PairTask) -> float | None:
    """The target in `text`: 0, 1, the name of an outcome, or for preference a fraction; None if it is invalid."""
    named = text.strip().lower()
    if named in task.outcomes:
        return float(task.outcomes.index(named))
    try:
        value = float(named)
    except ValueError:
        return None
    if not 0 <= value <= 1 or (task.kind != "preference" and value not in (0, 1)):
        return None
    return value


def labels_expected(task: PairTask) -> str:
    """What a label must be, in words."""
    names = " or ".join(task.outcomes)
    if task.kind == "preference":
        return f"{names}, or the fraction of votes for the second, from 0 to 1"
    return f"0 or 1 ({names})"
