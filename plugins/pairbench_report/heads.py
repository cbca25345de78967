"""The report's comparison heads, as recipes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pairbench import ComparisonHead, PairTask, PositiveInt

if TYPE_CHECKING:
    from torch import nn


class ConcatLinear(ComparisonHead):
    """One linear layer over the concatenated embeddings.

    bias: whether the layer has a bias.
    """

    name = "concat_linear"
    bias: bool = True

    def build(self, embedding_shape: tuple[int, int], task: PairTask) -> nn.Module:
        """M x D -> O."""
        from torch import nn

        images, size = embedding_shape
        return nn.Sequential(nn.Flatten(), nn.Linear(images * size, len(task.outcomes), bias=self.bias))


class ConcatMlp(ComparisonHead):
    """Fully connected layers with ReLU between them, over the concatenated embeddings.

    hidden: the width of each hidden layer.
    bias: whether the layers have a bias.
    """

    name = "concat_mlp"
    hidden: tuple[PositiveInt, ...] = (150, 150)
    bias: bool = True

    def build(self, embedding_shape: tuple[int, int], task: PairTask) -> nn.Module:
        """M x D -> hidden ... -> O."""
        from pairbench_report import modules

        images, size = embedding_shape
        return modules.concat_mlp(images * size, self.hidden, len(task.outcomes), self.bias)
