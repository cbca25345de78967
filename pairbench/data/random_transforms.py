"""torchvision's random transforms on batches of images, drawn separately for each image.

A v2 transform draws its parameters once per call. Transforms that only draw whether to apply (flips, inversion, ...)
are applied to the whole batch and masked; all others are called image by image.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pairbench.config.transform_calls import parsed_call
from pairbench.errors import MismatchError
from pairbench.plugin.dotted import imported, is_dotted
from pairbench.text import one_line, printable


class Transforms:
    """The transforms in `calls`, applied in order to uint8 images."""

    def __init__(self, calls: Sequence[str]) -> None:
        self.steps = [_built(call) for call in calls]

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Images (N, C, H, W) uint8, each transformed by draws from `generator`; torch's global generator is untouched.

        generator: on the CPU.
        """
        seed = int(torch.randint(2**62, (1,), generator=generator))
        devices = [images.device] if images.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            for step, chance in self.steps:
                if chance is None:
                    images = torch.stack([step(image) for image in images])
                else:
                    happens = (torch.rand(len(images)) < chance).to(images.device).view(-1, 1, 1, 1)
                    images = torch.where(happens, step(images), images)
        return images


def check_transforms(calls: Sequence[str], image_shape: tuple[int, int, int]) -> None:
    """Reject transforms that cannot be built, or that change the shape of the images.

    Raises:
        MismatchError: there is such a transform.
    """
    for call in calls:
        try:
            found = Transforms([call])(torch.zeros(2, *image_shape, dtype=torch.uint8), torch.Generator())
        except MismatchError:
            raise
        except Exception as error:  # noqa: BLE001 - a transform may raise anything over its options
            reason = printable(one_line(error), 150)
            raise MismatchError(
                f"train.transforms: {printable(call, 80)} cannot transform images {image_shape} ({reason}). "
                "Change its options, or remove it."
            ) from None
        if tuple(found.shape[1:]) != image_shape or found.dtype != torch.uint8:
            raise MismatchError(
                f"train.transforms: {printable(call, 80)} turns images {image_shape} into {tuple(found.shape[1:])}. "
                f"Set its size to [{image_shape[1]},{image_shape[2]}], or remove it."
            )


def _built(call: str) -> tuple[nn.Module, float | None]:
    """A transform, and its probability if that is all that it draws, else None."""
    from torchvision.transforms import v2

    name, options = parsed_call(call)
    try:
        kind = imported(name, "train.transforms") if is_dotted(name) else getattr(v2, name)
        # A spec may come from anywhere: it calls nothing but the classes of modules.
        if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
            raise MismatchError(f"train.transforms={printable(name, 80)} is no subclass of torch.nn.Module. Name one.")
        made: nn.Module = kind(**options)
    except MismatchError:
        raise
    except Exception as error:  # noqa: BLE001 - a transform may raise anything over its options
        reason = printable(one_line(error), 150)
        raise MismatchError(f"train.transforms: {printable(call, 80)}: {reason}. Fix its options.") from None
    whether = getattr(v2._transform, "_RandomApplyTransform")  # noqa: B009 - private, so mypy does not know it
    draws = getattr(type(made), "make_params", None) is not v2.Transform.make_params
    if isinstance(made, whether) and not draws:
        chance = float(made.p)
        made.p = 1.0
        return made, chance
    return made, None
