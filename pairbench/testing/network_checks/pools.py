"""Checks of a dataset: its task, and the pools that it loads."""

from __future__ import annotations

import functools
from typing import Any, get_args

import torch

from pairbench.data.round_data import check_pool, shared_images
from pairbench.errors import DataError
from pairbench.plugin.components import SPLITS, PairDataset, PairPool, PairTask, Split, TaskKind
from pairbench.testing.kit import broken

ROUNDS = 2
SEED = 3
PARTS = ("images", "pairs", "target", "classes")


def task_is_well_formed(recipe: PairDataset) -> None:
    """The task is a PairTask with consistent fields, and is the same each time."""
    task = recipe.task
    if not isinstance(task, PairTask):
        raise broken(f"task is {type(task).__name__}", "Return a pairbench.PairTask from the property `task`")
    kinds = get_args(TaskKind)
    if task.kind not in kinds:
        raise broken(f"task.kind is {task.kind!r}", f"Use one of {', '.join(kinds)}")
    if len(task.image_shape) != 3 or not all(isinstance(size, int) and size >= 1 for size in task.image_shape):
        raise broken(f"task.image_shape is {task.image_shape}", "Use (channels, height, width), each at least 1")
    if len(set(task.outcomes)) != len(task.outcomes) or len(task.outcomes) < 2 or not all(task.outcomes):
        raise broken(f"task.outcomes are {task.outcomes}", "Name at least two different outcomes")
    views = 3 if task.kind == "preference" else 2
    if task.views != views:
        raise broken(f"task.views is {task.views} for {task.kind}", f"Set views={views}")
    if task.num_classes is not None and task.num_classes < 1:
        raise broken(f"task.num_classes is {task.num_classes}", "Use None if images have no class")
    if recipe.task != task:
        raise broken("task is different each time", "Derive it only from the options")


def loading_is_deterministic(recipe: PairDataset) -> None:
    """Loaded twice, with different states of the global random generators, every split is the same."""
    with torch.random.fork_rng(devices=[]):
        for split in SPLITS:
            torch.manual_seed(1)
            first = _pools(recipe)[split]
            torch.manual_seed(2)
            second = recipe.load(split, rounds=ROUNDS, seed=SEED)
            for part in PARTS:
                if not torch.equal(getattr(first, part), getattr(second, part)):
                    raise broken(
                        f"the {part} of the {split} split differ between two loads with equal arguments",
                        "Draw from a torch.Generator seeded with split, seed and round, not from a global one",
                    )


def rounds_do_not_depend_on_their_number(recipe: PairDataset) -> None:
    """Round 0 of one round is round 0 of several."""
    for split in SPLITS:
        several, one = _pools(recipe)[split], recipe.load(split, rounds=1, seed=SEED)
        for what, first, second in (
            ("images", several.images[several.pairs[0]], one.images[one.pairs[0]]),
            ("targets", several.target[0], one.target[0]),
        ):
            if not torch.equal(first, second):
                raise broken(
                    f"the {what} of round 0 of the {split} split change when more rounds are loaded",
                    "Give each round its own generator, seeded with split, seed and round index",
                )


def pools_keep_their_promises(recipe: PairDataset) -> None:
    """Every split is a PairPool with the shapes, types and ranges of that class."""
    wanted = {
        "images": (torch.uint8,),
        "pairs": (torch.int64,),
        "target": (torch.int64, torch.float32),
        "classes": (torch.int64,),
    }
    for split, pool in _pools(recipe).items():
        if not isinstance(pool, PairPool):
            raise broken(f"load returned {type(pool).__name__}", "Return a pairbench.PairPool")
        for part, types in wanted.items():
            tensor: Any = getattr(pool, part)
            if not isinstance(tensor, torch.Tensor) or tensor.dtype not in types:
                got = tensor.dtype if isinstance(tensor, torch.Tensor) else type(tensor).__name__
                raise broken(f"{part} of the {split} split is {got}", f"Return {' or '.join(map(str, types))}")
        try:
            check_pool(pool, recipe.task, ROUNDS, recipe.name)
        except DataError as error:
            raise broken(f"{split} split: {str(error).rstrip('.')}", "Return what PairPool requires") from error


def splits_share_no_image(recipe: PairDataset) -> None:
    """No image of one split is also, pixel for pixel, in another."""
    shared = shared_images({str(split): pool for split, pool in _pools(recipe).items()})
    if shared:
        raise broken(shared, "Split the images first, and draw the pairs of each split from its own images")


def _pools(recipe: PairDataset) -> dict[Split, PairPool]:
    return _loaded(_Once(recipe))


class _Once:
    """A recipe as a cache key, even one that cannot be hashed, which another rule reports."""

    def __init__(self, recipe: PairDataset) -> None:
        self.recipe = recipe

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Once) and self.recipe is other.recipe

    def __hash__(self) -> int:
        return id(self.recipe)


@functools.lru_cache(maxsize=1)
def _loaded(once: _Once) -> dict[Split, PairPool]:
    return {split: once.recipe.load(split, rounds=ROUNDS, seed=SEED) for split in SPLITS}
