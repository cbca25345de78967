"""Image files as pixels of one shape: a fixed list of formats, and sizes checked before decoding."""

from __future__ import annotations

import stat
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pairbench.errors import DataError
from pairbench.text import printable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
MAX_PIXELS = 100_000_000
Resize = Literal["stretch", "crop", "pad"]
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N")
_ORIENTATION = 0x0112
# EXIF's orientation -> Pillow's Transpose, of which these swap height and width.
_TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
_SIDEWAYS = (2, 4, 5, 6)


@contextmanager
def opened(path: str | PathLike[str], max_pixels: int = MAX_PIXELS) -> Generator[Image]:
    """The image at `path`, its header read and its size checked; errors inside the block are reported the same way.

    Raises:
        DataError: the file is missing, malicious, damaged, or not an image.
    """
    from PIL import Image, UnidentifiedImageError

    shown = printable(str(path), 120)
    try:
        # Reading a pipe or a device could block.
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise DataError(f"image {shown} is not a file. Name an image file.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=IMAGE_FORMATS) as image:
                if image.width * image.height > max_pixels:
                    raise Image.DecompressionBombError
                yield image
    except DataError:
        raise
    except Image.DecompressionBombError:
        raise DataError(f"image {shown} has more than {max_pixels} pixels. Make it smaller.") from None
    except UnidentifiedImageError:
        raise DataError(
            f"image {shown} is not of a supported format. Expected one of {', '.join(IMAGE_FORMATS)}."
        ) from None
    except MemoryError:
        raise DataError(f"image {shown} is too large for the memory of this machine. Make it smaller.") from None
    except Exception as error:  # noqa: BLE001 - Pillow raises nearly anything over a damaged file
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(f"image {shown} cannot be read ({printable(reason, 100)}). Fix or replace the file.") from None


def fitted(image: Image, shape: tuple[int, int, int], resize: Resize = "stretch", bits: int = 16) -> NDArray[np.uint8]:
    """`image` as pixels (C, H, W) of `shape`: its first frame, upright, on white where transparent.

    resize: stretch to the size; crop the excess on both sides after filling it; or pad with black.
    bits: how many bits the values of a 16-bit file use, 9 to 16.

    Raises:
        DataError: its pixels have no fixed range, or `shape` has neither one channel nor three.
    """
    import numpy as np
    from PIL import Image

    channels, height, width = shape
    if channels not in (1, 3):
        raise DataError(
            f"the model sees {channels} channels: expected 1 or 3 for an image file. Pass an array instead."
        )
    # A large photograph is decoded at reduced size, if that is still at least twice the target size.
    image.draft(None, (2 * max(height, width),) * 2)
    image.load()
    mode = "L" if channels == 1 else "RGB"
    turn = _turn(image)
    # Rotated last, when the image is small.
    plain = _sized(_coloured(image, mode, bits), (height, width) if turn in _SIDEWAYS else (width, height), resize)
    if turn is not None:
        plain = plain.transpose(Image.Transpose(turn))
    if plain.mode == "RGBA":
        white = Image.new("RGB", plain.size, "white")
        white.paste(plain, mask=plain.getchannel("A"))
        plain = white.convert(mode)
    pixels = np.asarray(plain, dtype=np.uint8)
    return np.ascontiguousarray(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))


def is_16_bit(image: Image) -> bool:
    """Whether `image` has 16 bits a pixel."""
    return image.mode in _DEEP or (image.mode == "I" and image.format in ("PNG", "PPM"))


def _turn(image: Image) -> int | None:
    """The rotation that makes the image upright, as a number of Pillow's Transpose, or None."""
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - unreadable metadata is no reason to reject the picture
        return None


def _sized(image: Image, size: tuple[int, int], resize: Resize) -> Image:
    from PIL import Image

    if image.size == size:
        return image
    smooth = Image.Resampling.BILINEAR
    across, down = size[0] / image.width, size[1] / image.height
    if resize == "stretch":
        return image.resize(size, smooth)
    if resize == "crop":
        left = max(0.0, (image.width - size[0] / max(across, down)) / 2)
        top = max(0.0, (image.height - size[1] / max(across, down)) / 2)
        return image.resize(size, smooth, (left, top, image.width - left, image.height - top))
    scale = min(across, down)
    inner = (min(size[0], max(1, round(image.width * scale))), min(size[1], max(1, round(image.height * scale))))
    padded = Image.new(image.mode, size, (0, 0, 0, 255) if image.mode == "RGBA" else 0)
    padded.paste(image.resize(inner, smooth), ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2))
    return padded


def _coloured(image: Image, mode: str, bits: int) -> Image:
    """The image in `mode`, or in RGBA if it is transparent."""
    import numpy as np
    from PIL import Image

    if is_16_bit(image):
        deep: Any = np.asarray(image).clip(0, 65535)
        if int(deep.max()) >= 2**bits:
            largest = int(deep.max())
            raise DataError(f"an image has the value {largest}, which takes more than {bits} bits. Raise dataset.bits.")
        return Image.fromarray((deep >> (bits - 8)).astype(np.uint8)).convert(mode)
    if image.mode in ("I", "F"):
        raise DataError("an image has 32 bits a pixel, which have no fixed range. Save it with 8 or 16.")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        return image.convert("RGBA")
    return image if image.mode == mode else image.convert(mode)
