"""Notes on pairs that are listed more than once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pairbench import PairTask
from pairbench_images.splitting import Usable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# A few repeated rows do not affect results.
MANY = 10


def told_twice(usable: Usable, task: PairTask) -> list[str]:
    """Notes on pairs with contradictory answers, and on pairs that are listed many times.

    For verification the order of the two images does not matter; identical pictures count as one.
    """
    import numpy as np

    images = usable.images if task.kind != "verification" else np.sort(usable.images, axis=1)
    distinct, of_row, counts = np.unique(images, axis=0, return_inverse=True, return_counts=True)
    if len(distinct) == len(images):
        return []
    of_row = of_row.reshape(-1)
    notes = []
    answers = usable.table.target[usable.kept]
    if task.kind != "preference":
        notes += _contradictions(usable, of_row, answers, len(distinct))
    most = int(counts.argmax())
    if counts[most] >= MANY:
        first = int(np.flatnonzero(of_row == most)[0])
        notes.append(
            f"{usable.table.source}: one pair is listed {counts[most]} times (first in {_place(usable, first)}), and "
            f"{int((counts > 1).sum())} more than once: each listing counts as a pair of its own"
        )
    return notes


def _contradictions(usable: Usable, of_row: NDArray[np.int64], answers: NDArray[np.generic], pairs: int) -> list[str]:
    """A note if the same pair has different answers."""
    import numpy as np

    least, largest = np.full(pairs, np.inf), np.full(pairs, -np.inf)
    np.minimum.at(least, of_row, answers.astype(float))
    np.maximum.at(largest, of_row, answers.astype(float))
    torn = np.flatnonzero(least < largest)
    if not len(torn):
        return []
    rows = np.flatnonzero(of_row == torn[0])
    other = rows[answers[rows] != answers[rows[0]]][0]
    what = "pair has" if len(torn) == 1 else "pairs have"
    return [
        f"{usable.table.source}: {len(torn)} {what} both answers, such as {_place(usable, int(rows[0]))} and "
        f"{_place(usable, int(other))}: no comparator can get both right"
    ]


def _place(usable: Usable, row: int) -> str:
    return usable.table.place(int(usable.kept[row]))
