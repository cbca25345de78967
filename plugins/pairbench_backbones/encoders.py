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

    Weights that are given expect images in [0, 1], so they need train.normalize=unit; they are then scaled by the mean
    and deviation of the model's own config. New weights take images as train.normalize scales them.

    model: a name of timm, with a tag where the weights of one are meant, such as resnet18.a1_in1k.
    pretrained: true downloads timm's weights, false starts from new ones, and a path reads a local checkpoint:
        safetensors, or tensors saved by torch.
    checkpoint_prefix: what stands before the backbone's names in a local checkpoint, such as teacher.backbone; none
        finds it where only one part of the checkpoint fits.
    frozen: true leaves the backbone as it is; only the layer of embedding_dim, if there is one, is trained.
    pool: how features are pooled over the image; none leaves that to the model.
    embedding_dim: the size of a linear layer after the backbone; none gives its features as they are.
    image_size: the side that images are resized to; none leaves them as they are where the model takes that, and
        else takes its own size.
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
        """The names that timm knows."""
        from pairbench_backbones import timm_nets

        return timm_nets.names()

    @property
    def normalize(self) -> str | None:
        """The train.normalize that given weights need."""
        return "unit" if self.pretrained else None

    @property
    def locations(self) -> tuple[str, ...]:
        """The path of a checkpoint counts by what is in it."""
        return ("pretrained",) if checkpoint_of(self.name, self.pretrained) else ()

    def digest(self) -> str:
        """The digest of the checkpoint, or what names the weights that are downloaded."""
        return _digest("timm", self.model, self.pretrained)

    def build(self, image_shape: ImageShape) -> nn.Module:
        """(N, C, H, W) -> resized and scaled -> backbone -> pooled -> embedding_dim."""
        from pairbench_backbones import timm_nets

        return timm_nets.encoder(self, image_shape)

    def rebuild(self, image_shape: ImageShape) -> nn.Module:
        """As `build`, without the weights that are given."""
        from pairbench_backbones import timm_nets

        return timm_nets.encoder(self, image_shape, filled=False)


class Torchvision(Encoder):
    """A classifier of torchvision without its last layers; `pairbench list --encoder torchvision PATTERN` finds them.

    Weights that are given expect images in [0, 1], so they need train.normalize=unit; they are then scaled by the mean
    and deviation of the model's own weights. New weights take images as train.normalize scales them.

    model: a name of torchvision.models.
    pretrained: true downloads torchvision's default weights, false starts from new ones, the name of an entry of the
        model's weights (IMAGENET1K_V1, ...) downloads that, and a path reads a local checkpoint: safetensors, or
        tensors saved by torch.
    checkpoint_prefix: what stands before the backbone's names in a local checkpoint, such as teacher.backbone; none
        finds it where only one part of the checkpoint fits.
    frozen: true leaves the backbone as it is; only the layer of embedding_dim, if there is one, is trained.
    embedding_dim: the size of a linear layer after the backbone; none gives its features as they are.
    image_size: the side that images are resized to; none leaves them as they are where the model takes that, and
        else takes its own size.
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
        """The names that torchvision knows."""
        from pairbench_backbones import torchvision_nets

        return torchvision_nets.names()

    @property
    def normalize(self) -> str | None:
        """The train.normalize that given weights need."""
        return "unit" if self.pretrained else None

    @property
    def locations(self) -> tuple[str, ...]:
        """The path of a checkpoint counts by what is in it."""
        return ("pretrained",) if checkpoint_of(self.name, self.pretrained) else ()

    def digest(self) -> str:
        """The digest of the checkpoint, or what names the weights that are downloaded."""
        return _digest("torchvision", self.model, self.pretrained)

    def build(self, image_shape: ImageShape) -> nn.Module:
        """(N, C, H, W) -> resized and scaled -> backbone -> embedding_dim."""
        from pairbench_backbones import torchvision_nets

        return torchvision_nets.encoder(self, image_shape)

    def rebuild(self, image_shape: ImageShape) -> nn.Module:
        """As `build`, without the weights that are given."""
        from pairbench_backbones import torchvision_nets

        return torchvision_nets.encoder(self, image_shape, filled=False)


def checkpoint_of(library: str, pretrained: bool | str) -> str:
    """The path of the local checkpoint that is meant; "" where there is none."""
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
