"""The data of a round on its device, scaled, and the validation of pools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from pairbench.errors import DataError
from pairbench.plugin.components import PairBatch, PairPool, PairTask

MATERIALISE_BYTES = 512 * 2**20
# Fewer pairs of one answer than this are worth a note.
FEW_ANSWERS = 10


@dataclass(frozen=True)
class Scaling:
    """Images uint8 -> float32: (image - shift) * scale, each (C, 1, 1)."""

    shift: Tensor
    scale: Tensor

    def __call__(self, images: Tensor) -> Tensor:
        return (images.float() - self.shift) * self.scale


class RoundData:
    """The examples of one round on one device.

    Rounds of at most `most_bytes` are scaled once and stored as float32; larger ones stay uint8 in the pool and are
    scaled per batch.
    """

    def __init__(
        self,
        pool: PairPool,
        round_index: int,
        scaling: Scaling,
        device: torch.device,
        most_bytes: int = MATERIALISE_BYTES,
    ) -> None:
        self.pairs = pool.pairs[round_index].to(device)  # (N, V)
        self.target = pool.target[round_index].to(device)
        self.classes = pool.classes[pool.pairs[round_index]].to(device)  # (N, V)
        self.folds = None if pool.folds is None else pool.folds[round_index]  # (N,)
        self.scaling = Scaling(scaling.shift.to(device), scaling.scale.to(device))
        used, rows = torch.unique(pool.pairs[round_index], return_inverse=True)
        self.rows = rows.to(device)  # (N, V), rows of the images that this round uses
        self._pool, self._used, self._device = pool, used, device
        self.most_bytes = most_bytes
        self._small = used.numel() * pool.images[0].numel() * 4 <= most_bytes
        # For training/frozen.py: where features of images are kept on disk, and those that are known here.
        self.shelf: object | None = None
        self.features: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self.pairs)

    @cached_property
    def _images(self) -> Tensor | None:
        return self.scaling(self._pool.images[self._used].to(self._device)) if self._small else None

    @property
    def image_count(self) -> int:
        """The number of distinct images of this round."""
        return int(self._used.numel())

    @property
    def device(self) -> torch.device:
        """The device of the examples."""
        return self._device

    def used_images(self) -> tuple[PairPool, Tensor]:
        """The pool, and its rows (U,) that this round uses."""
        return self._pool, self._used

    @property
    def black(self) -> Tensor:
        """(C, 1, 1), the scaled value of a zero pixel."""
        return -self.scaling.shift * self.scaling.scale

    def images(self, rows: Tensor) -> Tensor:
        """The images (..., C, H, W) float32 at `rows` (...) of this round's images."""
        if self._images is not None:
            return self._images[rows]
        chosen = self._pool.images[self._used[rows.cpu()]].to(self._device)
        return self.scaling(chosen)

    def pixels(self, rows: Tensor) -> Tensor:
        """The images of `images` before scaling, (..., C, H, W) uint8."""
        if self._images is not None:
            return (self._images[rows] / self.scaling.scale + self.scaling.shift).round().to(torch.uint8)
        return self._pool.images[self._used[rows.cpu()]].to(self._device)

    def batch(self, examples: Tensor) -> PairBatch:
        """The examples (N,) as a batch."""
        return PairBatch(self.images(self.rows[examples]), self.target[examples], self.classes[examples])


def scaling(normalize: str, pool: PairPool, round_index: int) -> Scaling:
    """The scaling for `train.normalize`; standard is computed from the training images of round `round_index`."""
    channels = pool.images.shape[1]
    if normalize == "raw":
        return Scaling(torch.zeros(channels, 1, 1), torch.ones(channels, 1, 1))
    if normalize == "unit":
        return Scaling(torch.zeros(channels, 1, 1), torch.full((channels, 1, 1), 1 / 255))
    total = torch.zeros(channels, dtype=torch.float64)
    squares = torch.zeros(channels, dtype=torch.float64)
    used = torch.unique(pool.pairs[round_index])
    for rows in used.split(4096):
        images = pool.images[rows].double().transpose(0, 1).flatten(1)  # (C, n * H * W)
        total += images.sum(1)
        squares += images.square().sum(1)
    count = used.numel() * pool.images[0, 0].numel()
    mean = total / count
    deviation = (squares / count - mean.square()).clamp(min=0).sqrt()
    deviation[deviation == 0] = 1.0
    return Scaling(mean.float().view(-1, 1, 1), deviation.reciprocal().float().view(-1, 1, 1))


