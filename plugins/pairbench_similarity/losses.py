"""Losses on the distances between embeddings, as recipes."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
        """Reads the embeddings and the logits of verification."""
        from pairbench_similarity import modules

        check("loss 'contrastive'", embedding_shape, task)
        if task.kind != "verification":
            raise MismatchError(
                f"loss 'contrastive' learns same and different, and the task is '{task.kind}'. Use loss=cross_entropy."
            )
        return modules.Contrastive(self.margin, self.answer_weight)
