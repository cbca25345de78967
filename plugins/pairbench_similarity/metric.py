"""The losses of pytorch-metric-learning by name."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from pairbench import LossStrategy, MismatchError, NonNegativeFloat, PairTask, one_line, printable
from pairbench_similarity.heads import check

if TYPE_CHECKING:
    from torch import nn

Scalar = bool | int | float | str
# These wrap other losses, or need inputs that a batch of pairs does not have.
_WRAPPERS = {
    "BaseLossWrapper",
    "BaseMetricLossFunction",
    "CrossBatchMemory",
    "GenericPairLoss",
    "MultipleLosses",
    "SelfSupervisedLoss",
    "VICRegLoss",
    "WeightRegularizerMixin",
}


class Metric(LossStrategy):
    """A loss of pytorch-metric-learning over the embeddings of a batch, and the cross-entropy of the answers.

    The classes of images are the labels; if only same or different is known, each pair is passed as positive or
    negative. Needs the extra `metric`.

    name: the loss by its name in pytorch_metric_learning.losses, such as ContrastiveLoss or ProxyAnchorLoss.
    options: its arguments, such as [pos_margin=0,neg_margin=1]; num_classes and embedding_size are filled in.
    answer_weight: the weight of the cross-entropy, which trains the head.
    """

    name = "metric"
    loss_name: Annotated[str, Field(min_length=1, alias="name")] = "ContrastiveLoss"
    options: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], Scalar] = Field(default_factory=dict)
    answer_weight: NonNegativeFloat = 1.0

    def build(self, embedding_shape: tuple[int, int], task: PairTask) -> nn.Module:
        """Uses the embeddings, the classes or the answers, and the logits."""
        from pairbench_similarity import modules

        if embedding_shape[0] != task.views:
            check("loss 'metric'", embedding_shape, task)
        if task.num_classes is None and task.kind != "verification":
            raise MismatchError(
                "loss 'metric' needs the classes of images, or pairs that are the same or not, but this dataset of "
                f"task '{task.kind}' has neither. Use loss=cross_entropy."
            )
        return modules.MetricLoss(self._loss(embedding_shape[1], task), self.answer_weight, task.num_classes is None)

    def _loss(self, size: int, task: PairTask) -> Any:
        import difflib

        try:
            from pytorch_metric_learning import losses
        except ImportError:
            raise MismatchError(
                'loss=metric needs the package pytorch-metric-learning. Run: pip install "pairbench[metric]"'
            ) from None
        known = sorted(name for name in vars(losses) if name.endswith("Loss") and name not in _WRAPPERS)
        if self.loss_name not in known:
            near = difflib.get_close_matches(self.loss_name, known, 3, 0.5)
            hint = f" Did you mean {' or '.join(near)}?" if near else f" There are {', '.join(known)}."
            raise MismatchError(f"loss.name={self.loss_name}: pytorch-metric-learning has no such loss.{hint}")
        kind = getattr(losses, self.loss_name)
        asked = inspect.signature(kind.__init__).parameters
        options: dict[str, Any] = dict(self.options)
        proxies = "num_classes" in asked or issubclass(kind, losses.ArcFaceLoss)
        if proxies and task.num_classes is None:
            raise MismatchError(
                f"loss.name={self.loss_name} learns a proxy for each class, but this dataset has no classes. "
                "Use loss.name=ContrastiveLoss."
            )
        if proxies:
            options = {"num_classes": task.num_classes} | options
            options.setdefault("descriptors_dim" if "descriptors_dim" in asked else "embedding_size", size)
        try:
            return kind(**options)
        except Exception as error:
            reason = printable(one_line(error), 160)
            raise MismatchError(f"loss.name={self.loss_name} rejects loss.options: {reason}. Fix them.") from error
