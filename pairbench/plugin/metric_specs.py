"""The figures of a round: their names, titles and units, and which side of each is better."""

from __future__ import annotations

# Figures on the test split; `validation_` stands before those on the validation split.
METRICS = (
    "accuracy",
    "f1",
    "auc",
    "accuracy_at_threshold",
    "eer",
    "fpr95",
    "tar_at_far_0.1",
    "tar_at_far_0.01",
    "tar_at_far_0.001",
    "threshold",
    "fold_accuracy",
    "fold_accuracy_std",
    "agreement",
    "loss",
    "class_accuracy",
    "swap_consistency",
    "total_loss",
)
METRIC_TITLES = {
    "accuracy": "accuracy",
    "f1": "F1",
    "auc": "AUC",
    "accuracy_at_threshold": "accuracy at threshold",
    "eer": "EER",
    "fpr95": "FPR at 95% TPR",
    "tar_at_far_0.1": "TAR at FAR 0.1",
    "tar_at_far_0.01": "TAR at FAR 0.01",
    "tar_at_far_0.001": "TAR at FAR 0.001",
    "threshold": "threshold",
    "fold_accuracy": "accuracy over folds",
    "fold_accuracy_std": "std over folds",
    "agreement": "agreement",
    "loss": "loss",
    "class_accuracy": "class accuracy",
    "swap_consistency": "swap consistency",
    "total_loss": "total loss",
}
# A ranking shows these only where it is by them, since it would be too wide to read.
ASIDE = ("tar_at_far_0.1", "tar_at_far_0.001", "threshold", "fold_accuracy_std", "swap_consistency", "total_loss")
PERCENT = (
    "accuracy",
    "f1",
    "class_accuracy",
    "accuracy_at_threshold",
    "eer",
    "fpr95",
    "tar_at_far_0.1",
    "tar_at_far_0.01",
    "tar_at_far_0.001",
    "fold_accuracy",
    "fold_accuracy_std",
    "agreement",
    "swap_consistency",
)
LOWER_IS_BETTER = ("loss", "total_loss", "eer", "fpr95", "fold_accuracy_std")
# Chosen, not achieved: no side of them is the better one.
NOT_RANKED = ("threshold",)


def lower_is_better(metric: str) -> bool:
    """Whether a smaller value of `metric` is the better one."""
    return metric.removeprefix("validation_") in LOWER_IS_BETTER
