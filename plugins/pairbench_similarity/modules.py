"""The networks of this plugin; imported only when one is built."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from pairbench import Comparison, PairBatch

# Under the root, so that its slope is finite where two embeddings are equal.
TINY = 1e-12


def cosine(first: Tensor, second: Tensor) -> Tensor:
    """(N, D), (N, D) -> (N,), exactly symmetric."""
    return (functional.normalize(first, dim=1) * functional.normalize(second, dim=1)).sum(1)


def nearness(first: Tensor, second: Tensor) -> Tensor:
    """(N, D), (N, D) -> (N,), the negative Euclidean distance, exactly symmetric."""
    return -((first - second).square().sum(1) + TINY).sqrt()


def two_logits(score: Tensor) -> Tensor:
    """(N,) log odds of outcome 1 -> (N, 2), exactly opposite for opposite scores."""
    return torch.stack([-score / 2, score / 2], dim=1)


class Similarity(nn.Module):
    """(N, V, D) -> (N, 2): a similarity against a threshold, or of two candidates to their reference."""

    def __init__(
        self, measure: Callable[[Tensor, Tensor], Tensor], scale: float, threshold: float, preference: bool
    ) -> None:
        super().__init__()
        self.measure = measure
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.threshold = None if preference else nn.Parameter(torch.tensor(threshold))

    def forward(self, embeddings: Tensor) -> Tensor:
        near = self.measure(embeddings[:, 0], embeddings[:, 1])
        if self.threshold is None:
            score = self.measure(embeddings[:, 0], embeddings[:, 2]) - near
        else:
            score = near - self.threshold
        return two_logits(self.log_scale.exp() * score)


class AbsoluteDifference(nn.Module):
    """(N, V, D) -> (N, 2): a weighted sum of absolute differences, or the difference of two such sums."""

    def __init__(self, size: int, preference: bool) -> None:
        super().__init__()
        self.preference = preference
        self.weigh = nn.Linear(size, 1, bias=not preference)

    def forward(self, embeddings: Tensor) -> Tensor:
        difference = (embeddings[:, 0] - embeddings[:, 1]).abs()
        if self.preference:
            difference = (embeddings[:, 0] - embeddings[:, 2]).abs() - difference
        return two_logits(self.weigh(difference).squeeze(1))


class Contrastive(nn.Module):
    """(Comparison, PairBatch) -> the weighted sum of the contrastive loss and the cross-entropy."""

    def __init__(self, margin: float, answer_weight: float) -> None:
        super().__init__()
        self.margin = margin
        self.answer_weight = answer_weight

    def forward(self, comparison: Comparison, batch: PairBatch) -> tuple[Tensor, dict[str, Tensor]]:
        same = batch.target.to(comparison.logits.dtype)
        distance = -nearness(comparison.embeddings[:, 0], comparison.embeddings[:, 1])
        apart = (self.margin - distance).clamp(min=0).square()
        contrastive = (same * distance.square() + (1 - same) * apart).mean() / 2
        answer = functional.cross_entropy(comparison.logits, torch.stack([1 - same, same], dim=1))
        return contrastive + self.answer_weight * answer, {"contrastive": contrastive, "answer": answer}
