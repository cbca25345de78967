"""Decoded images on disk: each file once, one array for all of them, checked whenever it is read.

A pool is a folder with `images.npy` (P, C, H, W) uint8, `hashes.npy` (P, 16), a hash of the pixels of each image, and
`report.json`, which lists the files that could not be decoded. Views are arrays of some of its images, for one split.
Only a few images are in memory at a time.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from tokenize import TokenError
from typing import TYPE_CHECKING, Any

from pairbench import StoreError, UnusableError, refuse_exhaustion, replacing, tell_note, tell_progress, user_cache
from pairbench_images import cache
from pairbench_images.decoding import Decoder, Decoding, guarded
from pairbench_images.naming import cores

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SCHEMA = 3
HASH_BYTES = 16
_CHUNK_BYTES = 4 * 2**20


class DamagedError(Exception):
    """Something in the cache differs from what was written; the message says what."""


@dataclass(frozen=True)
class Pool:
    """Decoded images in a folder.

    hashes: (P, 16) uint8, of the pixels of each image.
    unusable: the reason of each image that could not be decoded, by its row.
    largest_value: of all pixels of 16-bit files; 0 where there are none.
    """

    folder: Path
    shape: tuple[int, int, int]
    hashes: NDArray[np.uint8]
    unusable: dict[int, str]
    largest_value: int

    def view(self, rows: NDArray[np.int64]) -> Path:
        """A .npy file (len(rows), C, H, W) of the images `rows`, each of them checked against its hash.

        Raises:
            DamagedError: an image of the pool differs from what was written.
            StoreError: the file cannot be written.
        """
        if len(rows) == len(self.hashes) and bool((rows[1:] > rows[:-1]).all()):
            _check(self.folder / "images.npy", self.hashes, self.shape)
            return self.folder / "images.npy"
        name = hashlib.sha256(rows.tobytes()).hexdigest()[:24]
        file = self.folder / f"view-{name}.npy"
        try:
            _check(file, self.hashes[rows], self.shape)
        except FileNotFoundError:
            self._write_view(file, rows)
        except (DamagedError, OSError) as error:
            refuse_exhaustion(error)
            tell_note(f"cached images in {file} were damaged ({error}): written again")
            self._write_view(file, rows)
        return file

    def _write_view(self, file: Path, rows: NDArray[np.int64]) -> None:
        size = _size(self.shape)
        try:
            with replacing(file) as draft, draft.open("xb") as out, (self.folder / "images.npy").open("rb") as images:
                start = _header_bytes(images, (len(self.hashes), *self.shape))
                _write_header(out, (len(rows), *self.shape))
                for row in rows.tolist():
                    images.seek(start + row * size)
                    pixels = images.read(size)
                    if pixel_hash(pixels) != self.hashes[row].tobytes():
                        raise DamagedError(f"image {row} of {self.folder}")
                    out.write(pixels)
        except OSError as error:
            raise cache.unwritable(self.folder, error) from error


def pixel_hash(pixels: bytes | memoryview) -> bytes:
    """The hash of one image's pixels."""
    return hashlib.blake2b(pixels, digest_size=HASH_BYTES).digest()


def folder_of(digests: Sequence[bytes], how: Decoding) -> Path:
    """Where the pool of files with these contents is, or would be."""
    told = json.dumps([SCHEMA, version("pillow"), asdict(how)], sort_keys=True)
    key = hashlib.sha256(told.encode() + b"".join(digests)).hexdigest()[:24]
    return user_cache("pools") / key


def known(digests: Sequence[bytes], how: Decoding) -> Pool | None:
    """The pool of files with these contents, if it is cached and undamaged."""
    with suppress(DamagedError, OSError):
        return _opened(folder_of(digests, how), len(digests), how.shape)
    return None


