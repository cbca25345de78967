"""The options of all datasets of image files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from pairbench import PairDataset, PositiveInt, fitted
from pairbench_images.decoding import Decoding
from pairbench_images.files import Links

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

Side = Annotated[int, Field(ge=1, le=4096)]
MAX_PIXELS = 64_000_000


class ImagePairs(PairDataset):
    """The base of all datasets of image files."""

    image_size: Side | tuple[Side, Side] = Field(
        default=32, description="height and width that images are scaled to: one number for both, or [H,W]."
    )
    color: Literal["rgb", "gray"] = Field(default="rgb", description="rgb has three channels, gray has one.")
    resize: Literal["stretch", "crop", "pad"] = Field(
        default="stretch",
        description="stretch changes proportions; crop fills the size and cuts off the excess on both sides; pad "
        "fits the image in and fills the rest with black.",
    )
    max_pixels: PositiveInt = Field(
        default=MAX_PIXELS, description="files with more pixels than this are rejected before decoding."
    )
    on_error: Literal["raise", "skip"] = Field(
        default="raise",
        description="raise stops at unusable files and names the first; skip omits them and their pairs, "
        "and the results say how many.",
    )

    links: Links = Field(
        default="inside",
        description="inside refuses symbolic links that lead out of the folder; owned follows those that are yours, as "
        "the links of DVC and git-annex are.",
    )
    bits: Annotated[int, Field(ge=9, le=16)] = Field(
        default=16, description="the bits that 16-bit files use: 12 for a 12-bit sensor, whose largest value is 4095."
    )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        height, width = self.image_size if isinstance(self.image_size, tuple) else (self.image_size,) * 2
        return (1 if self.color == "gray" else 3, height, width)

    @property
    def decoding(self) -> Decoding:
        """How its files are decoded."""
        return Decoding(self.image_shape, self.resize, self.max_pixels, self.bits)

    def pixels(self, image: Image) -> NDArray[np.uint8]:
        """Any picture as an image like those of this dataset's pool, (C, H, W) uint8."""
        return fitted(image, self.image_shape, self.resize, self.bits)

    @property
    def largest_image(self) -> int:
        """What `max_pixels` says, for the images that a trained model is asked about too."""
        return self.max_pixels
