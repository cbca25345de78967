"""Encoders from the model zoos of timm and torchvision, as recipes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pairbench import Encoder, PositiveInt
from pairbench_backbones.naming import is_entry

if TYPE_CHECKING:
    from torch import nn

ImageShape = tuple[int, int, int]


class Timm(Encoder):
    """A backbone of timm without its classifier; `pairbench list --encoder timm PATTERN` finds the names.

    Pretrained weights expect images in [0, 1], so they need train.normalize=unit; images are then scaled by the mean
    and deviation of the model's config. New weights use images as scaled by train.normalize.

    model: a timm model, optionally with the tag of its weights, such as resnet18.a1_in1k.
    pretrained: true downloads timm's weights, false starts from new ones, and a path reads a local checkpoint:
        safetensors, or tensors saved by torch.
    checkpoint_prefix: what stands before the backbone's names in a local checkpoint, such as teacher.backbone; none
        finds it where only one part of the checkpoint fits.
    frozen: true does not train the backbone, only the layer of embedding_dim if there is one.
    pool: how features are pooled over the image; none uses the model's default.
    embedding_dim: the size of a linear layer after the backbone; none uses its features directly.
    image_size: the side that images are resized to; none keeps their size if the model supports it, and otherwise
        uses the model's size.
    """

    name = "timm"
    model: str = "resnet10t"
    pretrained: bool | str = False
    checkpoint_prefix: str | None = None
    frozen: bool = False
    pool: Literal["avg", "max", "avgmax", "catavgmax", "token", "map"] | None = None
    embedding_dim: PositiveInt | None = None
    image_size: PositiveInt | None = None

    @classmethod
    def models(cls) -> list[tuple[str, bool]]:
        """The names of timm's models."""
        from pairbench_backbones import timm_nets

        return timm_nets.names()

    @property
    def normalize(self) -> str | None:
        """The train.normalize that pretrained weights need."""
        return "unit" if self.pretrained else None

    @property
    def locations(self) -> tuple[str, ...]:
        """The path of a checkpoint, which is identified by its content."""
        return ("pretrained",) if checkpoint_of(self.name, self.pretrained) else ()

    def digest(self) -> str:
        """The digest of the checkpoint, or the name of the downloaded weights."""
        return _digest("timm", self.model, self.pretrained)

    def build(self, image_shape: ImageShape) -> nn.Module:
        """(N, C, H, W) -> resized and scaled -> backbone -> pooled -> embedding_dim."""
        from pairbench_backbones import timm_nets

        return timm_nets.encoder(self, image_shape)

    def rebuild(self, image_shape: ImageShape) -> nn.Module:
        """Like `build`, without pretrained weights."""
        from pairbench_backbones import timm_nets

        return timm_nets.encoder(self, image_shape, filled=False)


class Torchvision(Encoder):
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
    pretrained: bool | str = False
    checkpoint_prefix: str | None = None
    frozen: bool = False
    embedding_dim: PositiveInt | None = None
    image_size: PositiveInt | None = None

    @classmethod
    def models(cls) -> list[tuple[str, bool]]:
        """The names of torchvision's models."""
        from pairbench_backbones import torchvision_nets

        return torchvision_nets.names()

    @property
    def normalize(self) -> str | None:
        """The train.normalize that pretrained weights need."""
        return "unit" if self.pretrained else None

    @property
    def locations(self) -> tuple[str, ...]:
        """The path of a checkpoint, which is identified by its content."""
        return ("pretrained",) if checkpoint_of(self.name, self.pretrained) else ()

    def digest(self) -> str:
        """The digest of the checkpoint, or the name of the downloaded weights."""
        return _digest("torchvision", self.model, self.pretrained)

    def build(self, image_shape: ImageShape) -> nn.Module:
        """(N, C, H, W) -> resized and scaled -> backbone -> embedding_dim."""
        from pairbench_backbones import torchvision_nets

        return torchvision_nets.encoder(self, image_shape)

    def rebuild(self, image_shape: ImageShape) -> nn.Module:
        """Like `build`, without pretrained weights."""
        from pairbench_backbones import torchvision_nets

        return torchvision_nets.encoder(self, image_shape, filled=False)


def checkpoint_of(library: str, pretrained: bool | str) -> str:
    """The path of the local checkpoint; "" if there is none."""
    if isinstance(pretrained, bool) or (library == "torchvision" and is_entry(pretrained)):
        return ""
    return pretrained


def _digest(library: str, model: str, pretrained: bool | str) -> str:
    from importlib.metadata import version

    from pairbench_backbones.checkpoints import file_digest

    if not pretrained:
        return ""
    if path := checkpoint_of(library, pretrained):
        return file_digest(path)
    entry = "" if pretrained is True else f" {pretrained}"
    return f"{library} {version(library)} {model}{entry}"
