"""One component for each rule of the conformance kit, which breaks that rule and no other."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import ConfigDict, Field

import pairbench
from pairbench import PairPool, PairTask, PositiveInt

if TYPE_CHECKING:
    from torch import Tensor, nn

ImageShape = tuple[int, int, int]
EmbeddingShape = tuple[int, int]


def pooled(image_shape: ImageShape) -> nn.Module:
    from torch import nn

    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * image_shape[0], 10))


def function(forward: Callable[..., Any]) -> nn.Module:
    """A module that calls `forward`."""
    return function_class()(forward)


@functools.cache
def function_class() -> type[Any]:
    from torch import nn

    class Function(nn.Module):
        def __init__(self, forward: Callable[..., Any]) -> None:
            super().__init__()
            self.forward = forward

    return Function


class Undocumented(pairbench.Encoder):
    """An encoder with an option that says nothing."""

    name = "undocumented"
    width: PositiveInt = 1

    def build(self, image_shape: ImageShape) -> nn.Module:
        return pooled(image_shape)


class Nameless(pairbench.Encoder):
    name = "nameless"

    def build(self, image_shape: ImageShape) -> nn.Module:
        return pooled(image_shape)


class Unwritable(pairbench.Encoder):
    """An encoder with an option that no spec can write.

    sizes: a set.
    """

    name = "unwritable"
    sizes: frozenset[int] = frozenset()

    def build(self, image_shape: ImageShape) -> nn.Module:
        return pooled(image_shape)


class Infinite(pairbench.Encoder):
    """An encoder with an option that JSON has no number for.

    limit: a bound.
    """

    name = "infinite"
    limit: Annotated[float, Field(allow_inf_nan=True)] = math.inf

    def build(self, image_shape: ImageShape) -> nn.Module:
        return pooled(image_shape)


class Assignable(pairbench.Encoder):
    """An encoder with options that can be assigned."""

    model_config = ConfigDict(frozen=False)
    name = "assignable"

    def build(self, image_shape: ImageShape) -> nn.Module:
        return pooled(image_shape)


class Changeable(pairbench.Encoder):
    """An encoder with an option that can change.

    sizes: a list.
    """

    name = "changeable"
    sizes: list[int] = [1]  # noqa: RUF012

    def build(self, image_shape: ImageShape) -> nn.Module:
        return pooled(image_shape)


class GrayOnly(pairbench.Encoder):
    """An encoder that crashes on colour instead of refusing it."""

    name = "gray_only"

    def build(self, image_shape: ImageShape) -> nn.Module:
        return pooled((1, 1, 1))


class LargeOnly(pairbench.Encoder):
    """An encoder that crashes on small images instead of refusing them."""

    name = "large_only"

    def build(self, image_shape: ImageShape) -> nn.Module:
        if image_shape[1] < 28:
            raise RuntimeError("kernel larger than image")
        return pooled(image_shape)


class Refusing(pairbench.Encoder):
    """An encoder that serves nothing."""

    name = "refusing"

    def build(self, image_shape: ImageShape) -> nn.Module:
        raise pairbench.MismatchError("encoder 'refusing' serves nothing. Use another.")


class Centred(pairbench.Encoder):
    """An encoder that subtracts the mean over the batch."""

    name = "centred"

    def build(self, image_shape: ImageShape) -> nn.Module:
        from torch import nn

        return nn.Sequential(function(lambda images: images - images.mean(0)), pooled(image_shape))


class Unseeded(pairbench.Encoder):
    """An encoder whose weights come from the system."""

    name = "unseeded"

    def build(self, image_shape: ImageShape) -> nn.Module:
        import random

        import torch

        module = pooled(image_shape)
        with torch.no_grad():
            module[-1].weight[0, 0] = random.SystemRandom().random()  # type: ignore[index]
        return module


class Reseeding(pairbench.Encoder):
    """An encoder that is the same in every round."""

    name = "reseeding"

    def build(self, image_shape: ImageShape) -> nn.Module:
        import torch

        torch.manual_seed(0)
        return pooled(image_shape)


class Unused(pairbench.Encoder):
    """An encoder with a layer that forward leaves out."""

    name = "unused"

    def build(self, image_shape: ImageShape) -> nn.Module:
        from torch import nn

        class Unread(nn.Linear):
            def forward(self, embedding: Tensor) -> Tensor:
                return embedding

        return nn.Sequential(pooled(image_shape), Unread(2, 2))


class Branching(pairbench.Encoder):
    """An encoder that looks at a number to decide."""

    name = "branching"

    def build(self, image_shape: ImageShape) -> nn.Module:
        from torch import nn

        branch = function(lambda images: images if images.sum().item() > -1e9 else -images)
        return nn.Sequential(branch, pooled(image_shape))


class Forgetful(pairbench.Encoder):
    """An encoder with a random tensor that its state_dict leaves out."""

    name = "forgetful"

    def build(self, image_shape: ImageShape) -> nn.Module:
        import torch
        from torch import nn

        class Shift(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.register_buffer("shift", torch.randn(10), persistent=False)

            def forward(self, embedding: Tensor) -> Any:
                return embedding + self.shift

        return nn.Sequential(pooled(image_shape), Shift())


class OneLogit(pairbench.ComparisonHead):
    """A head with one logit, whatever the outcomes."""

    name = "one_logit"

    def build(self, embedding_shape: EmbeddingShape, task: PairTask) -> nn.Module:
        from torch import nn

        return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(embedding_shape), 1))


class WrongRefusal(pairbench.ComparisonHead):
    """A head that refuses what it cannot serve with an error of another kind."""

    name = "wrong_refusal"

    def build(self, embedding_shape: EmbeddingShape, task: PairTask) -> nn.Module:
        from torch import nn

        if task.kind == "preference":
            raise ValueError("not that")
        return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(embedding_shape), len(task.outcomes)))


def cross_entropy(sign: float = 1.0, terms: tuple[str, ...] = ("final",), detach: bool = False) -> nn.Module:
    def loss(comparison: pairbench.PairOutput, batch: pairbench.PairBatch) -> tuple[Tensor, dict[str, Tensor]]:
        right = batch.target
        likely = comparison.logits.log_softmax(1)
        chosen = likely[:, 1] * right + likely[:, 0] * (1 - right)
        total = -sign * (chosen.detach() if detach else chosen).mean()
        return total, dict.fromkeys(terms, total)

    return function(loss)


class Termless(pairbench.LossStrategy):
    """A loss that names no term."""

    name = "termless"

    def build(self, embedding_shape: EmbeddingShape, task: PairTask) -> nn.Module:
        return cross_entropy(terms=())


class Silent(pairbench.LossStrategy):
    """A loss that says it learns classes, and does not tell them."""

    name = "silent"
    supervises_classes: ClassVar[bool] = True

    def build(self, embedding_shape: EmbeddingShape, task: PairTask) -> nn.Module:
        if task.num_classes is None:
            raise pairbench.MismatchError("loss 'silent' needs classes. Use loss=cross_entropy.")
        return cross_entropy()


class Backwards(pairbench.LossStrategy):
    """A loss with the wrong sign."""

    name = "backwards"

    def build(self, embedding_shape: EmbeddingShape, task: PairTask) -> nn.Module:
        return cross_entropy(sign=-1.0)


class Detached(pairbench.LossStrategy):
    """A loss that trains nothing."""

    name = "detached"

    def build(self, embedding_shape: EmbeddingShape, task: PairTask) -> nn.Module:
        return cross_entropy(detach=True)


_LEVELS = {"train": 0, "validation": 8, "test": 16}


def squares(split: str, rounds: int, seed: int) -> PairPool:
    """Gray squares, each of a brightness of its own."""
    import torch

    images = torch.arange(8, dtype=torch.uint8).add(_LEVELS[split]).view(8, 1, 1, 1).repeat(1, 1, 2, 2)
    tables = [
        torch.randint(8, (6, 2), generator=torch.Generator().manual_seed(100 * seed + number))
        for number in range(rounds)
    ]
    pairs = torch.stack(tables)
    return PairPool(images, pairs, (pairs[..., 0] <= pairs[..., 1]).long(), torch.arange(8))


class _Squares(pairbench.PairDataset):
    """Is the first square at most as bright as the second?"""

    @property
    def task(self) -> PairTask:
        return PairTask("ordering", (1, 2, 2), ("greater", "at_most"), 2, 8)

    def load(self, split: pairbench.interfaces.Split, *, rounds: int, seed: int) -> PairPool:
        return squares(split, rounds, seed)


class OneOutcome(_Squares):
    """A task whose outcomes have one name."""

    name = "one_outcome"

    @property
    def task(self) -> PairTask:
        return PairTask("ordering", (1, 2, 2), ("same", "same"), 2, 8)


class HeavyTask(_Squares):
    """A task that needs torch."""

    name = "heavy_task"

    @property
    def task(self) -> PairTask:
        import torch

        return PairTask("ordering", tuple(torch.zeros(1, 2, 2).shape), ("greater", "at_most"), 2, 8)


class Wavering(_Squares):
    """Data that is another each time."""

    name = "wavering"

    def load(self, split: pairbench.interfaces.Split, *, rounds: int, seed: int) -> PairPool:
        import torch

        pool = squares(split, rounds, seed)
        return PairPool(pool.images, pool.pairs, pool.target, torch.randint(8, (8,)))


class Counting(_Squares):
    """Data whose rounds depend on how many there are."""

    name = "counting"

    def load(self, split: pairbench.interfaces.Split, *, rounds: int, seed: int) -> PairPool:
        return squares(split, rounds, seed + rounds)


class Loose(_Squares):
    """Data with targets of another type than promised."""

    name = "loose"

    def load(self, split: pairbench.interfaces.Split, *, rounds: int, seed: int) -> PairPool:
        pool = squares(split, rounds, seed)
        return PairPool(pool.images, pool.pairs, pool.target.double(), pool.classes)


class Leaking(_Squares):
    """Data whose splits are the same images."""

    name = "leaking"

    def load(self, split: pairbench.interfaces.Split, *, rounds: int, seed: int) -> PairPool:
        return squares("train", rounds, seed)


# Each with the rule that it breaks, and a part of the message.
FAULTS: tuple[tuple[pairbench.Component, str, str], ...] = (
    (Undocumented(), "options_are_documented", "Add the line 'width: what it does' to the docstring of Undocumented"),
    (Nameless(), "options_are_documented", "Nameless has no docstring"),
    (Unwritable(), "options_survive_text", "no spec can write a value of option 'sizes'"),
    (Infinite(), "options_survive_json", "Use none instead of inf or nan"),
    (Assignable(), "recipe_is_a_value", "Leave frozen=True in the model_config of Assignable"),
    (Changeable(), "recipe_is_a_value", "Use a tuple instead of a list"),
    (GrayOnly(), "embeddings_have_their_shape", "images (3, 3, 14, 14) raised RuntimeError"),
    (LargeOnly(), "embeddings_have_their_shape", "images (3, 1, 14, 14) raised RuntimeError: kernel larger than image"),
    (Centred(), "examples_do_not_depend_on_neighbours", "with the other examples in the batch"),
    (Unseeded(), "equal_seeds_give_equal_weights", "'2.weight' differs between two modules"),
    (Reseeding(), "different_seeds_give_different_weights", "Do not seed torch inside build"),
    (Unused(), "gradients_reach_every_parameter", "no gradient reaches 1.bias, 1.weight (2 of 4 parameters)"),
    (Branching(), "stacked_rounds_equal_separate_ones", "Avoid .item()"),
    (Forgetful(), "saved_weights_give_equal_outputs", "in a parameter or a persistent buffer"),
    (OneLogit(), "logits_have_their_shape", "became a tensor (3, 1), not (3, 2)"),
    (WrongRefusal(), "logits_have_their_shape", "raise MismatchError in build"),
    (Termless(), "total_and_terms_have_their_shape", "Name at least one term"),
    (Silent(), "class_logits_have_their_shape", "its module has no method class_logits"),
    (Backwards(), "a_right_answer_costs_less", "Check the sign"),
    (Detached(), "gradients_reach_every_parameter", "no gradient reaches the logits or the embeddings"),
    (OneOutcome(), "task_is_well_formed", "Name at least two different outcomes"),
    (HeavyTask(), "task_needs_no_torch", "asking HeavyTask for its task imports torch at"),
    (Wavering(), "loading_is_deterministic", "the classes of the train split differ between two loads"),
    (Counting(), "rounds_do_not_depend_on_their_number", "change when more rounds are loaded"),
    (Loose(), "pools_keep_their_promises", "target of the train split is torch.float64"),
    (Leaking(), "splits_share_no_image", "image 0 of the validation split is image 0 of the train split"),
)
