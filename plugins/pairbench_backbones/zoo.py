"""Builds an encoder from a network of a model zoo: its channels, weights, image size and scale."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from pairbench import MismatchError
from pairbench_backbones.checkpoints import Checkpoint, State, lay_into, read_checkpoint

if TYPE_CHECKING:
    from torch import nn

    from pairbench_backbones.encoders import ZooEncoder

ImageShape = tuple[int, int, int]
Scale = tuple[tuple[float, ...], tuple[float, ...]]


class Network(ABC):
    """The network that a recipe names: everything in which the zoos differ.

    recipe: the options of the encoder.
    size: (h, w) of the images that the network is made for.
    fixed_size: whether it takes images of no other size.

    Raises:
        SpecError: the zoo has no such network, or no such weights of it.
    """

    size: tuple[int, int]
    fixed_size: bool = False

    # Any, because each zoo has an encoder of its own.
    def __init__(self, recipe: Any) -> None:
        self.recipe: ZooEncoder = recipe

    @classmethod
    @abstractmethod
    def names(cls) -> list[tuple[str, bool]]:
        """The name of every model of the zoo, and whether there are weights to download."""

    @abstractmethod
    def trained_channels(self, checkpoint: Checkpoint | None) -> int:
        """The channels that the pretrained weights take."""

    @abstractmethod
    def new_channels(self, given: int) -> int:
        """The channels that a network with new weights takes, for images of `given` channels."""

    @abstractmethod
    def create(self, channels: int, *, download: bool) -> tuple[nn.Module, tuple[str, ...]]:
        """The network without its classifiers, and the names of those.

        Args:
            channels: of the images that it takes.
            download: whether its weights are downloaded; else they are new.

        Raises:
            MismatchError: it cannot be built with these options.
            DataError: the weights cannot be downloaded.
        """

    @abstractmethod
    def scale(self, channels: int) -> Scale:
        """The mean and deviation, for each channel, that pretrained weights expect; empty if they are unknown."""

    def translated(self, state: State, net: nn.Module) -> State:
        """A checkpoint with the names and shapes of `net`, where the zoo can convert it."""
        del net
        return state


def encoder(network: Network, image_shape: ImageShape, *, filled: bool = True) -> nn.Module:
    """The module for images of `image_shape`: (N, C, H, W) -> (N, D).

    Args:
        network: what it is built around.
        image_shape: (C, H, W).
        filled: False leaves pretrained weights out.

    Raises:
        MismatchError: the weights do not fit the model, or the images do not.
        DataError: the weights cannot be read or downloaded.
    """
    from pairbench_backbones import modules

    recipe = network.recipe
    checkpoint = read_checkpoint(recipe.checkpoint) if filled and recipe.checkpoint else None
    download = filled and bool(recipe.pretrained) and not recipe.checkpoint
    channels = _channels(network, checkpoint, image_shape[0])
    try:
        net, size = _net(network, channels, checkpoint, image_shape, download=download)
    except MismatchError:
        if recipe.pretrained or channels != 1:
            raise
        # A few networks only support colour.
        channels = 3
        net, size = _net(network, channels, checkpoint, image_shape, download=download)
    mean, deviation = network.scale(channels) if recipe.pretrained else ((), ())
    backbone = modules.Backbone(net, channels, size, mean, deviation)
    features = modules.feature_count(backbone, image_shape)
    return modules.finished(backbone, recipe.frozen, recipe.embedding_dim, features)


def _channels(network: Network, checkpoint: Checkpoint | None, given: int) -> int:
    """The channels of the network, for images of `given` channels."""
    if not network.recipe.pretrained:
        return network.new_channels(given)
    channels = network.trained_channels(checkpoint)
    if given not in (1, channels):
        raise MismatchError(
            f"encoder '{network.recipe.name}' with pretrained weights needs images of 1 or {channels} channels, "
            f"got {given}. Use pairing=siamese, or encoder.pretrained=false."
        )
    return channels


def _net(
    network: Network, channels: int, checkpoint: Checkpoint | None, image_shape: ImageShape, *, download: bool
) -> tuple[nn.Module, tuple[int, int] | None]:
    """The network with its weights, and the size that images are resized to."""
    recipe = network.recipe
    net, classifiers = network.create(channels, download=download)
    if checkpoint is not None:
        prefix = recipe.checkpoint_prefix
        lay_into(net, checkpoint, classifiers, recipe.model, prefix, lambda state: network.translated(state, net))
    return net, _size(network, net, channels, (image_shape[1], image_shape[2]))


def _size(network: Network, net: nn.Module, channels: int, given: tuple[int, int]) -> tuple[int, int] | None:
    """The size that images are resized to: as requested, unchanged (None), or the model's own."""
    from pairbench_backbones import modules

    recipe = network.recipe
    named = f"{recipe.name} model '{recipe.model}'"
    if recipe.image_size is not None:
        asked = (recipe.image_size, recipe.image_size)
        if modules.takes(net, channels, asked):
            return asked
        raise MismatchError(
            f"{named} does not take images of {asked[0]}x{asked[1]}. Set encoder.image_size=none for its own size."
        )
    # A pooling net may accept a size that its position embeddings do not support, so ask the network first.
    if not network.fixed_size and modules.takes(net, channels, given):
        return None
    own = network.size
    if not modules.takes(net, channels, own):
        raise MismatchError(f"{named} returns no features for images of {own[0]}x{own[1]}. Set encoder.image_size.")
    return own
