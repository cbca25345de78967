"""Folders of torchvision's datasets, and the conversion of their image files to pixels."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pairbench import DataError, user_cache

if TYPE_CHECKING:
    from torch import Tensor


def folder_of(root: str | None) -> Path:
    """The folder that torchvision reads: `root`, else PAIRBENCH_DATA, else `data` in pairbench's cache."""
    return Path(root or os.environ.get("PAIRBENCH_DATA") or user_cache("data")).expanduser()


@contextlib.contextmanager
def nothing_left(*places: Path) -> Generator[None]:
    """If the block fails, remove those of `places` that it created and left empty."""
    made = [place for place in places if not place.exists()]
    try:
        yield
    except BaseException:
        for place in made:
            with contextlib.suppress(OSError):
                place.rmdir()
        raise


def decoded(files: Sequence[str | Path], size: int, channels: int) -> Tensor:
    """The images (P, C, size, size) uint8 of `files`, gray or colour, resized.

    Raises:
        DataError: a file cannot be read; the message names it.
    """
    import numpy as np
    import torch
    from PIL import Image

    images = torch.empty(len(files), channels, size, size, dtype=torch.uint8)
    for row, file in enumerate(files):
        try:
            with Image.open(file) as opened:
                image = opened.convert("RGB" if channels == 3 else "L").resize((size, size), Image.Resampling.BILINEAR)
        except Exception as error:
            raise DataError(
                f"image {file} cannot be read ({type(error).__name__}). Fix or replace the file."
            ) from error
        pixels = torch.from_numpy(np.array(image))
        images[row] = pixels.permute(2, 0, 1) if channels == 3 else pixels.unsqueeze(0)
    return images
