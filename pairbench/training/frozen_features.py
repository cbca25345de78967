"""Features of frozen encoders: each image is encoded once, then looked up in training and evaluation.

If the weights come from a file, their features are stored on disk under the pixels of each image, and shared by all
rounds, heads, workers and later runs. If a round draws the weights, its images are encoded in that round.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pairbench.config.train_options import Distortion
from pairbench.data.round_data import RoundData
from pairbench.model.pair_model import PairModel
from pairbench.plugin.components import PairBatch
from pairbench.training.feature_cache import IMAGES_AT_ONCE, Shelf


def looked_up(model: PairModel, distortions: Mapping[Distortion, float]) -> bool:
    """Whether `model` can use features that are computed once; distorted images differ each time."""
    frozen = len(model.frozen_parts()) == len(model.encoders)
    return model.pairing != "two_channel" and frozen and not any(distortions.values())


def weights_of(model: PairModel) -> tuple[str, ...]:
    """A digest of the frozen weights of each encoder of `model`; cached on the model, and copied with it."""
    known: tuple[str, ...] | None = getattr(model, "frozen_digests", None)
    if known is None:
        known = tuple(_digest(part) for part in model.frozen_parts())
        model.frozen_digests = known  # type: ignore[assignment]
    return known


def _digest(part: nn.Module) -> str:
    digest = hashlib.sha256()
    items = [*part.named_parameters(), *part.named_buffers()]
    for name, item in items:
        digest.update(f"{name} {tuple(item.shape)} {item.dtype} ".encode())
        digest.update(item.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


class Features:
    """The features (U, ...) float32 of the images that `data` uses, in its device's memory if they are small.

    rows: their rows in `table`.
    """

    def __init__(self, table: Tensor, rows: Tensor, data: RoundData) -> None:
        self._table, self._rows, self._device = table, rows, data.device
        small = rows.numel() * table[0].numel() * 4 <= data.most_bytes
        self._held = table[rows].to(data.device) if small else None

    def __call__(self, rows: Tensor) -> Tensor:
        """The features (..., F) at `rows` (...) of the images that the round uses."""
        if self._held is not None:
            return self._held[rows]
        return self._table[self._rows[rows.cpu()]].to(self._device)


def features_of(model: PairModel, data: RoundData) -> list[Features]:
    """The features of the images of `data` by each encoder; computed when they are first needed with its weights."""
    for number, weights in enumerate(weights_of(model)):
        if weights not in data.features:
            make = _from_shelf if data.shelf is not None else _computed
            data.features[weights] = make(model, number, data)
    return [data.features[weights] for weights in weights_of(model)]


def _from_shelf(model: PairModel, number: int, data: RoundData) -> Features:
    shelf, weights = data.shelf, weights_of(model)[number]
    assert isinstance(shelf, Shelf)
    table, rows = shelf.features(weights, data.used_images(), lambda images: _encoded(model, number, data, images))
    return Features(table, rows, data)


def _computed(model: PairModel, number: int, data: RoundData) -> Features:
    parts = [
        _frozen(model, number, data.images(rows))
        for rows in torch.arange(data.image_count, device=data.device).split(IMAGES_AT_ONCE)
    ]
    return Features(torch.cat(parts), torch.arange(data.image_count), data)


def _encoded(model: PairModel, number: int, data: RoundData, images: Tensor) -> np.ndarray[Any, Any]:
    """The features of images (N, C, H, W) uint8, on the CPU."""
    scaled = data.scaling(images.to(data.device))
    features: np.ndarray[Any, Any] = _frozen(model, number, scaled).cpu().numpy()
    return features


@torch.no_grad()
def _frozen(model: PairModel, number: int, images: Tensor) -> Tensor:
    was_training = model.training
    model.eval()
    # In float32 whatever train.precision is, because other runs share them.
    features = model.features(images, number).float()
    model.train(was_training)
    return features


def _looked_up_rows(features: Sequence[Features], rows: Tensor) -> Tensor:
    """The features (N, V, ...) at `rows` (N, V), each view by its own encoder if there are several."""
    if len(features) == 1:
        return features[0](rows)
    return torch.stack([own(rows[:, view]) for view, own in enumerate(features)], dim=1)


class LookedUpBatch(PairBatch):
    """A batch with the features (N, V, ...) of its images, which are fetched only if a loss asks for them."""

    features: Tensor
    _data: RoundData
    _rows: Tensor

    def __init__(
        self, features: Sequence[Features], data: RoundData, rows: Tensor, target: Tensor, classes: Tensor
    ) -> None:
        found = _looked_up_rows(features, rows)
        held = {"features": found, "_data": data, "_rows": rows, "target": target, "classes": classes}
        for name, value in held.items():
            object.__setattr__(self, name, value)

    @property
    def images(self) -> Tensor:
        """The images (N, V, C, H, W) float32."""
        return self._data.images(self._rows)
