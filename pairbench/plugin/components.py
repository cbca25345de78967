"""The four interfaces that plugins implement, and the values that flow between them.

Shape letters: N examples in a batch; V images in an example; C, H, W; M embeddings in an example; D embedding size;
O outcomes; K image classes; P images in a pool; R rounds.

Nothing here imports torch: a component is a recipe, and torch is needed only by `build` and `load`.
"""

from __future__ import annotations

import inspect
import json
import re
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

from pairbench.plugin.images import MAX_PIXELS, fitted
from pairbench.plugin.pair_list import PairList, read_pair_list

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image
    from torch import Tensor, nn

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
TaskKind = Literal["ordering", "verification", "preference"]
ImageShape = tuple[int, int, int]
EmbeddingShape = tuple[int, int]

PositiveInt = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True)
class PairTask:
    """The question asked of each pair; known before any image is read.

    kind: "ordering" (is the first at most the second?), "verification" (same or not?) or "preference" (which
        candidate is closer to the reference?).
    image_shape: (C, H, W).
    outcomes: the name of each answer; logit o scores outcomes[o], and outcome 1 is the positive one.
    views: V, 2 or, for (reference, first, second), 3.
    num_classes: K if each image has a class, else None.
    """

    kind: TaskKind
    image_shape: ImageShape
    outcomes: tuple[str, ...] = ("greater", "at_most")
    views: int = 2
    num_classes: int | None = None


@dataclass(frozen=True)
class PairPool:
    """A pool of images and, for each round, a table of the pairs drawn from it.

    images: (P, C, H, W) uint8, each image once; may be memory-mapped.
    pairs: (R, N, V) int64, rows of `images`.
    target: (R, N) int64 outcome, or float32 probability of outcome 1.
    classes: (P,) int64 in [0, K), or -1 where unknown.
    images_file: a .npy file that contains exactly `images`, if there is one; it is then linked instead of copied.
    folds: (R, N) int64, the fold of each pair if the set is scored fold by fold, like LFW; else None.
    """

    images: Tensor
    pairs: Tensor
    target: Tensor
    classes: Tensor
    images_file: Path | None = None
    folds: Tensor | None = None


@dataclass(frozen=True)
class PairBatch:
    """N examples: images (N, V, C, H, W) float32, scaled as in train.normalize; target (N,); classes (N, V) int64."""

    images: Tensor
    target: Tensor
    classes: Tensor


@dataclass(frozen=True)
class PairOutput:
    """A model's output for N examples: logits (N, O) and the embeddings (N, M, D) that they are computed from."""

    logits: Tensor
    embeddings: Tensor

    def float(self) -> PairOutput:
        """The same output in float32."""
        return PairOutput(self.logits.float(), self.embeddings.float())


# The old name of PairOutput, used by plugins for the first version.
Comparison = PairOutput


class Options(BaseModel):
    """Frozen, validated options; the docstring describes each on a line `option: text`."""

    # Infinity and NaN are not allowed because JSON, and therefore a record, cannot represent them.
    model_config = ConfigDict(
        frozen=True, extra="forbid", protected_namespaces=(), populate_by_name=True, allow_inf_nan=False
    )

    @classmethod
    def summary(cls) -> str:
        """The first sentence of the docstring, on one line; "" if there is none."""
        text = " ".join((cls.__dict__.get("__doc__") or "").strip().split("\n\n")[0].split())
        sentence = text.split(". ")[0]
        return sentence if not sentence or sentence[-1] in ".?!" else f"{sentence}."

    @classmethod
    def option_fields(cls) -> dict[str, FieldInfo]:
        """The pydantic field of each option, by its name in a spec (the alias, if a field has one)."""
        return {field.alias or name: field for name, field in cls.model_fields.items()}

    @classmethod
    def option_texts(cls) -> dict[str, str]:
        """The description of each option: its `option: text` lines in the docstring, else its Field description."""
        texts = {name: field.description or "" for name, field in cls.option_fields().items()}
        current = ""
        for line in inspect.cleandoc(cls.__dict__.get("__doc__") or "").splitlines():
            found = re.match(r"(\w+): (.*)", line)
            if found and found[1] in texts:
                current = found[1]
                texts[current] = found[2].strip()
            elif current and line.startswith("    "):
                texts[current] += " " + line.strip()
            else:
                current = ""
        return texts

    def values(self) -> dict[str, Any]:
        """Every option with its value, defaults included, as plain JSON values."""
        dumped: dict[str, Any] = self.model_dump(mode="json", by_alias=True)
        return dumped

    def __hash__(self) -> int:
        # Not pydantic's own, which cannot hash an option that is a mapping.
        return hash((type(self), json.dumps(self.values(), sort_keys=True)))


