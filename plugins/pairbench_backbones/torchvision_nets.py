"""Classifiers of torchvision as backbones: without their last layer, with new, local or downloaded weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pairbench import MismatchError, SpecError
from pairbench_backbones.checkpoints import lay_into, read_checkpoint
from pairbench_backbones.downloads import downloading
from pairbench_backbones.naming import is_entry, unknown_model

if TYPE_CHECKING:
    from torch import nn

    from pairbench_backbones.encoders import Torchvision

ImageShape = tuple[int, int, int]
# Auxiliary classifiers used only in training; the output comes from the last layer.
AUXILIARY = ("AuxLogits", "aux1", "aux2")


def encoder(recipe: Torchvision, image_shape: ImageShape, *, filled: bool = True) -> nn.Module:
    """The module of `recipe` for images of `image_shape`.

    Raises:
        SpecError: torchvision has no such model, or no such weights of it.
        MismatchError: the weights do not fit the model, or the images do not.
        DataError: the weights cannot be read or downloaded.
    """
    from pairbench_backbones import modules

    known = [name for name, _ in names()]
    if recipe.model not in known:
        raise unknown_model("torchvision", recipe.model, known)
    channels = image_shape[0] if image_shape[0] not in (1, 3) else 3
    if recipe.pretrained and channels != 3:
        raise MismatchError(
            f"encoder 'torchvision' with pretrained weights needs images of 1 or 3 channels, got {image_shape[0]}. "
            "Use pairing=siamese, or encoder.pretrained=false."
        )
    entry = _entry(recipe)
    preset = entry.transforms() if entry is not None else None
    net: Any = _net(recipe, entry, filled=filled)
    classifier = _without_classifier(net)
    if isinstance(recipe.pretrained, str) and recipe.pretrained and not is_entry(recipe.pretrained):
        if filled:
            checkpoint = read_checkpoint(recipe.pretrained)
            lay_into(net, checkpoint, (classifier, *AUXILIARY), recipe.model, recipe.checkpoint_prefix)
        if hasattr(net, "transform_input"):
            # These two were trained with a different scale, and convert from ImageNet's themselves.
            net.transform_input = True
    if channels != 3:
        _widen(net, channels)
    own = (int(preset.crop_size[0]),) * 2 if preset is not None else (224, 224)
    size = _size(recipe, net, channels, image_shape, own)
    mean, deviation = (tuple(preset.mean), tuple(preset.std)) if recipe.pretrained and preset is not None else ((), ())
    backbone = modules.Backbone(net, channels, size, mean, deviation)
    features = modules.feature_count(backbone, image_shape)
    return modules.finished(backbone, recipe.frozen, recipe.embedding_dim, features)


def names() -> list[tuple[str, bool]]:
    """Every classifier of torchvision, and whether there are weights to download."""
    from torchvision import models

    return [(name, bool(len(models.get_model_weights(name)))) for name in sorted(models.list_models(module=models))]


def _entry(recipe: Torchvision) -> Any:
    """The selected entry of the model's weights, else the default; its preset has size and scale."""
    from torchvision import models

    entries = models.get_model_weights(recipe.model)
    asked = recipe.pretrained
    if isinstance(asked, str) and is_entry(asked):
        known = [*entries.__members__]
        if asked not in known:
            raise SpecError(
                f"encoder.pretrained={asked}: torchvision model '{recipe.model}' has no such weights. "
                f"Choose from {', '.join(known)}, or give a path."
            )
        return entries[asked]
    return entries.DEFAULT if len(entries) else None


def _net(recipe: Torchvision, entry: Any, *, filled: bool) -> nn.Module:
    """The classifier of `recipe`, with downloaded weights where it asks for them."""
    import warnings

    from torchvision import models

    downloads = recipe.pretrained is True or (isinstance(recipe.pretrained, str) and is_entry(recipe.pretrained))
    options: dict[str, Any] = {}
    if recipe.model in ("inception_v3", "googlenet"):
        options = {"init_weights": True} | ({} if downloads else {"aux_logits": False})
    transforms_input = downloads and recipe.model in ("inception_v3", "googlenet")
    if not filled:
        downloads, options = False, {key: value for key, value in options.items() if key != "aux_logits"}
    if recipe.model.startswith("vit_") and recipe.image_size is not None and not recipe.pretrained:
        options["image_size"] = recipe.image_size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if not downloads:
                net: Any = models.get_model(recipe.model, weights=None, **options)
            elif entry is None:
                raise MismatchError(f"torchvision has no weights of '{recipe.model}'. Set encoder.pretrained=false.")
            else:
                with downloading("torchvision", recipe.model, entry.url):
                    net = models.get_model(recipe.model, weights=entry)
        except (ValueError, RuntimeError) as error:
            if isinstance(error, MismatchError | SpecError) or downloads:
                raise
            raise MismatchError(
                f"torchvision model '{recipe.model}' cannot be built for images of {recipe.image_size}: {error} "
                "Set encoder.image_size=none."
            ) from None
    if getattr(net, "aux_logits", False):
        net.aux_logits = False
    for name in AUXILIARY:
        if hasattr(net, name):
            setattr(net, name, None)
    if transforms_input:
        net.transform_input = True
    built: nn.Module = net
    return built


def _without_classifier(net: nn.Module) -> str:
    """Remove the classification layer of `net`; returns its name."""
    from torch import nn

    heads: list[str] = [name for name, part in net.named_modules() if isinstance(part, nn.Linear)]
    if not heads:
        # SqueezeNet classifies with a convolution.
        heads = [name for name, part in net.named_modules() if isinstance(part, nn.Conv2d)]
    _replace(net, heads[-1], nn.Identity())
    return heads[-1]


def _widen(net: nn.Module, channels: int) -> None:
    """Let the first layer of `net`, whose weights are new, take `channels` channels."""
    from torch import nn

    name, first = next((name, part) for name, part in net.named_modules() if isinstance(part, nn.Conv2d))
    wide = nn.Conv2d(
        channels,
        first.out_channels,
        first.kernel_size,  # type: ignore[arg-type]
        first.stride,  # type: ignore[arg-type]
        first.padding,  # type: ignore[arg-type]
        bias=first.bias is not None,
    )
    _replace(net, name, wide)


def _replace(net: nn.Module, name: str, part: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(net.get_submodule(parent), last, part)


def _size(
    recipe: Torchvision, net: nn.Module, channels: int, image_shape: ImageShape, own: tuple[int, int]
) -> tuple[int, int] | None:
    """The size that images are resized to: as requested, unchanged, or the model's own."""
    from pairbench_backbones import modules

    if recipe.image_size is not None:
        asked = (recipe.image_size, recipe.image_size)
        if not modules.takes(net, channels, asked):
            raise MismatchError(
                f"torchvision model '{recipe.model}' does not take images of {asked[0]}x{asked[1]}. "
                "Set encoder.image_size=none for its own size."
            )
        return asked
    return None if modules.takes(net, channels, (image_shape[1], image_shape[2])) else own
