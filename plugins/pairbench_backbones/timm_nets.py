"""Backbones of timm: found by name, built for an image shape, with new, local or downloaded weights."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pairbench import MismatchError
from pairbench_backbones.checkpoints import Checkpoint, State, lay_into, read_checkpoint
from pairbench_backbones.downloads import downloading
from pairbench_backbones.naming import line, unknown_model

if TYPE_CHECKING:
    from torch import nn

    from pairbench_backbones.encoders import Timm

ImageShape = tuple[int, int, int]


def encoder(recipe: Timm, image_shape: ImageShape, *, filled: bool = True) -> nn.Module:
    """The module of `recipe` for images of `image_shape`; without pretrained weights if it is not to be filled.

    Raises:
        SpecError: timm has no such model.
        MismatchError: the weights do not fit the model, or the images do not.
        DataError: the weights cannot be read or downloaded.
    """
    from pairbench_backbones import modules

    check_name(recipe.model)
    config = _config(recipe.model)
    path = recipe.pretrained if filled and isinstance(recipe.pretrained, str) else ""
    checkpoint = read_checkpoint(path) if path else None
    channels = image_shape[0]
    if recipe.pretrained:
        channels = _channels(checkpoint, config)
        if image_shape[0] not in (1, channels):
            raise MismatchError(
                f"encoder 'timm' with pretrained weights needs images of 1 or {channels} channels, got "
                f"{image_shape[0]}. Use pairing=siamese, or encoder.pretrained=false."
            )
    empty = recipe if filled else recipe.model_copy(update={"pretrained": False})
    try:
        net = _net(empty, channels)
        if checkpoint is not None:
            _lay(net, checkpoint, config, recipe)
        size = _size(recipe, net, channels, image_shape, config)
    except MismatchError:
        if recipe.pretrained or channels != 1:
            raise
        # A few networks only support colour.
        channels = 3
        net = _net(recipe, channels)
        size = _size(recipe, net, channels, image_shape, config)
    mean, deviation = _scale(config, channels) if recipe.pretrained else ((), ())
    backbone = modules.Backbone(net, channels, size, mean, deviation)
    features = modules.feature_count(backbone, image_shape)
    return modules.finished(backbone, recipe.frozen, recipe.embedding_dim, features)


def names() -> list[tuple[str, bool]]:
    """Every model of timm, and every tag of its weights, and whether there are weights to download."""
    import timm

    tagged = timm.list_pretrained()
    known = {name.split(".")[0] for name in tagged}
    return sorted([(name, name in known) for name in timm.list_models()] + [(name, True) for name in tagged])


def check_name(model: str) -> None:
    """Reject models that timm does not have.

    Raises:
        SpecError: there is no such model, or no such tag of it.
    """
    import timm

    arch, _, tag = model.partition(".")
    if not timm.is_model(arch):
        raise unknown_model("timm", model, timm.list_models())
    if tag:
        tags = [name for name in timm.list_pretrained(f"{arch}.*") if name.startswith(f"{arch}.")]
        if model not in tags:
            raise unknown_model("timm", model, tags)


def _config(model: str) -> dict[str, Any]:
    import timm

    found = timm.get_pretrained_cfg(model, allow_unregistered=True)
    return found.to_dict() if found is not None else {}


def _net(recipe: Timm, channels: int) -> nn.Module:
    """The network of `recipe`, with downloaded weights where it asks for them."""
    import timm

    options: dict[str, Any] = {"num_classes": 0, "in_chans": channels, "global_pool": recipe.pool}
    if recipe.image_size is not None:
        # For position embeddings of fixed size; other networks have no such argument.
        options["img_size"] = recipe.image_size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _created(timm.create_model, recipe, options)
        except TypeError as error:
            if "img_size" not in str(error):
                raise MismatchError(_refusal(recipe, error)) from None
        try:
            return _created(timm.create_model, recipe, options | {"img_size": None})
        except TypeError as error:
            raise MismatchError(_refusal(recipe, error)) from None


def _created(create: Any, recipe: Timm, options: dict[str, Any]) -> nn.Module:
    if recipe.pretrained is True:
        from huggingface_hub import constants

        with downloading("timm", recipe.model, constants.ENDPOINT):
            net: nn.Module = create(recipe.model, pretrained=True, **options)
        return net
    try:
        net = create(recipe.model, pretrained=False, **options)
    except (AssertionError, ValueError, RuntimeError, KeyError, NotImplementedError) as error:
        raise MismatchError(_refusal(recipe, error)) from None
    return net


def _refusal(recipe: Timm, error: Exception) -> str:
    asked = f"pool={recipe.pool or 'none'}, image_size={recipe.image_size or 'none'}"
    return f"timm model '{recipe.model}' cannot be built with {asked}: {line(error)}. Set encoder.pool=none."


def _first_layers(config: dict[str, Any]) -> Sequence[str]:
    first = config.get("first_conv") or ()
    return (first,) if isinstance(first, str) else tuple(first)


def _channels(checkpoint: Checkpoint | None, config: dict[str, Any]) -> int:
    """The channels that pretrained weights were trained for."""
    tensors = {} if checkpoint is None else checkpoint.tensors
    for first in _first_layers(config):
        for name, weight in tensors.items():
            if f".{name}".endswith(f".{first}.weight") and weight.ndim == 4:
                return int(weight.shape[1])
    return int((config.get("input_size") or (3,))[0])


def _lay(net: nn.Module, checkpoint: Checkpoint, config: dict[str, Any], recipe: Timm) -> None:
    """Lay `checkpoint` into `net`, translated by the model's own filter where names or sizes differ."""
    own_filter = getattr(sys.modules[type(net).__module__], "checkpoint_filter_fn", None)

    def translate(state: State) -> State:
        try:
            return dict(own_filter(dict(state), net)) if own_filter is not None else state
        except Exception:  # noqa: BLE001 - made for its own checkpoints; what follows says what does not fit
            return state

    classifier = config.get("classifier") or ()
    classifiers = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    lay_into(net, checkpoint, classifiers, recipe.model, recipe.checkpoint_prefix, translate)


def _size(
    recipe: Timm, net: nn.Module, channels: int, image_shape: ImageShape, config: dict[str, Any]
) -> tuple[int, int] | None:
    """The size that images are resized to: as requested, unchanged, or the model's own."""
    from pairbench_backbones import modules

    if recipe.image_size is not None:
        asked = (recipe.image_size, recipe.image_size)
        if modules.takes(net, channels, asked):
            return asked
        raise MismatchError(
            f"timm model '{recipe.model}' does not take images of {asked[0]}x{asked[1]}. "
            "Set encoder.image_size=none for its own size."
        )
    # A pooling net may accept a size that its position embeddings do not support, so check the config first.
    given = (image_shape[1], image_shape[2])
    if not config.get("fixed_input_size") and modules.takes(net, channels, given):
        return None
    wanted = config.get("input_size") or (3, 224, 224)
    own = (int(wanted[1]), int(wanted[2]))
    if not modules.takes(net, channels, own):
        raise MismatchError(
            f"timm model '{recipe.model}' returns no features for images of {own[0]}x{own[1]}. Set encoder.image_size."
        )
    return own


def _scale(config: dict[str, Any], channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The mean and deviation of the config, averaged if the weights have fewer channels."""
    mean, deviation = (tuple(config.get(name) or default) for name, default in (("mean", (0.5,)), ("std", (0.5,))))
    if len(mean) == channels:
        return mean, deviation
    return (sum(mean) / len(mean),) * channels, (sum(deviation) / len(deviation),) * channels