def check_pool(pool: PairPool, task: PairTask, rounds: int, name: str) -> None:
    """Reject a pool that violates its interface.

    Raises:
        DataError: a shape, a type or a range is wrong.
    """

    def refuse(what: str) -> None:
        raise DataError(f"dataset '{name}' returned {what}.")

    if tuple(pool.images.shape[1:]) != task.image_shape or pool.images.dtype != torch.uint8:
        refuse(
            f"images {tuple(pool.images.shape)} of {pool.images.dtype}: "
            f"expected (P, {', '.join(map(str, task.image_shape))}) of uint8"
        )
    if pool.pairs.ndim != 3 or pool.pairs.shape[0] != rounds or pool.pairs.shape[2] != task.views:
        refuse(f"pairs {tuple(pool.pairs.shape)}: expected ({rounds}, N, {task.views})")
    if pool.pairs.shape[1] == 0:
        refuse("no pairs: expected at least one in each split")
    if pool.pairs.min() < 0 or pool.pairs.max() >= len(pool.images):
        refuse(f"pairs with rows outside 0 to {len(pool.images) - 1}")
    if pool.target.shape != pool.pairs.shape[:2]:
        refuse(f"targets {tuple(pool.target.shape)}: expected {tuple(pool.pairs.shape[:2])}")
    most = 1 if pool.target.is_floating_point() else len(task.outcomes) - 1
    if pool.target.min() < 0 or pool.target.max() > most or pool.target.isnan().any():
        refuse(f"targets outside 0 to {most}")
    if pool.folds is not None and (pool.folds.shape != pool.pairs.shape[:2] or pool.folds.is_floating_point()):
        refuse(f"folds {tuple(pool.folds.shape)}: expected whole numbers {tuple(pool.pairs.shape[:2])}")
    classes = task.num_classes or 0
    if pool.classes.shape != pool.images.shape[:1] or pool.classes.min() < -1 or pool.classes.max() >= max(classes, 0):
        refuse(f"classes outside -1 to {classes - 1}, or not one for each image")


def check_answers(pools: Mapping[str, PairPool], task: PairTask, name: str) -> list[str]:
    """Notes on splits with very few pairs of one answer.

    Raises:
        DataError: train or test pairs have one answer alone in every round, so that no figure means anything.
    """
    notes = []
    for split, pool in pools.items():
        pairs = pool.target.shape[1]
        target = pool.target.float()
        # The most that any round has; a tie between soft votes is neither.
        counts = [int(given.sum(dim=1).max()) for given in (target < 0.5, target > 0.5)]
        few, rare = min(zip(counts, task.outcomes, strict=True))
        there = task.outcomes[1 - task.outcomes.index(rare)]
        if not few and split == "validation":
            notes.append(f"all {pairs} validation pairs have the answer '{there}': they cannot choose a threshold")
        elif not few and pairs > 1:
            raise DataError(
                f"dataset '{name}': all {pairs} {split} pairs have the answer '{there}', so no figure over them means "
                f"anything. Add pairs whose answer is '{rare}', or split the pairs otherwise."
            )
        elif few < FEW_ANSWERS <= pairs // 2:
            notes.append(
                f"{few} of {pairs} {split} pairs {'has' if few == 1 else 'have'} the answer '{rare}': figures that "
                "depend on it, such as AUC and EER, say little"
            )
    return notes


def shared_images(pools: Mapping[str, PairPool]) -> str:
    """Describes the first image that two splits share, comparing pixels; "" if there is none."""
    seen: dict[bytes, tuple[str, int]] = {}
    for split, pool in pools.items():
        own: dict[bytes, tuple[str, int]] = {}
        for row, image in enumerate(pool.images.numpy()):
            key = _fingerprint(image)
            if key in seen:
                other, at = seen[key]
                return f"image {row} of the {split} split is image {at} of the {other} split, pixel for pixel"
            own[key] = (split, row)
        seen |= own
    return ""


def _fingerprint(image: Any) -> bytes:
    import hashlib

    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()
