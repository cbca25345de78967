"""Random image transforms, as a train option writes them: `NAME(option=value)`; read without torch.

A name is one of torchvision's, or the dotted path of a class such as `my_package.Rain`.
"""

from __future__ import annotations

import ast
from typing import Any

from pairbench.errors import SpecError
from pairbench.plugin.dotted import is_dotted
from pairbench.text import quoted, unknown

# Those that preserve the shape of an image; RandomCrop and RandomResizedCrop do if their size is the image's own.
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
    """The name and the options of the transform call in `text`, which is parsed and never executed.

    Raises:
        SpecError: it is not such a call, or the transform is unknown.
    """
    try:
        node = ast.parse(text.strip(), mode="eval").body
        if isinstance(node, ast.Name | ast.Attribute):
            name, options = ast.unparse(node), {}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute) and not node.args:
            name = ast.unparse(node.func)
            options = {str(word.arg): ast.literal_eval(word.value) for word in node.keywords if word.arg}
            if len(options) < len(node.keywords):
                raise ValueError
        else:
            raise ValueError
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise SpecError(f"{quoted(text)}: {_LIKE}, each value a number, a text in quotes, or a list.") from None
    if name not in NAMES and not is_dotted(name):
        raise unknown("transform", name, NAMES)
    return name, options
