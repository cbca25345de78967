"""From an image file to pixels of one size; whatever is wrong with a file becomes a reason in a few words.

Formats are a closed list, sizes are checked before anything is decoded, and large images are decoded one at a time.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pairbench import IMAGE_FORMATS, DataError, fitted, printable
from pairbench_images.files import UnusableError, opened
from pairbench_images.naming import Resize

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# fmt: off
SUFFIXES = frozenset({
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm",
    ".pnm",
})
# fmt: on
LARGE_PIXELS = 8_000_000


@dataclass(frozen=True)
class Decoding:
    """What every image becomes: shape (C, H, W), how it gets there, and the most pixels that it may have before."""

    shape: tuple[int, int, int]
    resize: Resize
    max_pixels: int


class Decoder:
    """Decodes files, from several threads if need be; use it inside `guarded`."""

    def __init__(self, how: Decoding) -> None:
        self.how = how
        self._large = threading.Lock()

    def __call__(self, path: str) -> NDArray[np.uint8]:
        """The pixels (C, H, W) of the image at `path`.

        Raises:
            UnusableError: the file is missing, hostile, damaged, or of another kind.
        """
        from PIL import Image, UnidentifiedImageError

        how = self.how
        try:
            with opened(path) as stream, Image.open(stream, formats=IMAGE_FORMATS) as image:
                pixels = image.width * image.height
                if pixels > how.max_pixels:
                    raise Image.DecompressionBombError
                if pixels > LARGE_PIXELS:
                    with self._large:
                        return fitted(image, how.shape, how.resize)
                return fitted(image, how.shape, how.resize)
        except UnusableError:
            raise
        except DataError as error:
            raise UnusableError(f"cannot be used: {error}".rstrip(".")) from error
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise UnusableError(f"has more than {how.max_pixels} pixels (dataset.max_pixels)") from error
        except UnidentifiedImageError as error:
            raise UnusableError(f"is no image of a kind that is read ({', '.join(IMAGE_FORMATS)})") from error
        except MemoryError as error:
            raise UnusableError("is too large for the memory of this machine") from error
        except Exception as error:  # Pillow raises nearly anything over a damaged file.
            raise UnusableError(f"cannot be decoded ({printable(str(error) or type(error).__name__, 100)})") from error


@contextmanager
def guarded(how: Decoding) -> Generator[None]:
    """Within this block Pillow refuses images with more than `how.max_pixels` pixels, and does not warn of oddities.

    Both settings are Pillow's and Python's own and hold for all threads, so one thread sets them for all.
    """
    from PIL import Image, TiffImagePlugin, WebPImagePlugin  # noqa: F401 - the last two bring their formats

    before = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\..*")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        Image.MAX_IMAGE_PIXELS = how.max_pixels
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before
