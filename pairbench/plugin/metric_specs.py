"""The definition of a metric: name, unit, direction, requirements, and how to compute it from a model's answers.

Nothing here imports torch: tables of stored records need the title of a metric, not its computation.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Literal, get_args

from pairbench.plugin.components import PairTask, TaskKind

if TYPE_CHECKING:
    from torch import Tensor

VALIDATION = "validation_"
# A column of this priority is never hidden, however narrow the terminal.
ALWAYS = 100
Need = Literal[
    "ordering",
    "verification",
    "preference",
    "two_outcomes",
    "votes",
    "classes",
    "class_logits",
    "folds",
    "threshold",
    "swapped",
]
Unit = Literal["percent", ""]
_KINDS: tuple[str, ...] = get_args(TaskKind)
_NAME = re.compile(r"[a-z][a-z0-9_.]*")


@dataclass(frozen=True)
class ScoredPairs:
    """A model's outputs for the N examples of a split, with their targets: tensors on the CPU.

    task: the task.
    logits: (N, O) float32; for an ensemble the logarithms of its mean probabilities.
    target: (N,) int64 outcome, or float32 probability of outcome 1.
    classes: (N, V) int64 class of each image, -1 if unknown.
    class_logits: (N, M, K) float32 if the loss supervises classes, else None.
    swapped: (N, O) float32, the logits after the first and second image, or candidate, are exchanged; None in curves.
    folds: (N,) int64 if the dataset has folds, else None; None in curves.
    threshold: for verification, the lowest score that counts as the same, chosen on the validation pairs;
        else None, and None in curves.
    total_loss: the mean of what training minimises.
    """

    task: PairTask
    logits: Tensor
    target: Tensor
    classes: Tensor
    class_logits: Tensor | None = None
    swapped: Tensor | None = None
    folds: Tensor | None = None
    threshold: float | None = None
    total_loss: float = math.nan

    def __len__(self) -> int:
        return len(self.target)

    @cached_property
    def score(self) -> Tensor:
        """(N,) float32, the logarithm of the odds of outcome 1 against all others."""
        others = self.logits.float().clone()
        others[:, 1] = -math.inf
        return self.logits[:, 1].float() - others.logsumexp(dim=1)

    @cached_property
    def answer(self) -> Tensor:
        """(N,) int64, the outcome with the highest logit."""
        return self.logits.argmax(dim=1)

    @cached_property
    def right(self) -> Tensor:
        """(N,) int64, the correct outcome; for votes, that of the majority."""
        return (self.target > 0.5).long() if self.target.is_floating_point() else self.target

    @cached_property
    def positive(self) -> Tensor:
        """(N,) bool, whether outcome 1 is correct."""
        return self.right == 1

    def has(self, need: Need) -> bool:
        """Whether the requirement `need` is met."""
        match need:
            case "two_outcomes":
                return self.logits.shape[1] == 2
            case "votes":
                return self.target.is_floating_point()
            case "classes":
                return self.task.num_classes is not None
            case "folds":
                return self.folds is not None and len(self.folds.unique()) > 1
            case "class_logits" | "threshold" | "swapped":
                return getattr(self, need) is not None
        return self.task.kind == need


Compute = Callable[[ScoredPairs], float | None]


@dataclass(frozen=True)
class MetricSpec:
    """A metric: its name, its direction, its requirements, and how it is computed.

    name: its name in records, `--metric` and suites: lower-case letters, digits, "_" and "."; never "validation_...",
        which names the same figure on the validation pairs.
    text: a description in one sentence.
    compute: a function from `ScoredPairs` to a float, or to None if the metric is undefined; or its path
        "package.module:function", which is imported when it is first computed.
    title: the name in tables; by default `name` with spaces.
    unit: "percent" for a fraction, which tables multiply by 100; "" for a plain number.
    higher_is_better: whether higher values are better.
    needs: the requirements without which the metric is skipped. The task must be one of those listed among "ordering",
        "verification" and "preference". All others listed must be met: "two_outcomes", "votes" (the target is a
        probability), "classes" (images have classes), and the fields of `ScoredPairs` "class_logits", "folds" (at
        least two), "threshold" and "swapped".
    ranks: whether one value is better than another; a metric that does not rank has no `validation_` figure.
    aside: whether a table of several configs shows it only when ranked by it.
    each_epoch: whether it is also computed after each epoch, for the curves.
    priority: in a narrow terminal, columns of the lowest priority are hidden first; 100 is never hidden.
    """

    name: str
    text: str
    compute: Compute | str
    title: str = ""
    unit: Unit = ""
    higher_is_better: bool = True
    needs: tuple[Need, ...] = ()
    ranks: bool = True
    aside: bool = False
    each_epoch: bool = False
    priority: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name) or self.name.startswith(VALIDATION):
            raise ValueError(f"metric name {self.name!r}: expected one such as 'd_prime', and not {VALIDATION}...")
        if not (callable(self.compute) or (isinstance(self.compute, str) and self.compute.count(":") == 1)):
            raise ValueError(
                f"metric {self.name}: compute is {self.compute!r}: expected a function or 'module:function'"
            )
        if isinstance(self.needs, str):
            raise ValueError(f"metric {self.name}: needs is {self.needs!r}: expected a tuple such as ('verification',)")
        for need in self.needs:
            if need not in get_args(Need):
                raise ValueError(f"metric {self.name} needs {need!r}: expected one of {', '.join(get_args(Need))}")
        if self.unit not in get_args(Unit):
            raise ValueError(f"metric {self.name}: unit is {self.unit!r}: expected 'percent' or ''")
        if not self.title:
            object.__setattr__(self, "title", self.name.replace("_", " "))

    @property
    def percent(self) -> bool:
        """Whether tables multiply it by 100."""
        return self.unit == "percent"

    def suits(self, pairs: ScoredPairs) -> bool:
        """Whether `pairs` meets the requirements of this metric."""
        kinds = [need for need in self.needs if need in _KINDS]
        others = [need for need in self.needs if need not in _KINDS]
        return (not kinds or pairs.task.kind in kinds) and all(pairs.has(need) for need in others)

    def __call__(self, pairs: ScoredPairs) -> float | None:
        """Its value; None if its requirements are not met, or if it is undefined."""
        if not self.suits(pairs):
            return None
        value = self._function(pairs)
        return None if value is None else float(value)

    @cached_property
    def _function(self) -> Compute:
        if not isinstance(self.compute, str):
            return self.compute
        module, _, name = self.compute.partition(":")
        function: Compute = getattr(import_module(module), name)
        return function
