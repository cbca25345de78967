"""From an image file to pixels of one size; any fault of a file becomes a short reason.

Formats are a fixed list, sizes are checked before anything is decoded, and large images are decoded one at a time.
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
    """The target of decoding: shape (C, H, W), how to resize, and the limit on pixels before resizing."""

    shape: tuple[int, int, int]
    resize: Resize
    max_pixels: int


class Decoder:
    """Decodes files, if necessary in several threads; use it inside `guarded`."""

    def __init__(self, how: Decoding) -> None:
        self.how = how
        self._large = threading.Lock()

    def __call__(self, path: str) -> NDArray[np.uint8]:
        """The pixels (C, H, W) of the image at `path`.

        Raises:
            UnusableError: the file is missing, malicious, damaged, or not an image.
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
            raise UnusableError(f"is not an image of a supported format ({', '.join(IMAGE_FORMATS)})") from error
        except MemoryError as error:
            raise UnusableError("is too large for the memory of this machine") from error
        except Exception as error:  # Pillow raises nearly anything over a damaged file.
            raise UnusableError(f"cannot be decoded ({printable(str(error) or type(error).__name__, 100)})") from error


@contextmanager
def guarded(how: Decoding) -> Generator[None]:
    """Within this block Pillow refuses images with more than `how.max_pixels` pixels, and issues no warnings.

    Both settings are global in Pillow and Python, so one thread sets them for all threads.
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
