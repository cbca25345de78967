"""Image files that are wrong in many ways, and decompression bombs: small files that claim to be giant images."""

from __future__ import annotations

import functools
import io
import random
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

SAVED = {"png": {}, "jpg": {}, "webp": {"lossless": True}, "bmp": {}, "gif": {}, "tif": {}, "ppm": {}}


def encoded(suffix: str, seed: int = 0, size: int = 24) -> bytes:
    """A sound picture of noise as a file."""
    noise = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    stream = io.BytesIO()
    kind = {"jpg": "jpeg", "tif": "tiff"}.get(suffix, suffix)
    Image.fromarray(noise).save(stream, kind, **SAVED[suffix])
    return stream.getvalue()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, data: bytes, *between: tuple[bytes, bytes]) -> bytes:
    """A gray PNG whose header says `width` x `height` and whose packed data are `data`."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    others = b"".join(_chunk(kind, content) for kind, content in between)
    return b"\x89PNG\r\n\x1a\n" + header + others + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


@functools.cache
def bombs() -> dict[str, bytes]:
    """Five files of less than 1 MB that would unpack to hundreds of megabytes or more."""
    zeros = zlib.compressobj(9)
    packed = b"".join(zeros.compress(bytes(2**20)) for _ in range(400)) + zeros.flush()
    gif = b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0x80, 0, 0) + bytes(6)
    gif += b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02\x02\x4c\x01\x00;"
    text = zlib.compress(bytes(300 * 2**20), 9)
    bmp = struct.pack("<2sIHHI", b"BM", 60, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, 40_000, 40_000, 1, 24, *[0] * 6)
    return {
        "wide.png": png(20_000, 20_000, packed),
        "screen.gif": gif,
        "text.png": png(4, 4, zlib.compress(bytes(20)), (b"zTXt", b"note\0\0" + text), (b"iCCP", b"icc\0\0" + text)),
        "claim.bmp": bmp,
        "claim.ppm": b"P6 60000 60000 255\n" + bytes(100),
    }


def malformed(count: int = 100, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """`count` files that are no sound image: of other kinds, cut, with other bytes, with a header that lies."""
    draw = random.Random(seed)
    fixed = {
        "empty.png": b"",
        "text.png": b"this is no picture",
        "html.jpg": b"<html><img src=x onerror=alert(1)></html>",
        "svg.png": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "postscript.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n",
        "pdf.png": b"%PDF-1.4\n1 0 obj\n",
        "zip.png": b"PK\x03\x04" + bytes(50),
        "icon.png": b"\x00\x00\x01\x00\x01\x00\x10\x10\x00\x00\x01\x00\x20\x00" + bytes(30),
        "signature.png": b"\x89PNG\r\n\x1a\n",
        "zero.png": png(0, 10, zlib.compress(b"")),
        "short.png": png(50, 50, zlib.compress(bytes(7))),
        "garbage.png": png(9, 9, bytes(range(100))),
        "negative.bmp": struct.pack("<2sIHHI", b"BM", 60, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, -5, 5, 1, 24, *[0] * 6),
        "loop.tif": b"II*\x00\x08\x00\x00\x00\x00\x00\x08\x00\x00\x00",
        "nan.ppm": b"P6 x y 255\n",
        "huge.ppm": b"P6 3 3 99999999999999\n" + bytes(27),
    }
    yield from list(fixed.items())[:count]
    for number in range(max(0, count - len(fixed))):
        suffix = draw.choice(list(SAVED))
        data = encoded(suffix, number)
        # What is cut in the middle of its pixels is told apart from a sound image by every decoder.
        yield f"{number}.{suffix}", data[: draw.randrange(1, int(len(data) * 0.6))]
