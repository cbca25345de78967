"""Losses on the distances between embeddings, as recipes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from pairbench import LossStrategy, MismatchError, PairTask, PositiveFloat
from pairbench_similarity.heads import check

if TYPE_CHECKING:
    from torch import nn


class Contrastive(LossStrategy):
    """The contrastive loss of a pair's distance (Hadsell et al., 2006), and the cross-entropy of its answer.

    margin: the distance beyond which different images no longer push each other away.
    answer_weight: the weight of the cross-entropy, which trains the head and calibrates its answers.
    """

    name = "contrastive"
    margin: PositiveFloat = 1.0
    answer_weight: PositiveFloat = 1.0

    def build(self, embedding_shape: tuple[int, int], task: PairTask) -> nn.Module:
        """Uses the embeddings and the logits of verification."""
        from pairbench_similarity import modules

        check("loss 'contrastive'", embedding_shape, task)
        if task.kind != "verification":
            raise MismatchError(
                f"loss 'contrastive' needs a verification task, got '{task.kind}'. Use loss=cross_entropy."
            )
        return modules.Contrastive(self.margin, self.answer_weight)


class Margin(LossStrategy):
    """The cosine embedding loss: same images at cosine 1, different ones at most at the margin; and the answer's loss.

    margin: the cosine below which different images no longer push each other away.
    answer_weight: the weight of the cross-entropy, which trains the head and calibrates its answers.
    """

    name = "margin"
    margin: Annotated[float, Field(ge=-1, lt=1)] = 0.3
    answer_weight: PositiveFloat = 1.0

    def build(self, embedding_shape: tuple[int, int], task: PairTask) -> nn.Module:
        """Uses the embeddings and the logits of verification."""
        from pairbench_similarity import modules

        check("loss 'margin'", embedding_shape, task)
        if task.kind != "verification":
            raise MismatchError(f"loss 'margin' needs a verification task, got '{task.kind}'. Use loss=cross_entropy.")
        return modules.Margin(self.margin, self.answer_weight)


class Triplet(LossStrategy):
    """The triplet loss, with the hardest triplets of a batch (Hermans et al., 2017), and the answer's loss.

    For preference the example itself is a triplet. For verification each image of the batch is an anchor, and images of
    the same class are its positives.

    margin: the required difference of the distances to the negative and to the positive.
    answer_weight: the weight of the cross-entropy, which trains the head and calibrates its answers.
    """

    name = "triplet"
    margin: PositiveFloat = 0.5
    answer_weight: PositiveFloat = 1.0

    def build(self, embedding_shape: tuple[int, int], task: PairTask) -> nn.Module:
        """Uses the embeddings, the classes and the logits."""
        from pairbench_similarity import modules

        check("loss 'triplet'", embedding_shape, task)
        if task.kind == "verification" and task.num_classes is None:
            raise MismatchError(
                "loss 'triplet' forms triplets by the classes of images, but this dataset has no classes. "
                "Use loss=contrastive or loss=margin."
            )
        return modules.Triplet(self.margin, self.answer_weight, task.kind == "preference")