def decoded(paths: Sequence[str], digests: Sequence[bytes], how: Decoding) -> Pool:
    """The pool of the images at `paths`, whose contents have `digests`; decoded unless cached.

    Raises:
        StoreError: the cache cannot be written.
    """
    folder = folder_of(digests, how)
    try:
        return _opened(folder, len(digests), how.shape)
    except FileNotFoundError:
        pass
    except (DamagedError, OSError) as error:
        refuse_exhaustion(error)
        discard(folder, str(error))
    place = cache.made(folder.parent)
    cache.sweep(place)
    try:
        temporary = Path(tempfile.mkdtemp(prefix="tmp-", dir=place))
    except OSError as error:
        raise cache.unwritable(place, error) from error
    try:
        _decode(paths, how, temporary, folder.name)
        with suppress(OSError):
            # If another process was faster, its pool is just as good.
            temporary.rename(folder)
        return _opened(folder, len(digests), how.shape)
    except OSError as error:
        raise cache.unwritable(place, error) from error
    except DamagedError as error:
        raise StoreError(f"{folder} is damaged right after it was written ({error}). Check the disk.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def discard(folder: Path, reason: str) -> None:
    """Delete a damaged pool, and report it."""
    tell_note(f"cached images in {folder} were damaged ({reason}): decoded again")
    shutil.rmtree(folder, ignore_errors=True)


def _decode(paths: Sequence[str], how: Decoding, folder: Path, key: str) -> None:
    import numpy as np

    unusable: dict[int, str] = {}
    decoder = Decoder(how)
    black = bytes(_size(how.shape))
    with (folder / "images.npy").open("wb") as out, (folder / "hashes.npy").open("wb") as hashes:
        _write_header(out, (len(paths), *how.shape))
        _write_header(hashes, (len(paths), HASH_BYTES))
        for row, answer in enumerate(_answers(paths, decoder)):
            if isinstance(answer, str):
                unusable[row] = answer
            pixels = black if isinstance(answer, str) else np.ascontiguousarray(answer).tobytes()
            out.write(pixels)
            hashes.write(pixel_hash(pixels))
            tell_progress(row + 1, len(paths), "decoding images")
    report = {
        "schema": SCHEMA,
        "key": key,
        "shape": list(how.shape),
        "count": len(paths),
        "hashes": _file_hash(folder / "hashes.npy"),
        "unusable": {str(row): reason for row, reason in unusable.items()},
        "largest_value": decoder.largest_value,
    }
    (folder / "report.json").write_text(json.dumps(report | {"sum": _sum(report)}))


def _answers(paths: Sequence[str], decoder: Decoder) -> Iterator[NDArray[np.uint8] | str]:
    """The pixels of each file in order, or why it has none; a few are decoded at once."""

    def decode(path: str) -> NDArray[np.uint8] | str:
        try:
            return decoder(path)
        except UnusableError as error:
            return str(error)

    threads = min(cores(), 16)
    with guarded(decoder.how), ThreadPoolExecutor(threads) as executor:
        waiting: deque[Future[NDArray[np.uint8] | str]] = deque()
        for path in paths:
            waiting.append(executor.submit(decode, path))
            if len(waiting) >= 4 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _opened(folder: Path, count: int, shape: tuple[int, int, int]) -> Pool:
    """The pool in `folder`, with everything checked except its images, which are checked when a view is created.

    Raises:
        FileNotFoundError: it does not exist.
        DamagedError: it differs from what was written.
    """
    import numpy as np

    text = (folder / "report.json").read_bytes()
    try:
        report: dict[str, Any] = json.loads(text)
        told = report.pop("sum")
        hashes = np.load(folder / "hashes.npy", allow_pickle=False)
        images = (folder / "images.npy").stat().st_size
        unusable = {int(row): str(reason) for row, reason in report["unusable"].items()}
        largest = int(report["largest_value"])
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, SyntaxError, TokenError, OSError) as error:
        refuse_exhaustion(error)
        raise DamagedError(f"{type(error).__name__} over its report or hashes") from error
    if told != _sum(report) or report["count"] != count or report["shape"] != list(shape):
        raise DamagedError("its report has a wrong checksum")
    if report.get("key") != folder.name:
        raise DamagedError("its images do not match its name")
    if report["hashes"] != _file_hash(folder / "hashes.npy") or hashes.shape != (count, HASH_BYTES):
        raise DamagedError("its hashes have a wrong checksum")
    if images <= count * _size(shape):
        raise DamagedError("its images are truncated")
    return Pool(folder, shape, hashes, unusable, largest)


def _check(file: Path, hashes: NDArray[np.uint8], shape: tuple[int, int, int]) -> None:
    """Read `file` through and compare each image with its hash.

    Raises:
        DamagedError: one differs, or the file is too short or too long.
    """
    size = _size(shape)
    at_once = max(1, _CHUNK_BYTES // size)
    with file.open("rb") as images:
        _header_bytes(images, (len(hashes), *shape))
        for first in range(0, len(hashes), at_once):
            chunk = memoryview(images.read(min(at_once, len(hashes) - first) * size))
            for place in range(min(at_once, len(hashes) - first)):
                if pixel_hash(chunk[place * size : (place + 1) * size]) != hashes[first + place].tobytes():
                    raise DamagedError(f"image {first + place} has different pixels")
        if images.read(1):
            raise DamagedError("it is too long")


def _size(shape: tuple[int, int, int]) -> int:
    return shape[0] * shape[1] * shape[2]


def _write_header(out: Any, shape: tuple[int, ...]) -> None:
    from numpy.lib import format as npy

    npy.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _header_bytes(stream: Any, shape: tuple[int, ...]) -> int:
    """Where the data of a .npy file begin.

    Raises:
        DamagedError: its header is not that of a uint8 array of `shape`.
    """
    from numpy.lib import format as npy

    try:
        if npy.read_magic(stream) == (1, 0):
            found, fortran, kind = npy.read_array_header_1_0(stream)
            if found == shape and not fortran and kind.str == "|u1":
                return int(stream.tell())
    except (ValueError, EOFError, SyntaxError, KeyError, TypeError, TokenError) as error:
        raise DamagedError("its header cannot be read") from error
    raise DamagedError("its header is different")


def _file_hash(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sum(report: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(report, sort_keys=True).encode()).hexdigest()
