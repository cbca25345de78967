"""Heads, losses and metrics for verification and preference."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pairbench import ComparisonHead, MismatchError, PairBatch, PairOutput, PairTask, ScoredPairs
from pairbench_similarity import figures
from pairbench_similarity.heads import AbsoluteDifference, Cosine, Distance
from pairbench_similarity.losses import Contrastive

VERIFICATION = PairTask("verification", (1, 4, 4), ("different", "same"))
PREFERENCE = PairTask("preference", (1, 4, 4), ("first", "second"), 3)
ORDERING = PairTask("ordering", (1, 4, 4))
HEADS = (Cosine(), Distance(), AbsoluteDifference())


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.name)
def test_a_swapped_pair_gets_exactly_the_same_answer(head: ComparisonHead) -> None:
    module, pairs = head.build((2, 8), VERIFICATION), torch.randn(50, 2, 8)
    assert torch.equal(module(pairs), module(pairs.flip(1)))


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.name)
def test_swapped_candidates_get_exactly_the_opposite_answer(head: ComparisonHead) -> None:
    module, triples = head.build((3, 8), PREFERENCE), torch.randn(50, 3, 8)
    assert torch.equal(module(triples), module(triples[:, [0, 2, 1]]).flip(1))


@pytest.mark.parametrize("head", [Cosine(), Distance()], ids=lambda head: head.name)
def test_a_new_head_prefers_the_candidate_equal_to_the_reference(head: ComparisonHead) -> None:
    reference, other = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 3.0])
    answer = head.build((3, 2), PREFERENCE)(torch.stack([reference, other, reference])[None])
    assert answer.argmax(1).item() == 1


@pytest.mark.parametrize("head", [Cosine(), Distance()], ids=lambda head: head.name)
def test_a_new_head_calls_equal_images_same_and_distant_ones_different(head: ComparisonHead) -> None:
    pairs = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [-3.0, 0.0]]])
    assert head.build((2, 2), VERIFICATION)(pairs).argmax(1).tolist() == [1, 0]


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.name)
def test_a_symmetric_head_refuses_ordering(head: ComparisonHead) -> None:
    with pytest.raises(MismatchError, match="ordering"):
        head.build((2, 8), ORDERING)


def test_a_pair_in_one_embedding_is_refused() -> None:
    with pytest.raises(MismatchError, match="pairing=siamese"):
        Cosine().build((1, 8), VERIFICATION)


def test_the_contrastive_term_is_that_of_hadsell() -> None:
    embeddings = torch.tensor([[[0.0], [0.5]], [[0.0], [0.5]], [[0.0], [3.0]]])
    batch = PairBatch(torch.zeros(3, 2, 1, 4, 4), torch.tensor([1, 0, 0]), torch.full((3, 2), -1))
    _, terms = Contrastive(margin=2.0).build((2, 1), VERIFICATION)(PairOutput(torch.zeros(3, 2), embeddings), batch)
    assert terms["contrastive"].item() == pytest.approx((0.5**2 + 1.5**2 + 0) / 2 / 3, rel=1e-5)


def test_the_contrastive_loss_refuses_preference() -> None:
    with pytest.raises(MismatchError, match="preference"):
        Contrastive().build((3, 8), PREFERENCE)


# Metrics.


def verified(score: Any, same: Any) -> ScoredPairs:
    """Pairs of a verification whose log-odds are `score`."""
    logits = torch.stack([torch.zeros(len(score)), torch.as_tensor(score).float()], dim=1)
    classes = torch.zeros(len(score), 2)
    return ScoredPairs(VERIFICATION, logits, torch.as_tensor(same).long(), classes)


@pytest.mark.parametrize("levels", [1, 3, 10**6])
def test_average_precision_equals_that_of_scikit_learn(levels: int) -> None:
    from sklearn.metrics import average_precision_score

    draw = torch.Generator().manual_seed(levels)
    same = torch.rand(300, generator=draw) < 0.3
    score = ((same + torch.randn(300, generator=draw)) * levels).round() / levels
    expected = average_precision_score(same.numpy(), score.numpy())
    assert figures.average_precision(verified(score, same)) == pytest.approx(expected, rel=1e-9)


def test_d_prime_is_the_distance_of_the_means_over_the_root_of_the_mean_variance() -> None:
    assert figures.d_prime(verified([5.0, 7.0, 1.0, 3.0], [1, 1, 0, 0])) == pytest.approx(4 / 2**0.5)
    assert figures.d_prime(verified([1.0, 3.0, 5.0, 7.0], [1, 1, 0, 0])) == pytest.approx(-4 / 2**0.5)


def test_a_metric_that_does_not_exist_is_none() -> None:
    assert figures.average_precision(verified([1.0, 2.0], [0, 0])) is None
    assert figures.d_prime(verified([1.0, 2.0, 3.0], [1, 0, 0])) is None
    assert figures.d_prime(verified([1.0] * 4, [1, 1, 0, 0])) is None
