"""Heads and losses for verification and preference."""

from __future__ import annotations

import pytest
import torch

from pairbench import ComparisonHead, MismatchError, PairBatch, PairOutput, PairTask
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
