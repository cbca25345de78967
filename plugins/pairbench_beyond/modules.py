"""The networks of this plugin; imported only to build one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

ImageShape = tuple[int, int, int]


def wide_cnn(image_shape: ImageShape, channels: Sequence[int], embedding_dim: int, embedding_norm: bool) -> nn.Module:
    """(N, C, H, W) -> (N, D)."""
    depth, height, width = image_shape
    layers: list[nn.Module] = []
    for size in channels:
        # No bias: batch norm removes any constant.
        layers += [nn.Conv2d(depth, size, 3, bias=False), nn.BatchNorm2d(size), nn.ReLU()]
        depth, height, width = size, height - 2, width - 2
    return nn.Sequential(*layers, nn.Flatten(), *_project(depth * height * width, embedding_dim, embedding_norm))


def residual_cnn(
    image_shape: ImageShape, channels: Sequence[int], blocks: int, embedding_dim: int, embedding_norm: bool
) -> nn.Module:
    """(N, C, H, W) -> (N, D)."""
    depth = image_shape[0]
    layers: list[nn.Module] = [nn.Conv2d(depth, channels[0], 3, padding=1, bias=False), nn.BatchNorm2d(channels[0])]
    layers.append(nn.ReLU())
    depth = channels[0]
    for stage, size in enumerate(channels):
        for block in range(blocks):
            layers.append(ResidualBlock(depth, size, 2 if stage and not block else 1))
            depth = size
    pooled = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, *pooled, *_project(depth, embedding_dim, embedding_norm))


def _project(features: int, embedding_dim: int, embedding_norm: bool) -> list[nn.Module]:
    norm = [nn.BatchNorm1d(embedding_dim)] if embedding_norm else []
    return [nn.Linear(features, embedding_dim), *norm]


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm, added to their input; (N, C, H, W) -> (N, C', H / stride, W / stride)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        same = inputs == outputs and stride == 1
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        )

    def forward(self, images: Tensor) -> Tensor:
        return functional.relu(self.body(images) + self.shortcut(images))


class OrderPosterior(nn.Module):
    """Class logits of two images (N, 2, K) -> log probabilities (N, 2) of (rank 1 > rank 2, rank 1 <= rank 2).

    P(first <= second) is the sum of p_i q_j over all classes with rank i <= rank j, taken in logarithms.
    """

    def __init__(self, ranks: Sequence[float]) -> None:
        super().__init__()
        order = sorted(range(len(ranks)), key=lambda index: ranks[index])
        ordered = [ranks[index] for index in order]
        # For each class in order of rank, the number of classes of at most the same rank.
        reach = [sum(1 for other in ordered if other <= own) for own in ordered]
        self.register_buffer("order", torch.tensor(order), persistent=False)
        self.register_buffer("reach", torch.tensor(reach), persistent=False)
        self.order: Tensor
        self.reach: Tensor

    def forward(self, embeddings: Tensor) -> Tensor:
        first, second = embeddings.log_softmax(dim=-1)[..., self.order].unbind(dim=-2)
        below = torch.logcumsumexp(first, dim=-1)[..., self.reach - 1]
        above = torch.logcumsumexp(first.flip(-1), dim=-1).flip(-1)
        # Nothing ranks above the highest class, and log 0 has no gradient: those pairs are omitted.
        inside = self.reach < first.shape[-1]
        above = above[..., self.reach.clamp(max=first.shape[-1] - 1)]
        greater = torch.logsumexp((above + second).masked_fill(~inside, -torch.inf), dim=-1)
        return torch.stack([greater, torch.logsumexp(below + second, dim=-1)], dim=-1)


class SamePosterior(nn.Module):
    """Class logits of two images (N, 2, K) -> log probabilities (N, 2) of (different, same).

    P(same) is the sum of p_i q_i. P(different) is summed over all pairs of different
    classes, since 1 - P(same) would lose precision.
    """

    def forward(self, embeddings: Tensor) -> Tensor:
        first, second = embeddings.log_softmax(dim=-1).unbind(dim=-2)
        same = torch.logsumexp(first + second, dim=-1)
        before = torch.logcumsumexp(second, dim=-1)[..., :-1]
        after = torch.logcumsumexp(second.flip(-1), dim=-1).flip(-1)[..., 1:]
        lower, upper = first[..., 1:] + before, first[..., :-1] + after
        different = torch.logsumexp(torch.cat([lower, upper], dim=-1), dim=-1)
        return torch.stack([different, same], dim=-1)
