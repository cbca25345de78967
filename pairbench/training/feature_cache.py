"""Features of images on disk, keyed by the pixels of each image, in segments that are written once."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pairbench.config.run_config import canonical
from pairbench.data.pool_files import checksum_of
from pairbench.errors import StoreError, refuse_exhaustion
from pairbench.plugin.components import PairPool
from pairbench.store.atomic import replace_file, replacing
from pairbench.store.locks import waiting_for
from pairbench.text import printable

IMAGES_AT_ONCE = 256
ID_BYTES = 16
Encode = Callable[[Tensor], "np.ndarray[Any, Any]"]


class Shelf:
    """The stored features of one encoder; several processes may use them at once.

    folder: the folder of the features of all encoders.
    encoder: what the features depend on besides images and weights, as plain JSON values.
    pools: the pools whose used images are encoded together, when features of any of them are first needed.
    """

    def __init__(self, folder: Path, encoder: dict[str, Any], pools: Sequence[PairPool]) -> None:
        self.folder, self.encoder, self.pools = folder, encoder, pools
        self._names: dict[int, dict[int, bytes]] = {}
        self._open: tuple[str, Tensor, dict[bytes, int]] | None = None

    def features(self, weights: str, used: tuple[PairPool, Tensor], encode: Encode) -> tuple[Tensor, Tensor]:
        """A table (P, ...) of features, and the rows in it of the images `used`: a pool and rows of it.

        Args:
            weights: a digest of the encoder's weights.
            used: the images whose features are needed.
            encode: images (N, C, H, W) uint8 -> features (N, ...) float32.

        Raises:
            StoreError: the folder cannot be written.
        """
        pool, rows = used
        names = self._names_of(pool)
        wanted = [names[row] for row in rows.tolist()]
        key = hashlib.sha256(canonical([weights, self.encoder]).encode()).hexdigest()[:24]
        if self._open is None or self._open[0] != key or not all(name in self._open[2] for name in wanted):
            self._open = (key, *self._complete(self.folder / key, encode))
        _, table, places = self._open
        return table, torch.tensor([places[name] for name in wanted])

    def _names_of(self, pool: PairPool) -> dict[int, bytes]:
        """For each row of `pool` that its rounds use, a hash of the image's pixels."""
        if id(pool) not in self._names:
            rows = torch.unique(pool.pairs).tolist()
            images = pool.images.numpy()
            self._names[id(pool)] = {
                row: hashlib.blake2b(images[row].tobytes(), digest_size=ID_BYTES).digest() for row in rows
            }
        return self._names[id(pool)]

    def _complete(self, folder: Path, encode: Encode) -> tuple[Tensor, dict[bytes, int]]:
        """All features in `folder`, after one process has encoded those that are missing."""
        missing = self._missing(found := segments(folder))
        if missing:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                with waiting_for(folder.with_suffix(".lock")):
                    missing = self._missing(found := segments(folder, clean=True))
                    if missing:
                        found.append(_written(folder, missing, encode))
            except OSError as error:
                raise StoreError(f"cannot store features in {printable(str(folder))}: {error.strerror}.") from error
        tables = [table for _, table in found]
        places = {name: place for place, name in enumerate(name for names, _ in found for name in names)}
        return (tables[0] if len(tables) == 1 else torch.cat(tables)), places

    def _missing(self, found: Sequence[tuple[list[bytes], Tensor]]) -> dict[bytes, tuple[PairPool, int]]:
        there = {name for names, _ in found for name in names}
        wanted = {name: (pool, row) for pool in self.pools for row, name in self._names_of(pool).items()}
        return {name: place for name, place in wanted.items() if name not in there}


def segments(folder: Path, *, clean: bool = False) -> list[tuple[list[bytes], Tensor]]:
    """The names and features of each undamaged segment in `folder`; `clean` deletes everything else in it."""
    found, sound = [], set()
    for seal in sorted(folder.glob("*.seal")):
        try:
            found.append(_read(seal))
            sound.add(seal.stem)
        except (OSError, ValueError, KeyError, TypeError) as error:
            refuse_exhaustion(error)
            continue
    if clean:
        # Damaged, or left behind by a process that was killed.
        for path in folder.iterdir():
            if path.stem not in sound:
                path.unlink(missing_ok=True)
    return found


def _read(seal: Path) -> tuple[list[bytes], Tensor]:
    """The segment that belongs to `seal`; a ValueError if it is damaged."""
    sums = json.loads(seal.read_text(encoding="utf-8"))
    if sums["place"] != _place(seal):
        raise ValueError("made for another encoder or name")
    for suffix in (".npy", ".names"):
        if checksum_of(seal.with_suffix(suffix)) != sums[suffix]:
            raise ValueError("damaged")
    content = seal.with_suffix(".names").read_bytes()
    names = [content[start : start + ID_BYTES] for start in range(0, len(content), ID_BYTES)]
    # Copy-on-write, since torch warns about read-only arrays; nothing writes to them.
    return names, torch.from_numpy(np.load(seal.with_suffix(".npy"), mmap_mode="c"))


def _written(folder: Path, missing: dict[bytes, tuple[PairPool, int]], encode: Encode) -> tuple[list[bytes], Tensor]:
    """Encode what is missing into a new segment; its seal is written last."""
    stem = folder / secrets.token_hex(8)
    table, names, seal = (stem.with_suffix(suffix) for suffix in (".npy", ".names", ".seal"))
    with replacing(table) as draft:
        _encode_into(draft, list(missing.values()), encode)
    replace_file(names, b"".join(missing), sync=False)
    sums = {file.suffix: checksum_of(file) for file in (table, names)} | {"place": _place(stem)}
    replace_file(seal, json.dumps(sums).encode(), sync=False)
    return _read(seal)


def _encode_into(file: Path, places: Sequence[tuple[PairPool, int]], encode: Encode) -> None:
    """Write the features of `places`, rows of pools, to `file`: an array (len(places), ...)."""
    table: np.memmap[Any, Any] | None = None
    for start in range(0, len(places), IMAGES_AT_ONCE):
        part = places[start : start + IMAGES_AT_ONCE]
        features = encode(torch.stack([pool.images[row] for pool, row in part]))
        if table is None:
            shape = (len(places), *features.shape[1:])
            table = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=shape)
        table[start : start + len(part)] = features
    assert table is not None
    table.flush()


def _place(path: Path) -> str:
    """The place that a seal is valid for: its folder stands for the encoder and its weights."""
    return f"{path.parent.name}/{path.stem}"
