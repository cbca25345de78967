"""Random image transforms of torchvision, as a train option writes them: `NAME(option=value)`; read without torch."""

from __future__ import annotations

import ast
from typing import Any

from pairbench.errors import SpecError
from pairbench.text import quoted, unknown

# Those that leave an image an image of the same shape; RandomCrop and RandomResizedCrop do at the image's own size.
NAMES = (
    "AugMix",
    "AutoAugment",
    "ColorJitter",
    "ElasticTransform",
    "GaussianBlur",
    "RandAugment",
    "RandomAdjustSharpness",
    "RandomAffine",
    "RandomAutocontrast",
    "RandomChannelPermutation",
    "RandomCrop",
    "RandomEqualize",
    "RandomErasing",
    "RandomGrayscale",
    "RandomHorizontalFlip",
    "RandomInvert",
    "RandomPerspective",
    "RandomPhotometricDistort",
    "RandomPosterize",
    "RandomResizedCrop",
    "RandomRotation",
    "RandomSolarize",
    "RandomVerticalFlip",
    "TrivialAugmentWide",
)
_LIKE = "expected NAME(option=value,...), such as RandomHorizontalFlip(p=0.5)"


def parsed_call(text: str) -> tuple[str, dict[str, Any]]:
    """The name and the options of a transform that `text` writes; nothing in it is run.

    Raises:
        SpecError: it is no such call, or names no known transform.
    """
    try:
        node = ast.parse(text.strip(), mode="eval").body
        if isinstance(node, ast.Name):
            name, options = node.id, {}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.args:
            name = node.func.id
            options = {str(word.arg): ast.literal_eval(word.value) for word in node.keywords if word.arg}
            if len(options) < len(node.keywords):
                raise ValueError
        else:
            raise ValueError
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise SpecError(f"{quoted(text)}: {_LIKE}, each value a number, a text in quotes, or a list.") from None
    if name not in NAMES:
        raise unknown("transform", name, NAMES)
    return name, options
