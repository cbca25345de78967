"""The networks of this plugin; imported only to build one."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from pairbench import PairBatch, PairOutput

# Added under the root, so that the gradient is finite for equal embeddings.
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
    """(PairOutput, PairBatch) -> the weighted sum of the contrastive loss and the cross-entropy."""

    def __init__(self, margin: float, answer_weight: float) -> None:
        super().__init__()
        self.margin = margin
        self.answer_weight = answer_weight

    def forward(self, comparison: PairOutput, batch: PairBatch) -> tuple[Tensor, dict[str, Tensor]]:
        same = batch.target.to(comparison.logits.dtype)
        distance = -nearness(comparison.embeddings[:, 0], comparison.embeddings[:, 1])
        apart = (self.margin - distance).clamp(min=0).square()
        contrastive = (same * distance.square() + (1 - same) * apart).mean() / 2
        answer = functional.cross_entropy(comparison.logits, torch.stack([1 - same, same], dim=1))
        return contrastive + self.answer_weight * answer, {"contrastive": contrastive, "answer": answer}


class Margin(nn.Module):
    """(PairOutput, PairBatch) -> the cosine embedding loss of a pair, and the cross-entropy of its answer."""

    def __init__(self, margin: float, answer_weight: float) -> None:
        super().__init__()
        self.margin = margin
        self.answer_weight = answer_weight

    def forward(self, comparison: PairOutput, batch: PairBatch) -> tuple[Tensor, dict[str, Tensor]]:
        same = batch.target.to(comparison.logits.dtype)
        near = cosine(comparison.embeddings[:, 0], comparison.embeddings[:, 1])
        margin = (same * (1 - near) + (1 - same) * (near - self.margin).clamp(min=0)).mean()
        answer = _answer(comparison, batch)
        return margin + self.answer_weight * answer, {"margin": margin, "answer": answer}


class Triplet(nn.Module):
    """(PairOutput, PairBatch) -> the triplet loss, and the cross-entropy of the answers.

    preference: the reference should be closer to the preferred candidate than to the other. Otherwise each image of the
    batch should be closer to the farthest of its class than to the closest of another (Hermans et al., 2017).
    """

    def __init__(self, margin: float, answer_weight: float, preference: bool) -> None:
        super().__init__()
        self.margin, self.answer_weight, self.preference = margin, answer_weight, preference

    def forward(self, comparison: PairOutput, batch: PairBatch) -> tuple[Tensor, dict[str, Tensor]]:
        triplet = self._preferred(comparison, batch) if self.preference else self._hardest(comparison, batch)
        answer = _answer(comparison, batch)
        return triplet + self.answer_weight * answer, {"triplet": triplet, "answer": answer}

    def _preferred(self, comparison: PairOutput, batch: PairBatch) -> Tensor:
        reference, first, second = comparison.embeddings.unbind(dim=1)
        votes = batch.target.to(comparison.logits.dtype)
        further = nearness(reference, second) - nearness(reference, first)  # of the first beyond the second
        one, two = (self.margin - further).clamp(min=0), (self.margin + further).clamp(min=0)
        return (votes * one + (1 - votes) * two).mean()

    def _hardest(self, comparison: PairOutput, batch: PairBatch) -> Tensor:
        embeddings, classes = comparison.embeddings.flatten(0, 1), batch.classes.flatten()
        squares = (embeddings.unsqueeze(1) - embeddings.unsqueeze(0)).square().sum(-1)
        distance = (squares + TINY).sqrt()
        known = (classes >= 0).unsqueeze(1) & (classes >= 0).unsqueeze(0)
        equal = classes.unsqueeze(1) == classes.unsqueeze(0)
        same = known & equal & ~torch.eye(len(classes), dtype=torch.bool, device=classes.device)
        other = known & ~equal
        farthest = distance.masked_fill(~same, 0.0).amax(1)
        nearest = distance.masked_fill(~other, torch.finfo(distance.dtype).max).amin(1)
        counts = same.any(1) & other.any(1)
        lost = (self.margin + farthest - nearest).clamp(min=0)
        return torch.where(counts, lost, 0.0).sum() / counts.sum().clamp(min=1)


class MetricLoss(nn.Module):
    """(PairOutput, PairBatch) -> a loss of pytorch-metric-learning, and the cross-entropy of the answers."""

    def __init__(self, loss: nn.Module, answer_weight: float, by_pairs: bool) -> None:
        super().__init__()
        self.loss, self.answer_weight, self.by_pairs = loss, answer_weight, by_pairs

    def forward(self, comparison: PairOutput, batch: PairBatch) -> tuple[Tensor, dict[str, Tensor]]:
        metric = self._by_pairs(comparison, batch) if self.by_pairs else self._by_classes(comparison, batch)
        answer = _answer(comparison, batch)
        return metric + self.answer_weight * answer, {"metric": metric, "answer": answer}

    def _by_classes(self, comparison: PairOutput, batch: PairBatch) -> Tensor:
        embeddings, classes = comparison.embeddings.flatten(0, 1), batch.classes.flatten()
        known = classes >= 0
        value: Tensor = self.loss(embeddings[known], classes[known])
        return value

    def _by_pairs(self, comparison: PairOutput, batch: PairBatch) -> Tensor:
        embeddings, same = comparison.embeddings.flatten(0, 1), batch.target > 0.5
        first = torch.arange(len(same), device=same.device) * 2
        pairs = (first[same], first[same] + 1, first[~same], first[~same] + 1)
        value: Tensor = self.loss(embeddings, torch.arange(len(embeddings), device=same.device), pairs)
        return value


def _answer(comparison: PairOutput, batch: PairBatch) -> Tensor:
    """The cross-entropy of the answers; a float target is the probability of outcome 1."""
    target = batch.target
    if target.is_floating_point():
        target = torch.stack([1 - target, target], dim=1)
    return functional.cross_entropy(comparison.logits, target)
