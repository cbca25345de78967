"""The figures of verification, held against scikit-learn's on the same scores."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics
from torch import Tensor

from pairbench import PairTask, ScoredPairs
from pairbench.plugin.components import TaskKind
from pairbench.training.figures import agreement, swap_consistency
from pairbench.training.metrics import (
    accuracy_at,
    best_threshold,
    equal_error_rate,
    finite_threshold,
    fold_accuracies,
    fpr_at_tpr,
    roc_curve,
    tpr_at_fpr,
)


def answered(
    kind: TaskKind, logits: Tensor, target: Tensor, classes: Tensor | None = None, **given: Tensor
) -> ScoredPairs:
    """What was answered for pairs of a task of `kind`."""
    classes = torch.zeros(len(target), 2) if classes is None else classes
    return ScoredPairs(PairTask(kind, (1, 4, 4)), logits, target, classes, **given)  # type: ignore[arg-type]


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
    assert tpr_at_fpr(score, positive, 0.01) == pytest.approx(true[false <= 0.01].max())
    assert fpr_at_tpr(score, positive, 0.95) == pytest.approx(false[true >= 0.95].min())
    # Along the curve, since it may cross on an upright stretch.
    assert equal_error_rate(score, positive) == pytest.approx(np.interp(0, false + true - 1, false))


@pytest.mark.parametrize("levels", [1, 5, 10**6])
def test_no_score_is_a_better_threshold_than_the_one_chosen(levels: int) -> None:
    score, positive = scores(levels)
    most = max(accuracy_at(score, positive, float(value)) for value in [*score.unique(), math.inf])
    assert accuracy_at(score, positive, best_threshold(score, positive)) == pytest.approx(most)


def test_rates_are_nan_where_an_outcome_is_missing() -> None:
    score, same = torch.rand(9), torch.ones(9).bool()
    for value in (equal_error_rate(score, same), fpr_at_tpr(score, same, 0.95), tpr_at_fpr(score, same, 0.1)):
        assert math.isnan(value)


def test_the_threshold_of_a_fold_is_chosen_on_the_others() -> None:
    score, positive = torch.tensor([0.0, 1.0, 0.0, 1.0, 5.0, 6.0]), torch.tensor([0, 1, 0, 1, 0, 1]).bool()
    # Fold 2 alone would choose 5.5; the others choose 0.5, which takes both of its pairs for same.
    assert fold_accuracies(score, positive, torch.tensor([0, 0, 1, 1, 2, 2]))[2].item() == 0.5


@pytest.mark.parametrize(("score", "positive"), [([1.0, 2.0], [0, 0]), ([math.inf, -math.inf], [1, 0]), ([3.0], [1])])
def test_a_threshold_of_a_record_is_finite_and_tells_as_much(score: list[float], positive: list[int]) -> None:
    given, right = torch.tensor(score), torch.tensor(positive).bool()
    threshold = finite_threshold(given, right)
    assert math.isfinite(threshold)
    assert accuracy_at(given, right, threshold) == 1


def test_an_answer_agrees_with_the_votes_for_it() -> None:
    logits = torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 0.0]])
    for votes, share in (([0.9, 0.6, 0.0], (0.9 + 0.4 + 1) / 3), ([1, 1, 0], 2 / 3)):
        assert agreement(answered("preference", logits, torch.tensor(votes))) == pytest.approx(share)


SAYS = torch.eye(2)


@pytest.mark.parametrize(
    ("kind", "classes", "consistent"),
    [
        # Answers 0-0, 0-1, 1-0 and 1-1 before and after the swap.
        ("ordering", [[0, 1]] * 4, [0, 1, 1, 0]),
        ("ordering", [[2, 2]] * 4, [0, 0, 0, 1]),
        ("ordering", [[-1, -1]] * 4, [0, 1, 1, 0]),
        ("verification", [[2, 2]] * 4, [1, 0, 0, 1]),
        ("preference", [[2, 2, 2]] * 4, [0, 1, 1, 0]),
    ],
)
def test_consistency_is_what_a_swap_should_do_to_the_answer(
    kind: TaskKind, classes: list[list[int]], consistent: list[int]
) -> None:
    before, after = SAYS[torch.tensor([0, 0, 1, 1])], SAYS[torch.tensor([0, 1, 0, 1])]
    asked = answered(kind, before, torch.zeros(4), torch.tensor(classes), swapped=after)
    assert swap_consistency(asked) == sum(consistent) / 4
    for n, fits in enumerate(consistent):
        one = slice(n, n + 1)
        alone = answered(kind, before[one], torch.zeros(1), torch.tensor(classes[one]), swapped=after[one])
        assert swap_consistency(alone) == fits


def test_an_order_of_three_outcomes_has_no_consistency() -> None:
    three = torch.eye(3)
    assert swap_consistency(answered("ordering", three, torch.zeros(3), swapped=three)) is None
