"""Checks of metrics: what one gives for answers of every kind of task that it is for."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any, get_args

import torch
from torch import Tensor

from pairbench.plugin.components import PairTask, TaskKind
from pairbench.plugin.metric_specs import MetricSpec, ScoredPairs
from pairbench.testing.kit import broken

_PAIRS = 60
_CLASSES = 3


def figures_are_finite(spec: MetricSpec) -> None:
    """The metric gives a finite number or None for good and poor answers, equal scores, one outcome and one pair."""
    for what, pairs in _examples(spec):
        value = spec(pairs)
        if value is not None and not math.isfinite(value):
            raise broken(f"for {what} it gives {value}", "Give None where the figure does not exist")


def figures_are_deterministic(spec: MetricSpec) -> None:
    """Asked twice, the metric gives the same."""
    for what, pairs in _examples(spec):
        first, second = spec(pairs), spec(pairs)
        if not _alike(first, second, 0.0):
            raise broken(f"for {what} it gives {first}, then {second}", "Draw random numbers from a seed of your own")


def pairs_may_come_in_any_order(spec: MetricSpec) -> None:
    """Shuffled pairs have the same figure."""
    for what, pairs in _examples(spec):
        order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(1))
        first, second = spec(pairs), spec(_mapped(pairs, lambda tensor, order=order: tensor[order]))
        if not _alike(first, second, 1e-5):
            raise broken(f"for {what} it gives {first}, and {second} for them shuffled", "Do not rely on the order")


def answers_are_left_alone(spec: MetricSpec) -> None:
    """The metric changes nothing in what it is given."""
    for what, pairs in _examples(spec):
        before = copy.deepcopy(pairs)
        spec(pairs)
        for item in fields(pairs):
            was, now = getattr(before, item.name), getattr(pairs, item.name)
            if isinstance(was, Tensor) and not torch.equal(was, now):
                raise broken(f"for {what} it changes {item.name} in place", "Work on a clone")


def perfect_answers_are_not_worse(spec: MetricSpec) -> None:
    """Right answers throughout are no worse than wrong ones, in the direction that the metric names."""
    if not spec.ranks:
        return
    for kind in _kinds(spec):
        best, worst = (spec(_scored(spec, kind, right=share)) for share in (1.0, 0.0))
        if best is not None and worst is not None and (best < worst if spec.higher_is_better else best > worst):
            raise broken(
                f"in {kind}, right answers have {best:g} and wrong ones {worst:g}",
                f"Set higher_is_better={not spec.higher_is_better}, or ranks=False where no side is better",
            )


def _alike(first: float | None, second: float | None, tolerance: float) -> bool:
    """Whether two figures are the same; what is not finite is the fault of another rule."""
    if first is None or second is None:
        return first is second
    finite = math.isfinite(first) and math.isfinite(second)
    return not finite or math.isclose(first, second, rel_tol=tolerance, abs_tol=tolerance)


def _kinds(spec: MetricSpec) -> list[TaskKind]:
    kinds = get_args(TaskKind)
    return [kind for kind in kinds if kind in spec.needs] or list(kinds)


def _examples(spec: MetricSpec) -> Iterator[tuple[str, ScoredPairs]]:
    """Answers that have what the metric needs and nothing else, each with a word on what they are."""
    for kind in _kinds(spec):
        mixed = _scored(spec, kind, right=0.7)
        yield f"{kind}, 7 of 10 answers right", mixed
        yield f"{kind}, all answers right", _scored(spec, kind, right=1.0)
        yield f"{kind}, all answers wrong", _scored(spec, kind, right=0.0)
        yield f"{kind}, equal scores", replace(mixed, logits=torch.zeros_like(mixed.logits))
        for outcome in (0, 1):
            yield f"{kind}, outcome {outcome} alone", replace(mixed, target=torch.full_like(mixed.target, outcome))
        yield f"{kind}, one pair", _mapped(mixed, lambda tensor: tensor[:1])


def _mapped(pairs: ScoredPairs, function: Any) -> ScoredPairs:
    """`pairs` with each of its tensors mapped by `function`."""
    given = {item.name: getattr(pairs, item.name) for item in fields(pairs)}
    made: dict[str, Any] = {name: function(value) for name, value in given.items() if isinstance(value, Tensor)}
    return replace(pairs, **made)


def _scored(spec: MetricSpec, kind: TaskKind, right: float) -> ScoredPairs:
    """Answers to _PAIRS pairs, of which the share `right` is right."""
    draw = torch.Generator().manual_seed(0)
    views = 3 if kind == "preference" else 2
    classes = torch.randint(_CLASSES, (_PAIRS, views), generator=draw)
    first, second = classes[:, -2], classes[:, -1]
    rules = {"verification": first == second, "ordering": first <= second, "preference": torch.arange(_PAIRS) % 2 == 1}
    hard = rules[kind].long()
    alike = (first == second) & (kind == "ordering")
    swapped_right = hard if kind == "verification" else torch.where(alike, hard, 1 - hard)
    hit = torch.arange(_PAIRS) < round(right * _PAIRS)
    strength = 1 + torch.rand(_PAIRS, generator=draw)

    def said(outcome: Tensor) -> Tensor:
        answer = torch.where(hit, outcome, 1 - outcome)
        return torch.nn.functional.one_hot(answer, 2).float() * strength.unsqueeze(1)

    # A wrong class is the next one; swapped answers fit exactly where the pair was answered correctly.
    named = torch.where(hit.unsqueeze(1), classes, (classes + 1) % _CLASSES)
    fitting = torch.where(hit, swapped_right, 1 - hard if kind == "verification" else hard)
    votes = hard.float() * 0.8 + 0.1 if "votes" in spec.needs else hard
    has = {need: need in spec.needs for need in ("class_logits", "swapped", "folds", "threshold")}
    return ScoredPairs(
        PairTask(kind, (1, 8, 8), ("no", "yes"), views, _CLASSES if "classes" in spec.needs else None),
        said(hard),
        votes,
        classes if "classes" in spec.needs or has["class_logits"] else torch.full_like(classes, -1),
        torch.nn.functional.one_hot(named, _CLASSES).float() if has["class_logits"] else None,
        said(fitting) if has["swapped"] else None,
        torch.arange(_PAIRS) % 3 if has["folds"] else None,
        0.0 if has["threshold"] else None,
        total_loss=2.0 - right,
    )
