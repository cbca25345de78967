"""The report's losses, as recipes."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pairbench import LossStrategy, MismatchError, NonNegativeFloat, PairTask, Probability

if TYPE_CHECKING:
    from torch import nn


class CrossEntropy(LossStrategy):
    """Only the cross-entropy of the answer.

    label_smoothing: the fraction of each target that is spread over all outcomes.
    """

    name = "cross_entropy"
    label_smoothing: Probability = 0.0

    def build(self, embedding_shape: tuple[int, int], task: PairTask) -> nn.Module:
        """Uses only the logits."""
        from pairbench_report import modules

        return modules.CrossEntropy(self.label_smoothing)


class AuxClassification(LossStrategy):
    """Each image's class loss and the final loss, weighted and summed (report, equation 1).

    weights: one for each image, then one for the final loss.
    classifier: none uses embeddings as class logits; linear adds a layer.
    label_smoothing: the fraction of each class target that is spread over all classes.
    """

    name = "aux"
    supervises_classes: ClassVar[bool] = True
    weights: tuple[NonNegativeFloat, ...] = (0.8, 0.8, 1.0)
    classifier: Literal["none", "linear"] = "none"
    label_smoothing: Probability = 0.0

    def build(self, embedding_shape: tuple[int, int], task: PairTask) -> nn.Module:
        """Uses the embeddings, the logits and the classes."""
        from torch import nn

        from pairbench_report import modules

        images, size = embedding_shape
        if task.num_classes is None:
            raise MismatchError(
                "loss 'aux' learns the class of each image, but this dataset has no classes. Use loss=cross_entropy."
            )
        if images != task.views:
            raise MismatchError(
                f"loss 'aux' needs one embedding for each of the {task.views} images, got {images}. "
                "Use pairing=siamese or pairing=pseudo_siamese, or loss=cross_entropy."
            )
        if len(self.weights) != task.views + 1:
            raise MismatchError(
                f"loss 'aux' needs {task.views + 1} weights, one for each image and one for the final loss, "
                f"got {len(self.weights)}. Set loss.weights=[{'0.8,' * task.views}1]."
            )
        if self.classifier == "linear":
            return modules.AuxClassification(self.weights, nn.Linear(size, task.num_classes), self.label_smoothing)
        if size != task.num_classes:
            raise MismatchError(
                f"loss 'aux' uses each embedding as class logits, so its size must be {task.num_classes}, "
                f"the number of classes, got {size}. "
                f"Set encoder.embedding_dim={task.num_classes} or loss.classifier=linear."
            )
        return modules.AuxClassification(self.weights, nn.Identity(), self.label_smoothing)
