"""The batches of an epoch: shuffled, re-paired, swapped and distorted as the training options say."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from pairbench.config.train_options import TrainOptions
from pairbench.data.augmentation import distort
from pairbench.data.random_transforms import Transforms, check_transforms
from pairbench.data.round_data import RoundData
from pairbench.errors import MismatchError
from pairbench.plugin.components import PairBatch, PairTask
from pairbench.seeds import member_seed
from pairbench.training.frozen_features import Features, LookedUpBatch


def check_sampling(train: TrainOptions, task: PairTask) -> None:
    """Refuse options that do not work for this task.

    Raises:
        MismatchError: re-pairing or swapping needs classes that the task does not have, or a transform does not fit.
    """
    if train.repair and (task.num_classes is None or task.kind == "preference"):
        raise MismatchError(
            "train.repair draws new pairs of labelled images, but this dataset's answers do not follow from classes. "
            "Set train.repair=false."
        )
    check_transforms(train.transforms, task.image_shape)
    if train.swap and task.kind == "ordering" and task.num_classes is None:
        raise MismatchError(
            "train.swap needs the class of each image to know the answer of a swapped pair, but this dataset has no "
            "classes. Set train.swap=false."
        )


def batch_slices(count: int, batch_size: int) -> list[slice]:
    """The slices of `count` examples that are the batches of an epoch.

    A single example left over joins the batch before it, because batch norm cannot train on a batch of one.
    """
    starts = list(range(0, count, batch_size))
    if batch_size > 1 and len(starts) > 1 and count - starts[-1] == 1:
        starts.pop()
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], count], strict=True)]


class Sampler:
    """Draws the batches of one round, from random streams of the round's seed and never from torch's global one.

    features: the round's features by each frozen encoder, if they are looked up; None gives images.
    """

    def __init__(self, train: TrainOptions, task: PairTask, data: RoundData, number: int, member: int = 0) -> None:
        self.train, self.task, self.data = train, task, data
        self.features: list[Features] | None = None
        if train.repair and bool((data.classes < 0).any()):
            raise MismatchError("train.repair needs the class of every training image. Set train.repair=false.")
        self.transforms = Transforms(train.transforms) if train.transforms else None
        self.order = torch.Generator().manual_seed(member_seed(train.seed, number, "order", member))
        self.distortions = torch.Generator().manual_seed(member_seed(train.seed, number, "augment", member))

    def epoch(self) -> Iterator[PairBatch]:
        """The batches of the next epoch."""
        rows, target, classes = self.arranged()
        for part in batch_slices(len(rows), self.train.batch_size):
            if self.features is None:
                yield PairBatch(self.images(rows[part]), target[part], classes[part])
            else:
                yield LookedUpBatch(self.features, self.data, rows[part], target[part], classes[part])

    def arranged(self) -> tuple[Tensor, Tensor, Tensor]:
        """The examples of the next epoch in their order: rows (N, V), target (N,), classes (N, V)."""
        data, device = self.data, self.data.rows.device
        rows, target, classes = self._repaired() if self.train.repair else (data.rows, data.target, data.classes)
        shuffled = torch.randperm(len(rows), generator=self.order).to(device)
        rows, target, classes = rows[shuffled], target[shuffled], classes[shuffled]
        if self.train.swap:
            swapped = (torch.rand(len(rows), generator=self.order) < 0.5).to(device)
            if self.task.kind == "ordering":
                swapped &= (classes >= 0).all(dim=1)
            rows, target, classes = self._swap(rows, target, classes, swapped)
        return rows, target, classes

    def images(self, rows: Tensor) -> Tensor:
        """The images (N, V, C, H, W) of `rows` (N, V), newly distorted as train.augment and train.transforms say."""
        if self.transforms is None:
            images = self.data.images(rows)
        else:
            pixels = self.data.pixels(rows)
            changed = self.transforms(pixels.flatten(0, 1), self.distortions).view(pixels.shape)
            images = self.data.scaling(changed)
        if not self.train.augment:
            return images
        return distort(images.flatten(0, 1), self.train.augment, self.distortions, self.data.black).view(images.shape)

    def _repaired(self) -> tuple[Tensor, Tensor, Tensor]:
        """The round's images in new pairs: rows (N, V), target (N,), classes (N, V)."""
        shape = self.data.rows.shape
        mixed = torch.randperm(self.data.rows.numel(), generator=self.order).to(self.data.rows.device)
        rows, classes = self.data.rows.flatten()[mixed], self.data.classes.flatten()[mixed]
        if self.task.kind == "verification":
            # Random pairs are rarely of one class, so draw as many of those as the dataset has.
            same = int((answer(self.task, self.data.classes) == 1).sum())
            order = balanced(rows.cpu(), classes.cpu(), same, self.order).to(rows.device)
            rows, classes = rows[order], classes[order]
        rows, classes = rows.view(shape), classes.view(shape)
        return rows, answer(self.task, classes), classes

    def _swap(self, rows: Tensor, target: Tensor, classes: Tensor, swapped: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same examples, with the last two images of those in `swapped` exchanged."""
        views = rows.shape[1]
        exchange = [*range(views - 2), views - 1, views - 2]
        mark = swapped.unsqueeze(1)
        rows = torch.where(mark, rows[:, exchange], rows)
        new_classes = torch.where(mark, classes[:, exchange], classes)
        if self.task.kind == "ordering":
            # Not the opposite: two equal classes are "at most" either way round.
            target = torch.where(swapped, answer(self.task, new_classes), target)
        elif self.task.kind == "preference":
            target = torch.where(swapped, 1 - target, target)
        return rows, target, new_classes


def answer(task: PairTask, classes: Tensor) -> Tensor:
    """The correct outcome (N,) of pairs of classes (N, 2)."""
    first, second = classes[:, 0], classes[:, 1]
    return (first <= second).long() if task.kind == "ordering" else (first == second).long()


def balanced(rows: Tensor, classes: Tensor, same: int, generator: torch.Generator) -> Tensor:
    """An order of images (2N,) whose consecutive twos are pairs, `same` of them of one class if that is possible.

    Args:
        rows: (2N,) which image each is, in random order; a pair of one class is never an image with itself.
        classes: (2N,) the class of each.
        same: how many pairs shall be of one class.
        generator: decides which.
    """
    # In random order, so that the rest does not pair the same classes each time.
    rank = torch.randperm(int(classes.max()) + 1, generator=generator)[classes]
    ordered = torch.argsort(rank, stable=True)
    kinds, images = classes[ordered].tolist(), rows[ordered].tolist()
    found, at = [], 0
    while at + 1 < len(kinds):
        fits = kinds[at] == kinds[at + 1] and images[at] != images[at + 1]
        found += [at] if fits else []
        at += 2 if fits else 1
    starts = torch.tensor(found, dtype=torch.long)
    chosen = starts[torch.randperm(len(starts), generator=generator)[:same]]
    pairs = torch.stack([chosen, chosen + 1], dim=1)
    left = torch.ones(len(ordered), dtype=torch.bool)
    left[pairs.flatten()] = False
    rest = left.nonzero().flatten()
    half = len(rest) // 2
    # Half the sorted rest further on is another class, unless one class makes up more than half of it.
    others = torch.stack([rest[:half], rest[half:]], dim=1)
    return ordered[torch.cat([pairs, others]).flatten()]
