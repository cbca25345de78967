"""What a metric is: its name, unit and direction, what it needs, and how it is computed from the answers of a model.

Nothing here imports torch: tables of stored records know the title of a metric before any is computed.
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
# A column of this priority stays in a table, however narrow the terminal.
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
    """What a model answered for the N examples of a split, and what was right: tensors on the CPU.

    task: what was asked.
    logits: (N, O) float32; of an ensemble the logarithms of its mean probabilities.
    target: (N,) int64 outcome, or float32 probability of outcome 1.
    classes: (N, V) int64 class of each image, or -1 where it is unknown.
    class_logits: (N, M, K) float32 where the loss supervises classes, else None.
    swapped: (N, O) float32, the logits after the first and second image, or candidate, are exchanged; None in curves.
    folds: (N,) int64 where the dataset has folds, else None; None in curves.
    threshold: for verification, the score from which on a pair counts as the same, chosen on the validation pairs;
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
        """(N,) int64, the right outcome; of votes, the one that more of them are for."""
        return (self.target > 0.5).long() if self.target.is_floating_point() else self.target

    @cached_property
    def positive(self) -> Tensor:
        """(N,) bool, whether outcome 1 is right."""
        return self.right == 1

    def has(self, need: Need) -> bool:
        """Whether there is what `need` names."""
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
    """A metric: what it is called, which side of it is better, what it needs, and how it is computed.

    name: what records, `--metric` and suites call it: lower-case letters, digits, "_" and "."; never "validation_...",
        which names the same figure on the validation pairs.
    text: what it is, in a sentence.
    compute: a function from `ScoredPairs` to a float, or None where the figure does not exist; or where it stands,
        as "package.module:function", which is imported when it is first computed.
    title: the name that tables show; by default `name` with spaces.
    unit: "percent" for a share, which tables show times 100; else a plain number.
    higher_is_better: which side is better.
    needs: what there must be, else the metric is left out. Of "ordering", "verification" and "preference" one that is
        named is enough; of "two_outcomes", "votes" (the target is a probability), "classes" (images have classes),
        "class_logits", "folds" (at least two), "threshold" and "swapped", which are fields of `ScoredPairs`, all.
    ranks: whether one value is better than another; a metric that does not rank has no `validation_` figure.
    aside: whether a table of several configs shows it only where it is ranked by it.
    each_epoch: whether it is computed after each epoch too, for the curves.
    priority: which columns go first where a terminal is too narrow: those of the lowest priority; 100 always stays.
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
        """Whether tables show it times 100."""
        return self.unit == "percent"

    def suits(self, pairs: ScoredPairs) -> bool:
        """Whether `pairs` has all that this metric needs."""
        kinds = [need for need in self.needs if need in _KINDS]
        others = [need for need in self.needs if need not in _KINDS]
        return (not kinds or pairs.task.kind in kinds) and all(pairs.has(need) for need in others)

    def __call__(self, pairs: ScoredPairs) -> float | None:
        """Its value; None where `pairs` lacks what it needs, or the figure does not exist."""
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
