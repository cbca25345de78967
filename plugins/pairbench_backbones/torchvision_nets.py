"""Classifiers of torchvision as backbones: without their last layer, with new or downloaded weights."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from pairbench import MismatchError, SpecError
from pairbench_backbones.checkpoints import Checkpoint
from pairbench_backbones.downloads import downloading
from pairbench_backbones.naming import line, unknown_model
from pairbench_backbones.zoo import Network, Scale

if TYPE_CHECKING:
    from torch import nn

    from pairbench_backbones.encoders import Torchvision

# Auxiliary classifiers used only in training; the output comes from the last layer.
AUXILIARY = ("AuxLogits", "aux1", "aux2")
WITH_AUXILIARY = ("inception_v3", "googlenet")


class TorchvisionNetwork(Network):
    """A classifier of torchvision, described by the preset of its weights."""

    recipe: Torchvision

    def __init__(self, recipe: Torchvision) -> None:
        super().__init__(recipe)
        known = [name for name, _ in self.names()]
        if recipe.model not in known:
            raise unknown_model("torchvision", recipe.model, known)
        self.weights = _weights(recipe)
        self.preset = self.weights.transforms() if self.weights is not None else None
        side = int(self.preset.crop_size[0]) if self.preset is not None else 224
        self.size = (side, side)

    @classmethod
    def names(cls) -> list[tuple[str, bool]]:
        """Every classifier of torchvision, and whether there are weights to download."""
        from torchvision import models

        return [(name, bool(len(models.get_model_weights(name)))) for name in sorted(models.list_models(module=models))]

    def trained_channels(self, checkpoint: Checkpoint | None) -> int:
        """All of torchvision's classifiers take colour."""
        del checkpoint
        return 3

    def new_channels(self, given: int) -> int:
        """As many as the images have, but gray is repeated."""
        return 3 if given == 1 else given

    def create(self, channels: int, *, download: bool) -> tuple[nn.Module, tuple[str, ...]]:
        """The classifier without its last layer."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            net: Any = self._downloaded() if download else self._new()
        if getattr(net, "aux_logits", False):
            net.aux_logits = False
        for name in AUXILIARY:
            if hasattr(net, name):
                setattr(net, name, None)
        if self.recipe.pretrained and hasattr(net, "transform_input"):
            # These two were trained with a different scale, and convert from ImageNet's themselves.
            net.transform_input = True
        classifier = _without_classifier(net)
        if channels != 3:
            _widen(net, channels)
        return net, (classifier, *AUXILIARY)

    def scale(self, channels: int) -> Scale:
        """The mean and deviation of the preset."""
        del channels
        return (tuple(self.preset.mean), tuple(self.preset.std)) if self.preset is not None else ((), ())

    def _downloaded(self) -> nn.Module:
        from torchvision import models

        model = self.recipe.model
        if self.weights is None:
            raise MismatchError(f"torchvision has no weights of '{model}'. Set encoder.pretrained=false.")
        with downloading("torchvision", model, self.weights.url):
            net: nn.Module = models.get_model(model, weights=self.weights)
        return net

    def _new(self) -> nn.Module:
        from torchvision import models

        recipe = self.recipe
        options: dict[str, Any] = {}
        if recipe.model in WITH_AUXILIARY:
            options = {"init_weights": True, "aux_logits": False}
        if recipe.model.startswith("vit_") and recipe.image_size is not None and not recipe.pretrained:
            options["image_size"] = recipe.image_size
        try:
            net: nn.Module = models.get_model(recipe.model, weights=None, **options)
        except (ValueError, RuntimeError) as error:
            raise MismatchError(
                f"torchvision model '{recipe.model}' cannot be built for images of {recipe.image_size}: "
                f"{line(error)}. Set encoder.image_size=none."
            ) from None
        return net


def _weights(recipe: Torchvision) -> Any:
    """The requested entry of the model's weights, else the default one, else None; its preset has size and scale."""
    from torchvision import models

    entries = models.get_model_weights(recipe.model)
    if recipe.entry:
        known = [*entries.__members__]
        if recipe.entry not in known:
            raise SpecError(
                f"encoder.pretrained={recipe.entry}: torchvision model '{recipe.model}' has no such weights. "
                f"Choose from {', '.join(known)}, or give a path."
            )
        return entries[recipe.entry]
    return entries.DEFAULT if len(entries) else None


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
