"""Beyond the report: the posterior head, and the wider and residual networks."""

import pytest
import torch

from pairbench import MismatchError, PairTask
from pairbench_beyond.encoders import ResidualCnn, WideCnn
from pairbench_beyond.heads import Posterior


def task(kind="ordering", classes=10):
    return PairTask(kind, (1, 14, 14), num_classes=classes)


def probabilities(embeddings):
    return embeddings.double().softmax(-1).unbind(1)


@pytest.mark.parametrize("classes", [2, 3, 10, 100])
def test_the_ordering_posterior_is_the_double_sum(classes):
    embeddings = torch.randn(50, 2, classes, generator=torch.Generator().manual_seed(classes)) * 3
    answer = Posterior().build((2, classes), task(classes=classes))(embeddings.double()).exp()
    first, second = probabilities(embeddings)
    at_most = (first.unsqueeze(2) * second.unsqueeze(1)).triu().sum((1, 2))
    assert torch.allclose(answer[:, 1], at_most, atol=1e-12)
    assert torch.allclose(answer.sum(1), torch.ones(50).double(), atol=1e-12)


def test_ranks_may_be_in_any_order_and_equal():
    order = (2.0, 0.0, 2.0, -1.0)
    embeddings = torch.randn(20, 2, 4, generator=torch.Generator().manual_seed(0)).double()
    answer = Posterior(order=order).build((2, 4), task(classes=4))(embeddings).exp()
    first, second = probabilities(embeddings)
    ranks = torch.tensor(order)
    mask = (ranks.unsqueeze(1) <= ranks.unsqueeze(0)).double()
    assert torch.allclose(answer[:, 1], (first.unsqueeze(2) * second.unsqueeze(1) * mask).sum((1, 2)), atol=1e-12)
    assert torch.allclose(answer.sum(1), torch.ones(20).double(), atol=1e-12)


def test_the_same_or_different_posterior_is_the_sum_of_products():
    embeddings = torch.randn(20, 2, 5, generator=torch.Generator().manual_seed(0)).double()
    answer = Posterior().build((2, 5), task("verification", 5))(embeddings).exp()
    first, second = probabilities(embeddings)
    assert torch.allclose(answer[:, 1], (first * second).sum(1), atol=1e-12)
    assert torch.allclose(answer.sum(1), torch.ones(20).double(), atol=1e-12)


@pytest.mark.parametrize("kind", ["ordering", "verification"])
def test_the_posterior_has_exact_gradients(kind):
    head = Posterior().build((2, 4), task(kind, 4))
    embeddings = torch.randn(3, 2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(head, embeddings)


@pytest.mark.parametrize("kind", ["ordering", "verification"])
def test_certain_answers_stay_finite_with_finite_gradients(kind):
    head = Posterior().build((2, 10), task(kind))
    embeddings = torch.full((4, 2, 10), -500.0)
    for example, (first, second) in enumerate([(0, 0), (9, 9), (0, 9), (9, 0)]):
        embeddings[example, 0, first] = embeddings[example, 1, second] = 500.0
    embeddings.requires_grad_()
    logits = head(embeddings)
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 0, 1])).backward()
    assert logits.isfinite().all()
    assert embeddings.grad.isfinite().all()


@pytest.mark.parametrize(
    ("head", "shape", "where", "message"),
    [
        (Posterior(), (2, 64), task(), "size must be 10, the number of classes, got 64"),
        (Posterior(), (1, 10), task(), "one embedding for each of 2 images, got 1"),
        (Posterior(), (2, 10), task(classes=None), "are not determined by classes"),
        (Posterior(order=(1, 2)), (2, 10), task(), "needs 10 ranks"),
        (Posterior(order=(1,) * 10), (2, 10), task(), "not all the same"),
    ],
)
def test_the_posterior_says_what_it_cannot_serve(head, shape, where, message):
    with pytest.raises(MismatchError, match=message):
        head.build(shape, where)


def test_the_wide_network_has_about_a_hundred_thousand_parameters():
    assert sum(p.numel() for p in WideCnn().build((1, 14, 14)).parameters()) == 105_614


@pytest.mark.parametrize("shape", [(1, 14, 14), (3, 28, 28), (2, 33, 17)])
def test_the_residual_network_takes_any_image(shape):
    encoder = ResidualCnn(channels=(4, 8), blocks=1, embedding_dim=7).build(shape)
    assert encoder(torch.randn(3, *shape)).shape == (3, 7)
