"""Inputs of the checks: small random images, embeddings, tasks and answers, drawn from a seed."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pairbench.errors import MismatchError
from pairbench.plugin.components import (
    ComparisonHead,
    Component,
    EmbeddingShape,
    Encoder,
    ImageShape,
    LossStrategy,
    PairBatch,
    PairOutput,
    PairTask,
)
from pairbench.testing.kit import broken

# Gray and colour, even and odd sizes, two gray images stacked, and a size too small for most.
IMAGE_SHAPES: tuple[ImageShape, ...] = ((1, 14, 14), (3, 14, 14), (1, 28, 28), (3, 32, 32), (2, 28, 21), (1, 3, 3))
# For backbones that require larger images.
LARGE_SHAPES: tuple[ImageShape, ...] = ((3, 64, 64), (3, 224, 224))

ORDERING = PairTask("ordering", (1, 14, 14), ("greater", "at_most"), 2, 10)
VERIFICATION = PairTask("verification", (1, 14, 14), ("different", "same"), 2, None)
CLASSED_VERIFICATION = PairTask("verification", (1, 14, 14), ("different", "same"), 2, 10)
PREFERENCE = PairTask("preference", (1, 14, 14), ("first", "second"), 3, None)
# Two-channel encoders give one embedding of all images.
CASES: tuple[tuple[EmbeddingShape, PairTask], ...] = (
    ((2, 10), ORDERING),
    ((2, 10), CLASSED_VERIFICATION),
    ((2, 10), VERIFICATION),
    ((3, 10), PREFERENCE),
    ((2, 6), ORDERING),
    ((2, 6), VERIFICATION),
    ((1, 10), ORDERING),
    ((1, 6), PREFERENCE),
)

Call = Callable[..., Any]
Recipe = TypeVar("Recipe")


class Probe(ABC):
    """A component in one supported situation: builds its module, creates inputs, and reads its output.

    floats: how many of the first inputs are images, embeddings or logits that may get a gradient.
    """

    floats = 1

    @abstractmethod
    def build(self, seed: int) -> nn.Module:
        """A module, its weights drawn from `seed`, in training mode; lazy layers are initialised."""

    @abstractmethod
    def inputs(self, examples: int, seed: int) -> tuple[Tensor, ...]:
        """Tensors (examples, ...) float32 or int64, drawn from `seed`."""

    @abstractmethod
    def call(self, module: Call, inputs: tuple[Tensor, ...]) -> Tensor:
        """The output of `module` for `inputs`, as one tensor."""


@dataclass(frozen=True)
class EncoderProbe(Probe):
    """An encoder with images of one shape."""

    recipe: Encoder
    shape: ImageShape

    def build(self, seed: int) -> nn.Module:
        """The encoder, after one example of zeros, as in the core."""
        torch.manual_seed(seed)
        module = self.recipe.build(self.shape).eval()
        with torch.no_grad():
            module(torch.zeros(1, *self.shape))
        return module.train()

    def inputs(self, examples: int, seed: int) -> tuple[Tensor, ...]:
        """Images (N, C, H, W) in [0, 1]."""
        return (torch.rand(examples, *self.shape, generator=_generator(seed)),)

    def call(self, module: Call, inputs: tuple[Tensor, ...]) -> Tensor:
        """(N, D)."""
        embedding: Tensor = module(*inputs)
        return embedding


@dataclass(frozen=True)
class HeadProbe(Probe):
    """A head with embeddings of one shape."""

    recipe: ComparisonHead
    shape: EmbeddingShape
    task: PairTask

    def build(self, seed: int) -> nn.Module:
        """The head, after one example of zeros."""
        torch.manual_seed(seed)
        module = self.recipe.build(self.shape, self.task).eval()
        with torch.no_grad():
            module(torch.zeros(1, *self.shape))
        return module.train()

    def inputs(self, examples: int, seed: int) -> tuple[Tensor, ...]:
        """Embeddings (N, M, D) of a standard normal."""
        return (torch.randn(examples, *self.shape, generator=_generator(seed)),)

    def call(self, module: Call, inputs: tuple[Tensor, ...]) -> Tensor:
        """(N, O)."""
        logits: Tensor = module(*inputs)
        return logits


@dataclass(frozen=True)
class LossProbe(Probe):
    """A loss with answers of one shape."""

    recipe: LossStrategy
    shape: EmbeddingShape
    task: PairTask
    floats = 3

    def build(self, seed: int) -> nn.Module:
        """The loss, after one batch."""
        torch.manual_seed(seed)
        module = self.recipe.build(self.shape, self.task)
        with torch.no_grad():
            self.call(module, self.inputs(4, 0))
        return module.train()

    def inputs(self, examples: int, seed: int) -> tuple[Tensor, ...]:
        """Logits (N, O), embeddings (N, M, D), images (N, V, C, H, W), targets (N,), classes (N, V)."""
        generator, task = _generator(seed), self.task
        logits = torch.randn(examples, len(task.outcomes), generator=generator)
        embeddings = torch.randn(examples, *self.shape, generator=generator)
        images = torch.rand(examples, task.views, *task.image_shape, generator=generator)
        target = torch.randint(len(task.outcomes), (examples,), generator=generator)
        classes = torch.full((examples, task.views), -1)
        if task.num_classes:
            classes = torch.randint(task.num_classes, (examples, task.views), generator=generator)
        return logits, embeddings, images, target, classes

    def call(self, module: Call, inputs: tuple[Tensor, ...]) -> Tensor:
        """The total, a scalar."""
        total: Tensor = self.outcome(module, inputs)[0]
        return total

    def outcome(self, module: Call, inputs: tuple[Tensor, ...]) -> Any:
        """The total and the terms."""
        logits, embeddings, images, target, classes = inputs
        return module(PairOutput(logits, embeddings), PairBatch(images, target, classes))


def isolated(check: Callable[[Recipe], None]) -> Callable[[Recipe], None]:
    """The check on one thread, which is faster for small networks; torch's random state is restored afterwards."""

    @functools.wraps(check)
    def alone(recipe: Recipe) -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                check(recipe)
        finally:
            torch.set_num_threads(threads)

    return alone


def probes(recipe: Component) -> Iterator[Probe]:
    """The situations to check `recipe` in; it may reject some of them with MismatchError."""
    match recipe:
        case Encoder():
            yield from (EncoderProbe(recipe, shape) for shape in IMAGE_SHAPES)
        case ComparisonHead():
            yield from (HeadProbe(recipe, shape, task) for shape, task in CASES)
        case LossStrategy():
            yield from (LossProbe(recipe, shape, task) for shape, task in CASES)


def served(recipe: Component) -> Probe:
    """The first situation that `recipe` can be built for.

    Raises:
        ConformanceError: it rejects them all.
    """
    large = [EncoderProbe(recipe, shape) for shape in LARGE_SHAPES] if isinstance(recipe, Encoder) else []
    reason, crash = "", None
    for probe in [*probes(recipe), *large]:
        try:
            probe.build(0)
        except MismatchError as error:
            reason = reason or str(error)
        except Exception as error:  # noqa: BLE001 - whatever is raised breaks the rule about shapes, and no other
            crash = crash or error
        else:
            return probe
    if crash is not None:
        raise crash
    raise broken(f"build rejects every shape and task that was tried, the first with: {reason}", "Support at least one")


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
