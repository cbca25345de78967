"""The smallest recipes that train for real: gray squares whose class is their brightness."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import pairbench
from pairbench import NonNegativeFloat, PairPool, PairTask, PositiveInt

if TYPE_CHECKING:
    from torch import Tensor, nn

SPECS = ("dataset=tiny_pairs", "encoder=tiny_encoder", "head=tiny_head", "loss=tiny_loss")
# Gray levels of one class: no two splits share one, so no two splits share an image.
_LEVELS = {"train": (0, 12), "validation": (12, 16), "test": (16, 24)}


class TinyPairs(pairbench.PairDataset):
    """Is the first square at most as bright as the second?

    size: height and width of an image.
    classes: how many classes of brightness there are.
    pairs: pairs in a round, in every split.
    """

    name = "tiny_pairs"
    size: PositiveInt = 4
    classes: PositiveInt = 3
    pairs: PositiveInt = 12

    @property
    def task(self) -> PairTask:
        return PairTask("ordering", (1, self.size, self.size), ("greater", "at_most"), 2, self.classes)

    def load(self, split: pairbench.interfaces.Split, *, rounds: int, seed: int) -> PairPool:
        import torch

        low, high = _LEVELS[split]
        classes = torch.arange(self.classes).repeat_interleave(high - low)
        levels = torch.arange(low, high).repeat(self.classes) + 24 * classes
        images = levels.to(torch.uint8).reshape(-1, 1, 1, 1).repeat(1, 1, self.size, self.size)
        tables = [
            torch.randint(
                len(images), (self.pairs, 2), generator=torch.Generator().manual_seed(1000 * seed + 10 * number + low)
            )
            for number in range(rounds)
        ]
        pairs = torch.stack(tables)
        first, second = classes[pairs].unbind(dim=2)
        return PairPool(images, pairs, (first <= second).long(), classes)


class TinyEncoder(pairbench.Encoder):
    """One linear layer.

    embedding_dim: the size of the embedding.
    """

    name = "tiny_encoder"
    embedding_dim: PositiveInt = 3

    def build(self, image_shape: tuple[int, int, int]) -> nn.Module:
        from torch import nn

        return nn.Sequential(nn.Flatten(), nn.LazyLinear(self.embedding_dim))


class TinyHead(pairbench.ComparisonHead):
    """One linear layer over all embeddings.

    bias: whether it has a bias.
    """

    name = "tiny_head"
    bias: bool = True

    def build(self, embedding_shape: tuple[int, int], task: PairTask) -> nn.Module:
        from torch import nn

        images, size = embedding_shape
        return nn.Sequential(nn.Flatten(), nn.Linear(images * size, len(task.outcomes), bias=self.bias))


class TinyLoss(pairbench.LossStrategy):
    """The cross-entropy of the answer, times a number.

    weight: the number.
    style: a word that changes nothing.
    label: a text that changes nothing.
    weights: numbers that change nothing.
    """

    name = "tiny_loss"
    supervises_classes: ClassVar[bool] = False
    weight: NonNegativeFloat = 1.0
    style: Literal["none", "true", "7"] = "none"
    label: str | None = None
    weights: tuple[NonNegativeFloat, ...] = ()

    def build(self, embedding_shape: tuple[int, int], task: PairTask) -> nn.Module:
        from torch import nn

        weight = self.weight

        class Loss(nn.Module):
            def forward(
                self, comparison: pairbench.PairOutput, batch: pairbench.PairBatch
            ) -> tuple[Tensor, dict[str, Tensor]]:
                answer = nn.functional.cross_entropy(comparison.logits, batch.target)
                return weight * answer, {"answer": answer}

        return Loss()


@pairbench.hookimpl
def pairbench_components() -> list[type[pairbench.Component]]:
    return [TinyPairs, TinyEncoder, TinyHead, TinyLoss]
