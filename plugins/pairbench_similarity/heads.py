"""Heads that measure the similarity of embeddings, as recipes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pairbench import ComparisonHead, MismatchError, PairTask, PositiveFloat

if TYPE_CHECKING:
    from torch import nn


class Cosine(ComparisonHead):
    """The cosine of two embeddings, turned into logits by a learnt scale and threshold.

    scale: the initial factor from cosine to logit.
    """

    name = "cosine"
    scale: PositiveFloat = 5.0

    def build(self, embedding_shape: tuple[int, int], task: PairTask) -> nn.Module:
        """M x D -> 2, independent of the order of a pair."""
        from pairbench_similarity import modules

        check("head 'cosine'", embedding_shape, task)
        return modules.Similarity(modules.cosine, self.scale, 0.5, task.kind == "preference")


class Distance(ComparisonHead):
    """The Euclidean distance of two embeddings, turned into logits by a learnt scale and threshold.

    scale: the initial factor from distance to logit.
    threshold: the initial distance above which the answer is different.
    """

    name = "distance"
    scale: PositiveFloat = 1.0
    threshold: PositiveFloat = 1.0

    def build(self, embedding_shape: tuple[int, int], task: PairTask) -> nn.Module:
        """M x D -> 2, independent of the order of a pair."""
        from pairbench_similarity import modules

        check("head 'distance'", embedding_shape, task)
        return modules.Similarity(modules.nearness, self.scale, -self.threshold, task.kind == "preference")


class AbsoluteDifference(ComparisonHead):
    """One linear layer over the absolute differences of two embeddings (Koch et al., 2015)."""

    name = "absolute_difference"

    def build(self, embedding_shape: tuple[int, int], task: PairTask) -> nn.Module:
        """M x D -> 2, independent of the order of a pair."""
        from pairbench_similarity import modules

        check("head 'absolute_difference'", embedding_shape, task)
        return modules.AbsoluteDifference(embedding_shape[1], task.kind == "preference")


def check(what: str, embedding_shape: tuple[int, int], task: PairTask) -> None:
    """Reject a task or a pairing in which two embeddings cannot be compared symmetrically.

    Raises:
        MismatchError: the task is ordering, or the images share one embedding.
    """
    if task.kind == "ordering":
        raise MismatchError(
            f"{what} is symmetric in its images, but task 'ordering' depends on their order. Use head=concat_mlp and "
            "loss=cross_entropy, or a dataset of verification or preference."
        )
    if embedding_shape[0] != task.views:
        raise MismatchError(
            f"{what} needs one embedding for each of the {task.views} images, got {embedding_shape[0]}. "
            "Use pairing=siamese or pairing=pseudo_siamese."
        )
    if len(task.outcomes) != 2:
        raise MismatchError(
            f"{what} returns two logits, but the task has {len(task.outcomes)} outcomes. Use concat_mlp."
        )
