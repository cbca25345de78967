"""The report's encoders, as recipes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import model_validator

from pairbench import Encoder, MismatchError, PositiveInt, Probability

if TYPE_CHECKING:
    from torch import nn

ImageShape = tuple[int, int, int]


class Mlp(Encoder):
    """Fully connected layers with ReLU between them, over the flattened image.

    hidden: the width of each hidden layer.
    embedding_dim: the size of the last layer, which has no ReLU; none uses the last hidden layer as the embedding.
    bias: whether the layers have a bias.
    """

    name = "mlp"
    hidden: tuple[PositiveInt, ...] = (128,)
    embedding_dim: PositiveInt | None = 10
    bias: bool = True

    @model_validator(mode="after")
    def _has_layers(self) -> Mlp:
        if not self.hidden and self.embedding_dim is None:
            raise ValueError("hidden=[] and embedding_dim=none mean no layer at all. Set one of them.")
        return self

    def build(self, image_shape: ImageShape) -> nn.Module:
        """C x H x W -> hidden ... -> embedding_dim."""
        from pairbench_report import modules

        return modules.mlp(image_shape, self.hidden, self.embedding_dim, self.bias)


class Cnn(Encoder):
    """Unpadded convolutions, each with ReLU, and one linear layer over the flattened features.

    channels: the channels of each convolution.
    kernel_size: the height and width of each kernel.
    embedding_dim: the size of the linear layer; none uses the flattened features as the embedding.
    """

    name = "cnn"
    channels: tuple[PositiveInt, ...] = (3, 6, 12)
    kernel_size: PositiveInt = 3
    embedding_dim: PositiveInt | None = 10

    def build(self, image_shape: ImageShape) -> nn.Module:
        """C -> channels ... -> flatten -> embedding_dim."""
        from pairbench_report import modules

        depth, smaller = len(self.channels), min(image_shape[1:])
        kernel = (smaller - 1) // max(depth, 1) + 1
        fix = (
            "fewer layers, such as encoder.channels=[8]"
            if self.kernel_size <= smaller
            else f"smaller kernels, such as encoder.kernel_size={kernel}"
        )
        _check_size("cnn", image_shape, depth * (self.kernel_size - 1) + 1, fix)
        return modules.cnn(image_shape, self.channels, self.kernel_size, self.embedding_dim)


class PooledCnn(Encoder):
    """One convolution, two rounds of 2x2 max-pooling and ReLU, a hidden layer, dropout (the report's Siamese CNN 3).

    channels: the channels of the convolution.
    kernel_size: the height and width of its kernel.
    hidden: the width of the hidden layer.
    dropout: the probability that a hidden unit is dropped in training.
    embedding_dim: the size of the last layer.
    """

    name = "pooled_cnn"
    channels: PositiveInt = 10
    kernel_size: PositiveInt = 5
    hidden: PositiveInt = 30
    dropout: Probability = 0.5
    embedding_dim: PositiveInt = 10

    def build(self, image_shape: ImageShape) -> nn.Module:
        """C -> channels -> pool, ReLU, pool, ReLU -> flatten -> hidden -> embedding_dim."""
        from pairbench_report import modules

        kernel = max(min(image_shape[1:]) - 3, 1)
        fix = f"smaller kernels, such as encoder.kernel_size={kernel}"
        _check_size("pooled_cnn", image_shape, self.kernel_size + 3, fix)
        return modules.pooled_cnn(
            image_shape, self.channels, self.kernel_size, self.hidden, self.dropout, self.embedding_dim
        )


class ElmanRnn(Encoder):
    """A tanh Elman network that reads the image row by row, and a linear layer over its last state.

    hidden: the size of the state, which starts at zero.
    embedding_dim: the size of the linear layer.
    bias: whether the recurrence and the linear layer have biases.
    """

    name = "elman_rnn"
    hidden: PositiveInt = 50
    embedding_dim: PositiveInt = 10
    bias: bool = False

    def build(self, image_shape: ImageShape) -> nn.Module:
        """H steps of C x W pixels -> hidden -> embedding_dim."""
        from pairbench_report import modules

        return modules.ElmanRnn(image_shape, self.hidden, self.embedding_dim, self.bias)


class DeepCnn(Encoder):
    """Six unpadded 3x3 convolutions with ReLU, batch norm and dropout, and a linear layer (the report's best model).

    channels: the channels of each convolution.
    batch_norm: the convolutions, counted from 1, that are followed by batch norm before their ReLU.
    dropout: for each convolution, the probability that a channel is dropped after its ReLU.
    embedding_dim: the size of the linear layer.
    """

    name = "deep_cnn"
    channels: tuple[PositiveInt, ...] = (5, 10, 20, 40, 80, 160)
    batch_norm: tuple[PositiveInt, ...] = (3,)
    dropout: tuple[Probability, ...] = (0.0, 0.0, 0.3, 0.4, 0.5, 0.6)
    embedding_dim: PositiveInt = 10

    @model_validator(mode="after")
    def _layers_match(self) -> DeepCnn:
        depth = len(self.channels)
        if depth == 0:
            raise ValueError("channels=[] means no convolution. Give at least one.")
        if len(self.dropout) not in (0, depth):
            raise ValueError(
                f"dropout has {len(self.dropout)} values for {depth} convolutions. "
                f"Set encoder.dropout to {depth} values, or to [] for none."
            )
        if any(layer > depth for layer in self.batch_norm):
            raise ValueError(f"batch_norm names a convolution, but there are only {depth}. Set encoder.batch_norm=[].")
        return self

    def build(self, image_shape: ImageShape) -> nn.Module:
        """C -> channels ... -> flatten -> embedding_dim."""
        from pairbench_report import modules

        fix = "fewer layers, such as encoder.channels=[8] encoder.dropout=[] encoder.batch_norm=[]"
        _check_size("deep_cnn", image_shape, 2 * len(self.channels) + 1, fix)
        return modules.deep_cnn(
            image_shape,
            self.channels,
            self.batch_norm,
            self.dropout or (0.0,) * len(self.channels),
            self.embedding_dim,
        )


def _check_size(name: str, image_shape: ImageShape, smallest: int, fix: str) -> None:
    _, height, width = image_shape
    if min(height, width) < smallest:
        raise MismatchError(
            f"encoder '{name}' needs images of at least {smallest}x{smallest} pixels, got {height}x{width}. "
            f"Use larger images or {fix}."
        )
