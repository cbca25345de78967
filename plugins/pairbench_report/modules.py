"""The report's networks; imported only to build one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pairbench import PairBatch, PairOutput

ImageShape = tuple[int, int, int]


def mlp(image_shape: ImageShape, hidden: Sequence[int], embedding_dim: int | None, bias: bool) -> nn.Module:
    """(N, C, H, W) -> (N, D)."""
    layers: list[nn.Module] = [nn.Flatten()]
    width = math.prod(image_shape)
    for size in hidden:
        layers += [nn.Linear(width, size, bias=bias), nn.ReLU()]
        width = size
    if embedding_dim is not None:
        layers.append(nn.Linear(width, embedding_dim, bias=bias))
    return nn.Sequential(*layers)


def cnn(image_shape: ImageShape, channels: Sequence[int], kernel_size: int, embedding_dim: int | None) -> nn.Module:
    """(N, C, H, W) -> (N, D)."""
    depth, height, width = image_shape
    layers: list[nn.Module] = []
    for size in channels:
        layers += [nn.Conv2d(depth, size, kernel_size), nn.ReLU()]
        depth, height, width = size, height - kernel_size + 1, width - kernel_size + 1
    layers.append(nn.Flatten())
    if embedding_dim is not None:
        layers.append(nn.Linear(depth * height * width, embedding_dim))
    return nn.Sequential(*layers)


def pooled_cnn(
    image_shape: ImageShape, channels: int, kernel_size: int, hidden: int, dropout: float, embedding_dim: int
) -> nn.Module:
    """(N, C, H, W) -> (N, D)."""
    depth, height, width = image_shape
    features = channels * ((height - kernel_size + 1) // 4) * ((width - kernel_size + 1) // 4)
    return nn.Sequential(
        nn.Conv2d(depth, channels, kernel_size),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(features, hidden),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, embedding_dim),
    )


def deep_cnn(
    image_shape: ImageShape,
    channels: Sequence[int],
    batch_norm: Sequence[int],
    dropout: Sequence[float],
    embedding_dim: int,
) -> nn.Module:
    """(N, C, H, W) -> (N, D)."""
    depth, height, width = image_shape
    layers: list[nn.Module] = []
    for number, (size, rate) in enumerate(zip(channels, dropout, strict=True), start=1):
        layers.append(nn.Conv2d(depth, size, 3))
        if number in batch_norm:
            layers.append(nn.BatchNorm2d(size))
        layers.append(nn.ReLU())
        if rate:
            layers.append(nn.Dropout2d(rate))
        depth, height, width = size, height - 2, width - 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(depth * height * width, embedding_dim))


class ElmanRnn(nn.Module):
    """(N, C, H, W) -> (N, D), processing the H rows in sequence."""

    def __init__(self, image_shape: ImageShape, hidden: int, embedding_dim: int, bias: bool) -> None:
        super().__init__()
        depth, _, width = image_shape
        self.rnn = nn.RNN(depth * width, hidden, bias=bias, batch_first=True)
        self.project = nn.Linear(hidden, embedding_dim, bias=bias)

    def forward(self, images: Tensor) -> Tensor:
        rows = images.transpose(1, 2).flatten(2)  # (N, H, C * W)
        states, _ = self.rnn(rows)
        embedding: Tensor = self.project(states[:, -1])
        return embedding


def concat_mlp(inputs: int, hidden: Sequence[int], outcomes: int, bias: bool) -> nn.Module:
    """(N, M, D) -> (N, O)."""
    return mlp((inputs, 1, 1), hidden, outcomes, bias)


class CrossEntropy(nn.Module):
    """Cross-entropy of the answer; a float target is the probability of outcome 1."""

    def __init__(self, label_smoothing: float) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, comparison: PairOutput, batch: PairBatch) -> tuple[Tensor, dict[str, Tensor]]:
        loss = answer_loss(comparison.logits, batch.target, self.label_smoothing)
        return loss, {"final": loss}


class AuxClassification(nn.Module):
    """The weighted sum of one class loss for each image and the loss of the answer."""

    def __init__(self, weights: Sequence[float], classifier: nn.Module, label_smoothing: float) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        self.weights = tuple(weights)
        self.classifier = classifier

    def class_logits(self, embeddings: Tensor) -> Tensor:
        """(N, M, D) -> (N, M, K)."""
        logits: Tensor = self.classifier(embeddings)
        return logits

    def forward(self, comparison: PairOutput, batch: PairBatch) -> tuple[Tensor, dict[str, Tensor]]:
        logits = self.class_logits(comparison.embeddings)
        classes = batch.classes
        terms = {
            f"aux_{view + 1}": _class_loss(logits[:, view], classes[:, view], self.label_smoothing)
            for view in range(classes.shape[1])
        }
        terms["final"] = answer_loss(comparison.logits, batch.target)
        weighted = [weight * term for weight, term in zip(self.weights, terms.values(), strict=True)]
        return torch.stack(weighted).sum(), terms


def answer_loss(logits: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """The mean cross-entropy of logits (N, O) against targets (N,): int64 outcomes, or float probabilities of 1."""
    if target.is_floating_point():
        target = torch.stack([1 - target, target], dim=1)
    return nn.functional.cross_entropy(logits, target, label_smoothing=label_smoothing)


def _class_loss(logits: Tensor, classes: Tensor, label_smoothing: float) -> Tensor:
    """The mean over images of known class; zero if none is known, since the mean of nothing would be NaN."""
    total = nn.functional.cross_entropy(
        logits, classes, ignore_index=-1, reduction="sum", label_smoothing=label_smoothing
    )
    return total / (classes >= 0).sum().clamp(min=1)
