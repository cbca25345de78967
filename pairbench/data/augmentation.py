"""Random distortions of a batch of images, different for each image, in one resampling.

torchvision's v2 transforms draw one set of parameters for a whole batch, so every image needs
a call; here one grid serves the whole batch (measured in docs/decisions/0011-one-grid-for-all-distortions.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from pairbench.config.train_options import Distortion

ELASTIC_GRID = 4


def distort(images: Tensor, amounts: Mapping[Distortion, float], generator: torch.Generator, fill: Tensor) -> Tensor:
    """Images (N, C, H, W), each rotated, scaled, sheared, shifted and bent by amounts drawn uniformly.

    Args:
        images: (N, C, H, W) float32.
        amounts: the largest rotate (degrees), scale and shear (fractions), shift and elastic (pixels).
        generator: on the CPU, so that the draws do not depend on the device.
        fill: (C, 1, 1), the value of pixels outside the images.
    """
    count, _, height, width = images.shape
    return resampled(images, grids(count, height, width, amounts, generator).to(images.device), fill)


def grids(
    count: int, height: int, width: int, amounts: Mapping[Distortion, float], generator: torch.Generator
) -> Tensor:
    """Sampling grids (N, H, W, 2) for `count` images, in the format of grid_sample."""
    matrices = _matrices(count, height, width, amounts, generator)
    grid = functional.affine_grid(matrices, [count, 1, height, width], align_corners=False)
    if amounts.get("elastic"):
        grid = grid + _bend(count, height, width, amounts["elastic"], generator)
    return grid


def resampled(images: Tensor, grid: Tensor, fill: Tensor) -> Tensor:
    """Images (N, C, H, W), resampled at `grid` (N, H, W, 2); pixels outside are `fill` (C, 1, 1)."""
    # Shifted so that `fill` is zero, since grid_sample fills with zero outside.
    moved = functional.grid_sample(images - fill, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return moved + fill


def _matrices(
    count: int, height: int, width: int, amounts: Mapping[Distortion, float], generator: torch.Generator
) -> Tensor:
    """(N, 2, 3) maps from output to input coordinates in [-1, 1]."""

    def draw(name: Distortion, columns: int = 1) -> Tensor:
        return (torch.rand(count, columns, generator=generator) * 2 - 1) * amounts.get(name, 0.0)

    angle = draw("rotate").squeeze(1) * (math.pi / 180)
    zoom = 1 + draw("scale", 2)
    shear = draw("shear").squeeze(1)
    shift = draw("shift", 2) * torch.tensor([2 / width, 2 / height])
    cos, sin = angle.cos(), angle.sin()
    # For a non-square image, a rotation in pixels is not one in [-1, 1] coordinates: correct by the aspect ratio.
    ratio = height / width
    return torch.stack(
        [
            torch.stack([cos * zoom[:, 0], (shear * cos - sin) * zoom[:, 1] * ratio, shift[:, 0]], dim=1),
            torch.stack([sin * zoom[:, 0] / ratio, (shear * sin + cos) * zoom[:, 1], shift[:, 1]], dim=1),
        ],
        dim=1,
    )


def _bend(count: int, height: int, width: int, pixels: float, generator: torch.Generator) -> Tensor:
    """Smooth displacements (N, H, W, 2): a coarse random grid, interpolated."""
    coarse = (torch.rand(count, 2, ELASTIC_GRID, ELASTIC_GRID, generator=generator) * 2 - 1) * pixels
    fine = functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)
    return (fine * torch.tensor([2 / width, 2 / height]).view(1, 2, 1, 1)).permute(0, 2, 3, 1)
