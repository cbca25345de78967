"""Checks of the outputs of an encoder, a head and a loss: shapes, types, finite values, and the sign of the loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from pairbench.errors import MismatchError
from pairbench.plugin.components import ComparisonHead, Encoder, LossStrategy, PairTask
from pairbench.testing.kit import ConformanceError, broken
from pairbench.testing.network_checks.probes import EncoderProbe, HeadProbe, LossProbe, Probe, isolated, probes, served
from pairbench.text import one_line

EXAMPLES = 3
SURE = 10.0


@isolated
def embeddings_have_their_shape(recipe: Encoder) -> None:
    """(N, C, H, W) -> (N, D) float32 and finite, for every shape that build does not reject with MismatchError."""
    served(recipe)
    for probe in probes(recipe):
        assert isinstance(probe, EncoderProbe)
        what = f"images {(EXAMPLES, *probe.shape)}"
        module = _built(probe, what)
        if module is None:
            continue
        embedding = _output(probe, module, what)
        if not isinstance(embedding, Tensor) or embedding.ndim != 2 or len(embedding) != EXAMPLES:
            raise broken(f"{what} became {_got(embedding)}, not ({EXAMPLES}, D)", "Flatten all but the first dimension")
        _refuse_numbers(embedding, f"the embedding of {what}")


@isolated
def logits_have_their_shape(recipe: ComparisonHead) -> None:
    """(N, M, D) -> (N, O) float32 and finite, for every shape and task that build does not reject."""
    served(recipe)
    for probe in probes(recipe):
        assert isinstance(probe, HeadProbe)
        what = f"embeddings {(EXAMPLES, *probe.shape)} of a {_asked(probe.task)} task"
        module = _built(probe, what)
        if module is None:
            continue
        logits = _output(probe, module, what)
        wanted = (EXAMPLES, len(probe.task.outcomes))
        if not isinstance(logits, Tensor) or tuple(logits.shape) != wanted:
            raise broken(f"{what} became {_got(logits)}, not {wanted}", "Return one logit for each of task.outcomes")
        _refuse_numbers(logits, f"the logits of {what}")


@isolated
def total_and_terms_have_their_shape(recipe: LossStrategy) -> None:
    """A finite scalar and a dictionary of named finite scalars, also with soft targets and unknown classes."""
    served(recipe)
    for probe, module in _modules(recipe):
        for name, inputs in _batches(probe):
            what = f"a {_asked(probe.task)} batch {name}"
            try:
                outcome = probe.outcome(module, inputs)
            except Exception as error:
                raise _raised(what, error) from error
            _refuse_outcome(outcome, what)


@isolated
def class_logits_have_their_shape(recipe: LossStrategy) -> None:
    """(N, M, D) -> (N, M, K) if the loss supervises classes, and MismatchError if a task has none."""
    if not recipe.supervises_classes:
        return
    served(recipe)
    for probe, module in _modules(recipe):
        classes = probe.task.num_classes
        if classes is None:
            raise broken(
                "it supervises classes, but builds for a task without classes",
                "Raise MismatchError in build if task.num_classes is None",
            )
        read = getattr(module, "class_logits", None)
        if read is None:
            raise broken(
                "supervises_classes is True, but its module has no method class_logits",
                "Add class_logits(embeddings), (N, M, D) -> (N, M, K), or set supervises_classes = False",
            )
        logits = read(torch.randn(EXAMPLES, *probe.shape))
        wanted = (EXAMPLES, probe.shape[0], classes)
        if not isinstance(logits, Tensor) or tuple(logits.shape) != wanted:
            raise broken(f"class_logits returned {_got(logits)}, not {wanted}", "Return K logits for each embedding")


@isolated
def a_right_answer_costs_less(recipe: LossStrategy) -> None:
    """Confident correct answers have a lower loss than confident wrong ones, given as logits or as embeddings."""
    served(recipe)
    for probe, module in _modules(recipe):
        right_logits, right_embeddings, wrong_logits, wrong_embeddings, target, classes = _truth(probe)
        images = torch.zeros(len(target), probe.task.views, *probe.task.image_shape)
        with torch.no_grad():
            right = probe.call(module, (right_logits, right_embeddings, images, target, classes))
            wrong = probe.call(module, (wrong_logits, right_embeddings, images, target, classes))
            if torch.equal(right, wrong):
                wrong = probe.call(module, (wrong_logits, wrong_embeddings, images, target, classes))
        if not bool(right < wrong):
            raise broken(
                f"a {_asked(probe.task)} task: loss {float(right):.4g} if correct, {float(wrong):.4g} if wrong",
                "Check the sign, and that logit o scores outcome o",
            )


def _built(probe: Probe, what: str) -> nn.Module | None:
    """The module for the situation of `probe`; None if build rejects it with MismatchError."""
    try:
        return probe.build(0)
    except MismatchError:
        return None
    except Exception as error:
        raise _raised(what, error) from error


def _output(probe: Probe, module: nn.Module, what: str) -> Any:
    with torch.no_grad():
        try:
            return probe.call(module.eval(), probe.inputs(EXAMPLES, 0))
        except Exception as error:
            raise _raised(what, error) from error


def _raised(what: str, error: Exception) -> ConformanceError:
    return broken(
        f"{what} raised {type(error).__name__}: {one_line(error)[:200]}",
        "Support them, or raise MismatchError in build and say how to fix it",
    )


def _modules(recipe: LossStrategy) -> Iterator[tuple[LossProbe, nn.Module]]:
    """Each situation that the loss supports, with a module for it."""
    for probe in probes(recipe):
        assert isinstance(probe, LossProbe)
        module = _built(probe, f"embeddings {probe.shape} of a {_asked(probe.task)} task")
        if module is not None:
            yield probe, module


def _batches(probe: LossProbe) -> Iterator[tuple[str, tuple[Tensor, ...]]]:
    """Batches of every kind that a dataset may give."""
    logits, embeddings, images, target, classes = probe.inputs(8, 0)
    yield "with known classes" if probe.task.num_classes else "", (logits, embeddings, images, target, classes)
    yield "with probabilities as targets", (logits, embeddings, images, target.float() * 0.8 + 0.1, classes)
    if probe.task.num_classes:
        unknown = torch.full_like(classes, -1)
        yield "with one unknown class", (logits, embeddings, images, target, classes.index_fill(0, torch.tensor(0), -1))
        yield "with only unknown classes", (logits, embeddings, images, target, unknown)


def _truth(probe: LossProbe) -> tuple[Tensor, ...]:
    """Correct and wrong logits and embeddings, targets and classes; an embedding points towards its class."""
    task, (count, size) = probe.task, probe.shape
    first, second = torch.tensor([0, 1, 2, 3]), torch.tensor([1, 0, 2, 3])
    other = (first + 1) % 4
    if task.kind == "preference":
        # Reference, first and second candidate; the candidate with the reference's class is the answer.
        target = torch.tensor([0, 1, 0, 1])
        nearer, farther = torch.where(target == 0, first, other), torch.where(target == 0, other, first)
        views, swapped = torch.stack([first, nearer, farther], 1), torch.stack([first, farther, nearer], 1)
    else:
        views, same = torch.stack([first, second], 1), first == second
        target = (same if task.kind == "verification" else first <= second).long()
        swapped = torch.stack([other, torch.where(same, (first + 2) % 4, other)], 1)
    onehot = nn.functional.one_hot(target, len(task.outcomes)).float() * SURE
    points = SURE * torch.eye(size)
    right = points[views[:, :count]] if count > 1 else points[target].unsqueeze(1)
    wrong = points[swapped[:, :count]] if count > 1 else points[1 - target].unsqueeze(1)
    classes = views if task.num_classes else torch.full_like(views, -1)
    return onehot, right, onehot.flip(1), wrong, target, classes


def _refuse_outcome(outcome: Any, what: str) -> None:
    if not isinstance(outcome, tuple) or len(outcome) != 2 or not isinstance(outcome[1], dict):
        raise broken(f"{what} returned {_got(outcome)}", "Return the total and a dictionary of named terms")
    total, terms = outcome
    if not isinstance(total, Tensor) or total.ndim != 0:
        raise broken(f"{what} returned a total of {_got(total)}", "Return a scalar: take the mean over the batch")
    if not terms or not all(isinstance(name, str) and name for name in terms):
        raise broken(f"{what} returned the terms {list(terms)}", "Name at least one term, unweighted")
    for name, term in terms.items():
        if not isinstance(term, Tensor) or term.ndim != 0:
            raise broken(
                f"{what} returned the term '{name}' as {_got(term)}", "Return a scalar: take the mean over the batch"
            )
    for name, value in {"the total": total, **{f"the term '{name}'": term for name, term in terms.items()}}.items():
        _refuse_numbers(value, f"{name} of {what}")


def _refuse_numbers(value: Tensor, what: str) -> None:
    if value.dtype != torch.float32:
        raise broken(f"{what} is {value.dtype}", "Give float32")
    if not bool(value.isfinite().all()):
        raise broken(f"{what} is not finite", "Bound divisors and the arguments of roots and exponentials")


def _asked(task: PairTask) -> str:
    return task.kind + (f" (K={task.num_classes})" if task.num_classes else "")


def _got(value: Any) -> str:
    return f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
