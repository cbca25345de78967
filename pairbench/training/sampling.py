"""The batches of an epoch: shuffled, re-paired, swapped and distorted as the train options ask."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from pairbench.config import TrainOptions
from pairbench.data import RoundData
from pairbench.errors import MismatchError
from pairbench.interfaces import PairBatch, PairTask
from pairbench.seeds import member_seed
from pairbench.training.augmentation import distort


def check_sampling(train: TrainOptions, task: PairTask) -> None:
    """Refuse options that this task cannot serve.

    Raises:
        MismatchError: re-pairing or swapping needs classes that the task does not have.
    """
    if train.repair and (task.num_classes is None or task.kind == "preference"):
        raise MismatchError(
            "train.repair pairs labelled images anew, and this dataset's answers do not follow from classes. "
            "Set train.repair=false."
        )
    if train.swap and task.kind == "ordering" and task.num_classes is None:
        raise MismatchError(
            "train.swap needs the class of each image to know the answer of a swapped pair, and this dataset knows no "
            "classes. Set train.swap=false."
        )


class Sampler:
    """Draws the batches of one round; every draw comes from streams of the round's seed, never from torch's own."""

    def __init__(self, train: TrainOptions, task: PairTask, data: RoundData, number: int, member: int = 0) -> None:
        self.train, self.task, self.data = train, task, data
        if train.repair and bool((data.classes < 0).any()):
            raise MismatchError("train.repair needs the class of every training image. Set train.repair=false.")
        self.order = torch.Generator().manual_seed(member_seed(train.seed, number, "order", member))
        self.distortions = torch.Generator().manual_seed(member_seed(train.seed, number, "augment", member))

    def epoch(self) -> Iterator[PairBatch]:
        """The batches of the next epoch."""
        rows, target, classes = self.arranged()
        for chunk in torch.arange(len(rows)).split(self.train.batch_size):
            part = slice(int(chunk[0]), int(chunk[-1]) + 1)
            yield PairBatch(self.images(rows[part]), target[part], classes[part])

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
        """The images (N, V, C, H, W) of `rows` (N, V), distorted anew where train.augment says so."""
        images = self.data.images(rows)
        if not self.train.augment:
            return images
        return distort(images.flatten(0, 1), self.train.augment, self.distortions, self.data.black).view(images.shape)

    def _repaired(self) -> tuple[Tensor, Tensor, Tensor]:
        """The round's images in new pairs: rows (N, V), target (N,), classes (N, V)."""
        shape = self.data.rows.shape
        mixed = torch.randperm(self.data.rows.numel(), generator=self.order).to(self.data.rows.device)
        rows, classes = self.data.rows.flatten()[mixed].view(shape), self.data.classes.flatten()[mixed].view(shape)
        return rows, answer(self.task, classes), classes

    def _swap(self, rows: Tensor, target: Tensor, classes: Tensor, swapped: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same examples, those marked with their last two images exchanged."""
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
    """The right outcome (N,) of pairs of classes (N, 2)."""
    first, second = classes[:, 0], classes[:, 1]
    return (first <= second).long() if task.kind == "ordering" else (first == second).long()
