"""Wrappers of a backbone: channels, size and scale before it, freezing, and a linear layer after it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class Backbone(nn.Module):
    """Images (N, C, H, W) -> features (N, D): gray is repeated, small or large images resized, and the scale adapted.

    net: (N, channels, h, w) -> (N, D).
    channels: what `net` takes; images of one channel are repeated.
    size: (h, w) that images are resized to; None leaves them.
    mean, deviation: for each channel, of images in [0, 1]; empty leaves the scale.
    """

    def __init__(
        self,
        net: nn.Module,
        channels: int,
        size: tuple[int, int] | None = None,
        mean: Sequence[float] = (),
        deviation: Sequence[float] = (),
    ) -> None:
        super().__init__()
        self.net, self.channels, self.size, self.scaled = net, channels, size, bool(mean)
        self.register_buffer("mean", torch.tensor(list(mean)).view(-1, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(list(deviation)).view(-1, 1, 1), persistent=False)
        self.mean: Tensor
        self.deviation: Tensor

    def forward(self, images: Tensor) -> Tensor:
        size = self.size
        if size is not None and images.shape[-2:] != size:
            # Antialiasing only matters for shrinking; without it, enlarging can be traced and batched everywhere.
            shrinks = size[0] < images.shape[-2] or size[1] < images.shape[-1]
            images = functional.interpolate(images, size, mode="bilinear", antialias=shrinks, align_corners=False)
        if images.shape[1] != self.channels:
            images = images.expand(-1, self.channels, -1, -1)
        if self.scaled:
            images = (images - self.mean) / self.deviation
        features: Tensor = self.net(images)
        return features.flatten(1)


def takes(net: nn.Module, channels: int, size: tuple[int, int]) -> bool:
    """Whether `net` returns features for images of this size."""
    was_training = net.training
    net.eval()
    try:
        with torch.no_grad():
            features: Tensor = net(torch.zeros(2, channels, *size))
        return features.numel() > 0
    except (AssertionError, RuntimeError, ValueError, TypeError, IndexError, ZeroDivisionError):
        return False
    finally:
        net.train(was_training)


def finished(backbone: Backbone, frozen: bool, embedding_dim: int | None, features: int) -> nn.Module:
    """`backbone`, without gradients if it is frozen, and with a linear layer if there is an `embedding_dim`."""
    if frozen:
        backbone.requires_grad_(False)
    if embedding_dim is None:
        return backbone
    return nn.Sequential(backbone, nn.Linear(features, embedding_dim))


def feature_count(backbone: Backbone, image_shape: tuple[int, int, int]) -> int:
    """D of `backbone` for images of `image_shape`."""
    backbone.eval()
    with torch.no_grad():
        features: Tensor = backbone(torch.zeros(1, *image_shape))
    backbone.train()
    return features.shape[1]
