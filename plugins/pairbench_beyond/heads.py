"""The head that compares class posteriors, as a recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pairbench import ComparisonHead, MismatchError, PairTask

if TYPE_CHECKING:
    from torch import nn


class Posterior(ComparisonHead):
    """Treats embeddings as class logits, and compares the two class posteriors exactly; it has no weights.

    For ordering, P(first <= second) is the sum of p_i q_j over i <= j; for same or different, the sum of p_i q_i.

    order: the rank of each class, for ordering; none ranks classes by index.
    """

    name = "posterior"
    order: tuple[float, ...] | None = None

    def build(self, embedding_shape: tuple[int, int], task: PairTask) -> nn.Module:
        """2 x K -> 2 log probabilities."""
        from pairbench_beyond import modules

        images, size = embedding_shape
        classes = task.num_classes
        if classes is None or classes < 2 or task.kind == "preference":
            raise MismatchError(
                "head 'posterior' compares classes, but this dataset's answers are not determined by classes. "
                "Use head=concat_linear."
            )
        if images != 2:
            raise MismatchError(
                f"head 'posterior' needs one embedding for each of 2 images, got {images}. "
                "Use pairing=siamese or pairing=pseudo_siamese, or head=concat_linear."
            )
        if size != classes:
            raise MismatchError(
                f"head 'posterior' treats each embedding as class logits, so its size must be {classes}, the number of "
                f"classes, got {size}. Set encoder.embedding_dim={classes}."
            )
        if self.order is not None and (len(self.order) != classes or len(set(self.order)) < 2):
            raise MismatchError(
                f"head.order needs {classes} ranks, one for each class and not all the same, got {len(self.order)}. "
                "Set head.order=none to rank classes by index."
            )
        if task.kind == "verification":
            return modules.SamePosterior()
        return modules.OrderPosterior(self.order or range(classes))
