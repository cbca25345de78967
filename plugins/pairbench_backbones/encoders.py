"""Encoders from the model zoos of timm and torchvision, as recipes."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Literal

from pairbench import Encoder, PositiveInt

if TYPE_CHECKING:
    from torch import nn

    from pairbench_backbones.zoo import Network

ImageShape = tuple[int, int, int]


class ZooEncoder(Encoder):
    """A network of a model zoo without its classifier: the options and methods that all zoos share.

    `name` is the name of the zoo's distribution, too.
    """

    model: str
    pretrained: bool | str = False
    checkpoint_prefix: str | None = None
    frozen: bool = False
    embedding_dim: PositiveInt | None = None
    image_size: PositiveInt | None = None

    @classmethod
    @abstractmethod
    def network(cls) -> type[Network]:
        """What builds the networks of this zoo."""

    @classmethod
    def models(cls) -> list[tuple[str, bool]]:
        """The name of every model, and whether there are weights to download."""
        return cls.network().names()

    @property
    def checkpoint(self) -> str:
        """The path of the local checkpoint; "" if there is none."""
        return self.pretrained if isinstance(self.pretrained, str) else ""

    @property
    def normalize(self) -> str | None:
        """The train.normalize that pretrained weights need."""
        return "unit" if self.pretrained else None

    @property
    def locations(self) -> tuple[str, ...]:
        """The path of a checkpoint, which is identified by its content."""
        return ("pretrained",) if self.checkpoint else ()

    def digest(self) -> str:
        """The digest of the checkpoint, or the name of the downloaded weights."""
        from importlib.metadata import version

        from pairbench_backbones.checkpoints import file_digest

        if not self.pretrained:
            return ""
        if self.checkpoint:
            return file_digest(self.checkpoint)
        entry = "" if self.pretrained is True else f" {self.pretrained}"
        return f"{self.name} {version(self.name)} {self.model}{entry}"

    def build(self, image_shape: ImageShape) -> nn.Module:
        """(N, C, H, W) -> resized and scaled -> backbone -> embedding_dim."""
        return self._built(image_shape, filled=True)

    def rebuild(self, image_shape: ImageShape) -> nn.Module:
        """Like `build`, without pretrained weights."""
        return self._built(image_shape, filled=False)

    def _built(self, image_shape: ImageShape, *, filled: bool) -> nn.Module:
        from pairbench_backbones import zoo

        return zoo.encoder(self.network()(self), image_shape, filled=filled)


class Timm(ZooEncoder):
    """A backbone of timm without its classifier; `pairbench list --encoder timm PATTERN` finds the names.

    Pretrained weights expect images in [0, 1], so they need train.normalize=unit; images are then scaled by the mean
    and deviation of the model's config. New weights use images as scaled by train.normalize.

    model: a timm model, optionally with the tag of its weights, such as resnet18.a1_in1k.
    pretrained: true downloads timm's weights, false starts from new ones, and a path reads a local checkpoint:
        safetensors, or tensors saved by torch.
    checkpoint_prefix: what stands before the backbone's names in a local checkpoint, such as teacher.backbone; none
        finds it where only one part of the checkpoint fits.
    frozen: true does not train the backbone, only the layer of embedding_dim if there is one.
    embedding_dim: the size of a linear layer after the backbone; none uses its features directly.
    image_size: the side that images are resized to; none keeps their size if the model supports it, and otherwise
        uses the model's size.
    pool: how features are pooled over the image; none uses the model's default.
    """

    name = "timm"
    model: str = "resnet10t"
    pool: Literal["avg", "max", "avgmax", "catavgmax", "token", "map"] | None = None

    @classmethod
    def network(cls) -> type[Network]:
        """Networks of timm."""
        from pairbench_backbones.timm_nets import TimmNetwork

        return TimmNetwork


class Torchvision(ZooEncoder):
    """A classifier of torchvision without its last layers; `pairbench list --encoder torchvision PATTERN` finds them.

    Pretrained weights expect images in [0, 1], so they need train.normalize=unit; images are then scaled by the mean
    and deviation of the model's weights. New weights use images as scaled by train.normalize.

    model: a name of torchvision.models.
    pretrained: true downloads torchvision's default weights, false starts from new ones, the name of an entry of the
        model's weights (IMAGENET1K_V1, ...) downloads that, and a path reads a local checkpoint: safetensors, or
        tensors saved by torch.
    checkpoint_prefix: what stands before the backbone's names in a local checkpoint, such as teacher.backbone; none
        finds it where only one part of the checkpoint fits.
    frozen: true does not train the backbone, only the layer of embedding_dim if there is one.
    embedding_dim: the size of a linear layer after the backbone; none uses its features directly.
    image_size: the side that images are resized to; none keeps their size if the model supports it, and otherwise
        uses the model's size.
    """

    name = "torchvision"
    model: str = "mobilenet_v3_small"

    @classmethod
    def network(cls) -> type[Network]:
        """Classifiers of torchvision."""
        from pairbench_backbones.torchvision_nets import TorchvisionNetwork

        return TorchvisionNetwork

    @property
    def entry(self) -> str:
        """The entry of the model's weights that is asked for by name; "" if none is."""
        given = self.pretrained
        return given if isinstance(given, str) and given.isidentifier() and given.isupper() else ""

    @property
    def checkpoint(self) -> str:
        """The path of the local checkpoint; "" if there is none."""
        return "" if self.entry else super().checkpoint