class Component(Options):
    """A recipe: options, and a method that builds what they describe.

    A component subclasses one of PairDataset, Encoder, ComparisonHead and LossStrategy, sets `name`, and declares its
    options as fields. Components are final.
    """

    slot: ClassVar[str] = ""
    name: ClassVar[str] = ""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        parent = next(base for base in cls.__mro__[1:] if issubclass(base, Component))
        if parent.name:
            raise TypeError(
                f"{cls.__name__} subclasses the component {parent.__name__}. Components are final: "
                f"subclass an interface and call the other component's build instead."
            )


class PairDataset(Component):
    """Images, the pairs drawn from them, and the question asked of each pair.

    locations: names of options that only locate the files whose content `digest` covers, so that the same data in
        another place have the same config_id.
    own_files: whether these are a user's own files, whose content nothing but `digest` tells: the config_id then counts
        it. False for a published set, which its other options name.
    """

    slot: ClassVar[str] = "dataset"
    locations: ClassVar[tuple[str, ...]] = ()
    own_files: ClassVar[bool] = False

    @property
    @abstractmethod
    def task(self) -> PairTask:
        """The task, from the options alone: reads no file and imports no torch."""

    @abstractmethod
    def load(self, split: Split, *, rounds: int, seed: int) -> PairPool:
        """The pool of `split` with pairs for rounds 0 to rounds - 1.

        Equal arguments give equal pools, round r does not depend on `rounds`, and no image is in two splits.

        Raises:
            DataError: the data is missing, damaged or too small; the message says how to fix it.
        """

    def digest(self) -> str:
        """A digest of the files that `load` reads, computed without torch; "" if it reads none."""
        return ""

    def pair_list(self, path: Path) -> PairList:
        """The pairs that a CSV file lists without their answers, for a trained model to answer.

        path: a file with columns first, second and, for three images, third; other columns are not read.

        Raises:
            DataError: it is no such file.
        """
        return read_pair_list(path, self.task.views)

    @property
    def largest_image(self) -> int:
        """The most pixels that an image file may have before it is decoded."""
        return MAX_PIXELS

    def pixels(self, image: Image) -> NDArray[np.uint8]:
        """Any picture as an image like those of this dataset's pool, (C, H, W) uint8, for a trained model to answer.

        image: opened but not decoded; by default it is stretched to the task's image shape.
        """
        return fitted(image, self.task.image_shape)


class Encoder(Component):
    """A network from one image to one embedding."""

    slot: ClassVar[str] = "encoder"

    @classmethod
    def models(cls) -> list[tuple[str, bool]]:
        """Each name that the option `model` accepts, and whether it has weights to download; [] without that option."""
        return []

    @property
    def normalize(self) -> str | None:
        """The train.normalize that its weights were trained with; None if any works."""
        return None

    @property
    def locations(self) -> tuple[str, ...]:
        """Names of options that, as currently set, only locate the weights whose content `digest` covers."""
        return ()

    def digest(self) -> str:
        """A digest of the weights that `build` loads, computed without torch; "" if all are initialised at random.

        Raises:
            DataError: they are missing; the message says how to fix it.
        """
        return ""

    @abstractmethod
    def build(self, image_shape: ImageShape) -> nn.Module:
        """A new module, (N, C, H, W) float32 -> (N, D) float32, for images of `image_shape` = (C, H, W).

        Raises:
            MismatchError: images of this shape cannot be encoded; the message says how to fix it.
        """

    def rebuild(self, image_shape: ImageShape) -> nn.Module:
        """A module like that of `build`, whose weights will be replaced, so that none need to be read or downloaded."""
        return self.build(image_shape)


class ComparisonHead(Component):
    """A network from the embeddings of an example to its answer."""

    slot: ClassVar[str] = "head"

    @abstractmethod
    def build(self, embedding_shape: EmbeddingShape, task: PairTask) -> nn.Module:
        """A new module, (N, M, D) -> (N, O) logits, for `embedding_shape` = (M, D).

        Raises:
            MismatchError: this shape or task is not supported; the message says how to fix it.
        """


class LossStrategy(Component):
    """What training minimises.

    supervises_classes: True if the module also learns the class of each image; it then has a method
        `class_logits`, (N, M, D) -> (N, M, K).
    """

    slot: ClassVar[str] = "loss"
    supervises_classes: ClassVar[bool] = False

    @abstractmethod
    def build(self, embedding_shape: EmbeddingShape, task: PairTask) -> nn.Module:
        """A new module, (PairOutput, PairBatch) -> (total, {name of term: unweighted term}), each a scalar.

        Raises:
            MismatchError: this shape or task is not supported; the message says how to fix it.
        """


INTERFACES: dict[str, type[Component]] = {
    "dataset": PairDataset,
    "encoder": Encoder,
    "head": ComparisonHead,
    "loss": LossStrategy,
}
