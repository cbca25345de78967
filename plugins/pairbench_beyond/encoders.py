"""Encoders that go wider and deeper than the report's, as recipes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from pairbench import Encoder, MismatchError, PositiveInt

if TYPE_CHECKING:
    from torch import nn

ImageShape = tuple[int, int, int]
Channels = Annotated[tuple[PositiveInt, ...], Field(min_length=1)]


class WideCnn(Encoder):
    """Unpadded 3x3 convolutions, each with batch norm and ReLU, a linear layer, and batch norm after it.

    channels: the channels of each convolution.
    embedding_dim: the size of the linear layer.
    embedding_norm: whether batch norm follows the linear layer.
    """

    name = "wide_cnn"
    channels: Channels = (16, 32, 48, 64, 80)
    embedding_dim: PositiveInt = 10
    embedding_norm: bool = True

    def build(self, image_shape: ImageShape) -> nn.Module:
        """C -> channels ... -> flatten -> embedding_dim."""
        from pairbench_beyond import modules

        smallest = 2 * len(self.channels) + 1
        if min(image_shape[1:]) < smallest:
            raise MismatchError(
                f"encoder 'wide_cnn' needs images of at least {smallest}x{smallest} pixels for {len(self.channels)} "
                f"convolutions, got {image_shape[1]}x{image_shape[2]}. Use larger images or fewer encoder.channels."
            )
        return modules.wide_cnn(image_shape, self.channels, self.embedding_dim, self.embedding_norm)


class ResidualCnn(Encoder):
    """A residual network: stages of blocks of two 3x3 convolutions with a shortcut, halved in size between stages.

    After He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition" (CVPR 2016).

    channels: the channels of each stage; every stage after the first halves height and width.
    blocks: residual blocks in each stage.
    embedding_dim: the size of the linear layer after global average pooling.
    embedding_norm: whether batch norm follows the linear layer.
    """

    name = "residual_cnn"
    channels: Channels = (16, 32, 64)
    blocks: PositiveInt = 2
    embedding_dim: PositiveInt = 10
    embedding_norm: bool = True

    def build(self, image_shape: ImageShape) -> nn.Module:
        """C -> stages ... -> pooled -> embedding_dim."""
        from pairbench_beyond import modules

        return modules.residual_cnn(image_shape, self.channels, self.blocks, self.embedding_dim, self.embedding_norm)
