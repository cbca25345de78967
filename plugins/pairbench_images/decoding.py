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

from pairbench import IMAGE_FORMATS, DataError, UnusableError, fitted, is_16_bit, open_regular, printable
from pairbench_images.naming import Resize

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image as Picture

# fmt: off
SUFFIXES = frozenset({
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm",
    ".pnm",
})
# fmt: on
LARGE_PIXELS = 8_000_000


@dataclass(frozen=True)
class Decoding:
    """What every image becomes: shape (C, H, W), and how it gets there.

    max_pixels: the most pixels that it may have before.
    bits: how many bits the values of 16-bit files use.
    """

    shape: tuple[int, int, int]
    resize: Resize
    max_pixels: int
    bits: int = 16


class Decoder:
    """Decodes files, from several threads if need be; use it inside `guarded`.

    largest_value: of all pixels of 16-bit files so far; 0 where there were none.
    """

    def __init__(self, how: Decoding) -> None:
        self.how = how
        self.largest_value = 0
        self._large, self._values = threading.Lock(), threading.Lock()

    def __call__(self, path: str) -> NDArray[np.uint8]:
        """The pixels (C, H, W) of the image at `path`.

        Raises:
            UnusableError: the file is missing, malicious, damaged, or not an image.
        """
        from PIL import Image, UnidentifiedImageError

        how = self.how
        try:
            with open_regular(path) as stream, Image.open(stream, formats=IMAGE_FORMATS) as image:
                pixels = image.width * image.height
                if pixels > how.max_pixels:
                    raise Image.DecompressionBombError
                if pixels > LARGE_PIXELS:
                    with self._large:
                        return self._fitted(image)
                return self._fitted(image)
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

    def _fitted(self, image: Picture) -> NDArray[np.uint8]:
        if is_16_bit(image):
            import numpy as np

            value = int(np.asarray(image).max())
            with self._values:
                self.largest_value = max(self.largest_value, value)
        return fitted(image, self.how.shape, self.how.resize, self.how.bits)


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
