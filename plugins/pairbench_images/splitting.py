"""Assigns pairs to splits, so that no image and no group is in two splits.

The order in which images are assigned to splits depends on the content of their files, so that it does not change when
a list is sorted or extended, or images are scaled to another size.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pairbench import SPLITS, DataError
from pairbench_images.table import Table, shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TRAIN, VALIDATION, TEST = range(3)
VALIDATION_SHARE, TEST_SHARE = 0.1, 0.2


@dataclass(frozen=True)
class Sharing:
    """How pairs are assigned to splits if their list does not say.

    validation, test: fractions; None means the default if the list has no split column, otherwise the list's splits.
    seed: the seed of the random split.
    across: what to do with pairs that would put an image into two splits.
    """

    validation: float | None
    test: float | None
    seed: int
    across: Literal["refuse", "drop"]

    def share(self, split: int) -> float:
        """The share of a split."""
        validation = VALIDATION_SHARE if self.validation is None else self.validation
        test = TEST_SHARE if self.test is None else self.test
        return (1 - validation - test, validation, test)[split]


@dataclass(frozen=True, eq=False)
class Usable:
    """The pairs of a table whose images can all be used.

    kept: (N,) places in the table.
    images: (N, V) rows of a pool.
    digests: (P, 16) uint8, of the files that the pool was decoded from.
    """

    table: Table
    kept: NDArray[np.int64]
    images: NDArray[np.int64]
    digests: NDArray[np.uint8]


def split_pairs(usable: Usable, sharing: Sharing) -> tuple[NDArray[np.int64], list[str]]:
    """The index in SPLITS of each pair, -1 if it is skipped; and notes to report.

    Raises:
        DataError: a split would be empty, or an image would be in two; the message says how to fix it.
    """
    table, notes = usable.table, list[str]()
    if table.split is not None:
        split = table.split[usable.kept].copy()
        for part, share in ((TEST, sharing.test), (VALIDATION, sharing.validation)):
            if share is not None and not (split == part).any():
                _carve(split, usable, part, share, sharing)
    elif sharing.across == "refuse":
        split = _by_component(usable, sharing)
    else:
        split = _one_by_one(usable, sharing)
    _separate(split, usable, sharing)
    lost = int((split < 0).sum())
    if lost:
        notes.append(
            f"{table.source}: {lost} of {len(split)} pairs are skipped because their images are in more than one "
            "split (dataset.across_splits=drop)"
        )
    _check_none_is_empty(split, usable, sharing)
    if table.split is None and lost > len(split) // 2:
        told = ", ".join(f"{int((split == part).sum())} {name}" for part, name in enumerate(SPLITS))
        notes.append(
            f"{table.source}: more than half of the pairs are left out, which leaves {told}: figures over so few pairs "
            "say little. Add a column 'split' that keeps more of them"
        )
    if table.split is None:
        told = ", ".join(f"{int((split == part).sum())} {name}" for part, name in enumerate(SPLITS))
        what = "image" if table.group is None else "group"
        notes.append(f"{table.source}: pairs split by {what} into {told}")
    return split, notes


def _carve(split: NDArray[np.int64], usable: Usable, part: int, share: float, sharing: Sharing) -> None:
    """Move a fraction of the training pairs, and all pairs linked by images or groups, to `part`."""
    import numpy as np

    train = np.flatnonzero(split == TRAIN)
    if len(train):
        some = Usable(usable.table, usable.kept[train], usable.images[train], usable.digests)
        component = _components(some)
        moved = _deal(component, some, (1 - share, share), sharing.seed)
        split[train[moved == 1]] = part


def _by_component(usable: Usable, sharing: Sharing) -> NDArray[np.int64]:
    """Connected components of images and groups, assigned to the splits as a whole."""
    import numpy as np

    component = _components(usable)
    shares = (sharing.share(TRAIN), sharing.share(VALIDATION), sharing.share(TEST))
    split = _deal(component, usable, shares, sharing.seed)
    counts = np.bincount(split, minlength=3)
    short = [part for part in (VALIDATION, TEST, TRAIN) if counts[part] < 0.5 * shares[part] * len(split)]
    if short:
        largest = int(np.bincount(component).max())
        kept = int((_one_by_one(usable, sharing) >= 0).sum())
        linked = "images" if usable.table.group is None else "images and groups"
        raise DataError(
            f"{usable.table.source}: no split keeps every image in one part, since {linked} link {largest} of "
            f"{len(split)} pairs, and the {SPLITS[short[0]]} split would have {counts[short[0]]}. Add a column "
            f"'split', or set dataset.across_splits=drop, which assigns images one by one and skips the "
            f"{len(split) - kept} pairs across splits."
        )
    return split


def _one_by_one(usable: Usable, sharing: Sharing) -> NDArray[np.int64]:
    """Images (or groups) assigned to the splits one by one; a pair whose images are in different splits gets -1."""
    import numpy as np

    table = usable.table
    used = np.unique(usable.images)
    drawn = lots(usable.digests[used], sharing.seed)
    if table.group is None:
        dealt = np.full(len(usable.digests), -1, dtype=np.int64)
        dealt[used[np.argsort(drawn, kind="stable")]] = _cut(len(used), sharing)
        of_pair = dealt[usable.images]
        same: NDArray[np.bool_] = (of_pair == of_pair[:, :1]).all(axis=1)
        return np.where(same, of_pair[:, 0], -1)
    lot_of = np.zeros(len(usable.digests), dtype=np.uint64)
    lot_of[used] = drawn
    groups, group = np.unique(table.group[usable.kept], return_inverse=True)
    least = np.full(len(groups), np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(least, group, lot_of[usable.images].min(axis=1))
    dealt = np.empty(len(groups), dtype=np.int64)
    dealt[np.argsort(least, kind="stable")] = _cut(len(groups), sharing)
    return dealt[group]


def _cut(count: int, sharing: Sharing) -> NDArray[np.int64]:
    """The split of each of `count` items in random order."""
    import numpy as np

    test = max(1, round(count * sharing.share(TEST)))
    validation = max(1, round(count * sharing.share(VALIDATION)))
    order = np.full(count, TRAIN, dtype=np.int64)
    order[:test] = TEST
    order[test : test + validation] = VALIDATION
    return order


def _components(usable: Usable) -> NDArray[np.int64]:
    """(N,) the number of the component of each pair: pairs that share an image or a group are in one."""
    import numpy as np
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    images, table = usable.images, usable.table
    nodes = len(usable.digests)
    first, second = [images[:, 0]] * (images.shape[1] - 1), list(images[:, 1:].T)
    if table.group is not None:
        group = table.group[usable.kept]
        first, second = [*first, images[:, 0]], [*second, nodes + group]
        nodes += int(group.max()) + 1
    start, end = np.concatenate(first), np.concatenate(second)
    graph = coo_matrix((np.ones(len(start), dtype=np.int8), (start, end)), shape=(nodes, nodes))
    label = connected_components(graph, directed=False)[1]
    found: NDArray[np.int64] = np.unique(label[images[:, 0]], return_inverse=True)[1].reshape(-1)
    return found


def _deal(component: NDArray[np.int64], usable: Usable, shares: tuple[float, ...], seed: int) -> NDArray[np.int64]:
    """The part of each pair: components from large to small, each to the part that is missing the most pairs."""
    import numpy as np

    sizes = np.bincount(component)
    used = np.unique(usable.images)
    lot_of = np.zeros(len(usable.digests), dtype=np.uint64)
    lot_of[used] = lots(usable.digests[used], seed)
    least = np.full(len(sizes), np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(least, component, lot_of[usable.images].min(axis=1))
    lacking = [share * len(component) for share in shares]
    part_of = np.empty(len(sizes), dtype=np.int64)
    for number in np.lexsort((least, -sizes)).tolist():
        part = max(range(len(shares)), key=lacking.__getitem__)
        part_of[number] = part
        lacking[part] -= int(sizes[number])
    return part_of[component]


def lots(digests: NDArray[np.uint8], seed: int) -> NDArray[np.uint64]:
    """A random number for each image, from its file and a seed."""
    import numpy as np

    key = hashlib.sha256(str(seed).encode()).digest()
    drawn = (hashlib.blake2b(row.tobytes(), digest_size=8, key=key).digest() for row in digests)
    return np.frombuffer(b"".join(drawn), dtype="<u8").astype(np.uint64)


def _separate(split: NDArray[np.int64], usable: Usable, sharing: Sharing) -> None:
    """Reject or drop pairs with an image of another split; test pairs have priority, then validation pairs.

    Raises:
        DataError: there is such a pair, and `across` is not drop.
    """
    import numpy as np

    has = np.zeros((3, len(usable.digests)), dtype=bool)
    for part in range(3):
        has[part, usable.images[split == part].reshape(-1)] = True
    shared = np.flatnonzero(has.sum(axis=0) > 1)
    if not len(shared):
        return
    if sharing.across == "refuse":
        raise DataError(_shared(split, usable, shared))
    split[(split != TEST) & has[TEST][usable.images].any(axis=1)] = -1
    has[VALIDATION] = False
    has[VALIDATION, usable.images[split == VALIDATION].reshape(-1)] = True
    split[(split == TRAIN) & has[VALIDATION][usable.images].any(axis=1)] = -1


def _shared(split: NDArray[np.int64], usable: Usable, shared: NDArray[np.int64]) -> str:
    """Describes the first image that two splits share, with its rows."""
    import numpy as np

    marked = np.isin(usable.images, shared)
    first = int(np.flatnonzero(marked.any(axis=1))[0])
    image = int(usable.images[first][marked[first]][0])
    holds = (usable.images == image).any(axis=1)
    other = int(np.flatnonzero(holds & (split != split[first]) & (split >= 0))[0])
    names, rows, table = [], [], usable.table
    for pair in (first, other):
        files = table.pairs[usable.kept[pair]]
        names.append(shown(table.names[int(files[usable.images[pair] == image][0])]))
        rows.append(f"{table.place(usable.kept[pair])}, {SPLITS[split[pair]]}")
    more = f" ({len(shared) - 1} more images are in two splits too.)" if len(shared) > 1 else ""
    if names[0] == names[1]:
        what = f"{names[0]} is in two splits ({rows[0]}; {rows[1]})"
    else:
        what = f"{names[0]} ({rows[0]}) and {names[1]} ({rows[1]}) are the same picture in two splits"
    return f"{table.source}: {what}. Fix the list, or skip such pairs with dataset.across_splits=drop.{more}"


def _check_none_is_empty(split: NDArray[np.int64], usable: Usable, sharing: Sharing) -> None:
    table = usable.table
    for part, name in enumerate(SPLITS):
        if (split == part).any():
            continue
        if table.split is not None and not (table.split == part).any():
            fix = f"Add rows whose split is {name}"
            if part != TRAIN:
                fix += f", or set dataset.{name}_share={sharing.share(part):g} to take them from the training pairs"
            raise DataError(f"{table.source}: the {name} split is empty. {fix}.")
        raise DataError(
            f"{table.source}: the {name} split has no pair left of {len(split)}. Add pairs, or change "
            f"{'dataset.test_share' if part == TEST else 'dataset.validation_share'}."
        )
