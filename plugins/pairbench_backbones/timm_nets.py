"""Backbones of timm: found by name, and built with new or downloaded weights."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pairbench import MismatchError
from pairbench_backbones.checkpoints import Checkpoint, State
from pairbench_backbones.downloads import downloading
from pairbench_backbones.naming import line, unknown_model
from pairbench_backbones.zoo import Network, Scale

if TYPE_CHECKING:
    from torch import nn

    from pairbench_backbones.encoders import Timm


class TimmNetwork(Network):
    """A network of timm, described by timm's config of its weights."""

    recipe: Timm

    def __init__(self, recipe: Timm) -> None:
        import timm

        super().__init__(recipe)
        check_name(recipe.model)
        found = timm.get_pretrained_cfg(recipe.model, allow_unregistered=True)
        self.config: dict[str, Any] = found.to_dict() if found is not None else {}
        self.input_size: Sequence[int] = self.config.get("input_size") or (3, 224, 224)
        self.size = (int(self.input_size[1]), int(self.input_size[2]))
        self.fixed_size = bool(self.config.get("fixed_input_size"))

    @classmethod
    def names(cls) -> list[tuple[str, bool]]:
        """Every model of timm, and every tag of its weights, and whether there are weights to download."""
        import timm

        tagged = timm.list_pretrained()
        known = {name.split(".")[0] for name in tagged}
        return sorted([(name, name in known) for name in timm.list_models()] + [(name, True) for name in tagged])

    def trained_channels(self, checkpoint: Checkpoint | None) -> int:
        """Those of the first layer in the checkpoint, else of the config."""
        tensors = {} if checkpoint is None else checkpoint.tensors
        for first in _several(self.config.get("first_conv")):
            for name, weight in tensors.items():
                if f".{name}".endswith(f".{first}.weight") and weight.ndim == 4:
                    return int(weight.shape[1])
        return int(self.input_size[0])

    def new_channels(self, given: int) -> int:
        """As many as the images have."""
        return given

    def create(self, channels: int, *, download: bool) -> tuple[nn.Module, tuple[str, ...]]:
        """The network without its classifier."""
        import timm

        options: dict[str, Any] = {"num_classes": 0, "in_chans": channels, "global_pool": self.recipe.pool}
        if self.recipe.image_size is not None:
            # For position embeddings of fixed size; other networks have no such argument.
            options["img_size"] = self.recipe.image_size
        create = self._download if download else self._create
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                net = create(timm.create_model, options)
            except TypeError as error:
                if "img_size" not in str(error):
                    raise self._refusal(error) from None
                try:
                    net = create(timm.create_model, options | {"img_size": None})
                except TypeError as other:
                    raise self._refusal(other) from None
        return net, _several(self.config.get("classifier"))

    def scale(self, channels: int) -> Scale:
        """The mean and deviation of the config, averaged if the weights have fewer channels."""
        mean, deviation = (tuple(self.config.get(name) or (0.5,)) for name in ("mean", "std"))
        if len(mean) == channels:
            return mean, deviation
        return (sum(mean) / len(mean),) * channels, (sum(deviation) / len(deviation),) * channels

    def translated(self, state: State, net: nn.Module) -> State:
        """A checkpoint converted by the model's own filter."""
        own_filter = getattr(sys.modules[type(net).__module__], "checkpoint_filter_fn", None)
        try:
            return dict(own_filter(dict(state), net)) if own_filter is not None else state
        except Exception:  # noqa: BLE001 - made for its own checkpoints; what follows says what does not fit
            return state

    def _create(self, create: Any, options: dict[str, Any]) -> nn.Module:
        try:
            net: nn.Module = create(self.recipe.model, pretrained=False, **options)
        except (AssertionError, ValueError, RuntimeError, KeyError, NotImplementedError) as error:
            raise self._refusal(error) from None
        return net

    def _download(self, create: Any, options: dict[str, Any]) -> nn.Module:
        from huggingface_hub import constants

        with downloading("timm", self.recipe.model, constants.ENDPOINT):
            net: nn.Module = create(self.recipe.model, pretrained=True, **options)
        return net

    def _refusal(self, error: Exception) -> MismatchError:
        asked = f"pool={self.recipe.pool or 'none'}, image_size={self.recipe.image_size or 'none'}"
        return MismatchError(
            f"timm model '{self.recipe.model}' cannot be built with {asked}: {line(error)}. Set encoder.pool=none."
        )


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


def _several(given: str | Sequence[str] | None) -> tuple[str, ...]:
    """What a config gives as nothing, one name or several."""
    return (given,) if isinstance(given, str) and given else tuple(given or ())
