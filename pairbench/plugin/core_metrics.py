"""The metrics of the core, in the order in which tables show them."""

from __future__ import annotations

from typing import Any

from pairbench.plugin.metric_specs import ALWAYS, MetricSpec

_FIGURES = "pairbench.training.figures"


def _share(name: str, text: str, **options: Any) -> MetricSpec:
    return MetricSpec(name, text, f"{_FIGURES}:{name}", unit="percent", **options)


def _number(name: str, text: str, **options: Any) -> MetricSpec:
    return MetricSpec(name, text, f"{_FIGURES}:{name}", **options)


def _tar(far: str, **options: Any) -> MetricSpec:
    return MetricSpec(
        f"tar_at_far_{far}",
        f"Highest TPR of a threshold whose FPR is at most {far}.",
        f"{_FIGURES}:tar_at_far_{far.replace('.', '_')}",
        f"TAR at FAR {far}",
        "percent",
        needs=("verification",),
        **options,
    )


CORE = (
    _share("accuracy", "Fraction of pairs answered correctly.", each_epoch=True, priority=ALWAYS),
    _share("f1", "F1 of outcome 1 over all pairs.", title="F1", each_epoch=True, priority=50),
    _number(
        "auc", "Area under the ROC curve of outcome 1, ties counted as half.", title="AUC", each_epoch=True, priority=40
    ),
    _share(
        "accuracy_at_threshold",
        "Fraction of pairs classified correctly by `threshold`.",
        needs=("verification", "threshold"),
        priority=60,
    ),
    _share(
        "eer",
        "Equal error rate, where FPR and 1 - TPR are equal.",
        title="EER",
        needs=("verification",),
        higher_is_better=False,
        priority=70,
    ),
    _share(
        "fpr95",
        "Lowest FPR of a threshold whose TPR is at least 0.95.",
        title="FPR at 95% TPR",
        needs=("verification",),
        higher_is_better=False,
        priority=30,
    ),
    _tar("0.1", aside=True),
    _tar("0.01", priority=20),
    _tar("0.001", aside=True),
    _number(
        "threshold",
        "The score (log-odds of *same*) that best separates the validation pairs.",
        needs=("verification", "threshold"),
        ranks=False,
        aside=True,
    ),
    _share(
        "fold_accuracy",
        "Mean accuracy on a fold at the best threshold of the other folds.",
        title="accuracy over folds",
        needs=("verification", "folds"),
        priority=ALWAYS,
    ),
    _share(
        "fold_accuracy_std",
        "Standard deviation of those accuracies.",
        title="std over folds",
        needs=("verification", "folds"),
        higher_is_better=False,
        aside=True,
    ),
    _share("agreement", "Mean fraction of votes that agree with the answer.", needs=("preference",), priority=ALWAYS),
    _number("loss", "Mean cross-entropy of the answers.", higher_is_better=False, each_epoch=True, priority=10),
    _share(
        "class_accuracy",
        "Fraction of images classified correctly, for a loss that supervises classes.",
        needs=("class_logits",),
        each_epoch=True,
        priority=ALWAYS,
    ),
    _share(
        "swap_consistency",
        "Fraction of pairs whose answer is consistent with that of the swapped pair.",
        needs=("swapped",),
        aside=True,
    ),
    _number(
        "total_loss",
        "Mean of the full training loss, including auxiliary terms.",
        higher_is_better=False,
        each_epoch=True,
        aside=True,
    ),
)
