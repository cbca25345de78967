"""The figures of verification, held against scikit-learn's on the same scores."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics
from torch import Tensor

from pairbench.metrics import accuracy_at, best_threshold, fold_accuracies, roc_curve, verification_metrics


def scores(levels: int) -> tuple[Tensor, Tensor]:
    """Scores that tell 500 pairs apart in part, rounded to about `levels` different ones."""
    generator = torch.Generator().manual_seed(levels)
    positive = torch.rand(500, generator=generator) < 0.4
    score = positive.double() + torch.randn(500, generator=generator).double()
    return (score * levels).round() / levels, positive


@pytest.mark.parametrize("levels", [1, 5, 10**6])
def test_the_roc_curve_equals_that_of_scikit_learn(levels: int) -> None:
    score, positive = scores(levels)
    expected = sklearn_metrics.roc_curve(positive.numpy(), score.numpy(), drop_intermediate=False)
    for ours, theirs in zip(roc_curve(score, positive), expected, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-12)


@pytest.mark.parametrize("levels", [1, 5, 10**6])
def test_rates_are_read_from_the_curve_of_scikit_learn(levels: int) -> None:
    score, positive = scores(levels)
    false, true, _ = sklearn_metrics.roc_curve(positive.numpy(), score.numpy(), drop_intermediate=False)
    figures = verification_metrics(score, positive)
    assert figures["tar_at_far_0.01"] == pytest.approx(true[false <= 0.01].max())
    assert figures["fpr95"] == pytest.approx(false[true >= 0.95].min())
    # Along the curve, since it may cross on an upright stretch.
    assert figures["eer"] == pytest.approx(np.interp(0, false + true - 1, false))


@pytest.mark.parametrize("levels", [1, 5, 10**6])
def test_no_score_is_a_better_threshold_than_the_one_chosen(levels: int) -> None:
    score, positive = scores(levels)
    most = max(accuracy_at(score, positive, float(value)) for value in [*score.unique(), math.inf])
    assert accuracy_at(score, positive, best_threshold(score, positive)) == pytest.approx(most)


def test_rates_are_nan_where_an_outcome_is_missing() -> None:
    assert all(math.isnan(value) for value in verification_metrics(torch.rand(9), torch.ones(9).bool()).values())


def test_the_threshold_of_a_fold_is_chosen_on_the_others() -> None:
    score, positive = torch.tensor([0.0, 1.0, 0.0, 1.0, 5.0, 6.0]), torch.tensor([0, 1, 0, 1, 0, 1]).bool()
    # Fold 2 alone would choose 5.5; the others choose 0.5, which takes both of its pairs for same.
    assert fold_accuracies(score, positive, torch.tensor([0, 0, 1, 1, 2, 2]))[2].item() == 0.5
