"""Promise 6 beyond records: what is damaged in a pool, in kept features or in a kept model is seen, and made anew."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attack
import numpy as np
import pictures
import pytest
import tiny
import torch

import pairbench
from pairbench.errors import DataError
from pairbench.plugin.components import PairPool
from pairbench.plugin.notify import heard_by
from pairbench.store.model_files import described, is_sound
from pairbench.training.feature_cache import Shelf
from pairbench_images import pool as pools
from pairbench_images.decoding import Decoding
from pairbench_images.files import contents

FULL = pytest.mark.slow
HOW = Decoding((3, 6, 6), "stretch", 1_000_000)


def harm(choose: random.Random, file: Path, others: list[Path]) -> str:
    """Flip a bit of `file`, cut it, or put another whole file in its place; how."""
    content = file.read_bytes()
    how = choose.choice(("flip", "cut", "swap") if others else ("flip", "cut"))
    if how == "flip":
        at = choose.randrange(len(content))
        changed = content[:at] + bytes([content[at] ^ 1 << choose.randrange(8)]) + content[at + 1 :]
    elif how == "cut":
        changed = content[: choose.randrange(len(content))]
    else:
        changed = choose.choice(others).read_bytes()
    # Another file in its place, as when a folder is synchronised, since nobody may write to what is mapped.
    file.unlink()
    file.write_bytes(changed)
    return how


class Decoded:
    """Two sets of as many pictures, whose decoded pixels are kept in the user's cache."""

    def __init__(self, folder: Path) -> None:
        self.sets = [
            [str(pictures.picture(folder / name / f"{n}.png", n + s)) for n in range(5)]
            for s, name in ((0, "a"), (50, "b"))
        ]
        self.rows = np.array([0, 2, 3])
        self.sound = [self.read(paths) for paths in self.sets]
        assert not np.array_equal(*self.sound)

    def read(self, paths: list[str]) -> Any:
        digests = contents(paths).digests
        pool = pools.decoded(paths, digests, HOW)
        try:
            return np.load(pool.view(self.rows))
        except pools.DamagedError as error:
            pools.discard(pool.folder, str(error))
            return np.load(pools.decoded(paths, digests, HOW).view(self.rows))

    def attack(self, choose: random.Random) -> bool:
        places = [pools.folder_of(contents(paths).digests, HOW) for paths in self.sets]
        if choose.random() < 0.1:
            places[0].rename(places[0].with_name("aside"))
            places[1].rename(places[0])
            places[0].with_name("aside").rename(places[1])
            file = None
        else:
            file = choose.choice(sorted(places[0].iterdir()))
            harm(choose, file, [places[1] / file.name, *(path for path in places[0].iterdir() if path != file)])
        notes: list[str] = []
        with heard_by(note=notes.append):
            found = [self.read(paths) for paths in self.sets]
        assert all(map(np.array_equal, found, self.sound)), file
        assert all("damaged" in note for note in notes)
        return bool(notes)


class Features:
    """What two encoders give for the same images, kept in a store."""

    def __init__(self, folder: Path) -> None:
        images = torch.arange(8, dtype=torch.uint8).view(8, 1, 1, 1).expand(8, 1, 2, 2).contiguous()
        rows = torch.arange(8).view(1, 4, 2)
        self.pool = PairPool(images, rows, torch.zeros(1, 4, dtype=torch.long), torch.full((8,), -1))
        self.folder, self.encoded = folder, 0
        assert not torch.equal(self.read(1), self.read(2))

    def read(self, encoder: int) -> torch.Tensor:
        def encode(images: torch.Tensor) -> Any:
            self.encoded += 1
            return encoder * images.flatten(1).float().numpy()

        shelf = Shelf(self.folder, {"encoder": encoder}, [self.pool])
        table, places = shelf.features("weights", (self.pool, torch.arange(8)), encode)
        return table[places].clone()

    def attack(self, choose: random.Random) -> bool:
        # A lock's file is empty: there is nothing in it to damage.
        file = choose.choice(
            sorted(path for path in self.folder.rglob("*") if path.is_file() and path.suffix != ".lock")
        )
        others = [path for path in self.folder.rglob("*") if path.is_file() and path != file]
        harm(choose, file, others)
        before = self.encoded
        for encoder in (1, 2):
            expected = encoder * self.pool.images.flatten(1).float()
            assert torch.equal(self.read(encoder), expected), file
        return self.encoded > before


class Models:
    """The trained models of two configs of three rounds."""

    def __init__(self, folder: Path) -> None:
        words = (*tiny.SPECS, "encoder.embedding_dim=3,4", "train.rounds=3", "train.epochs=1")
        results = pairbench.run(*words, store=folder, workers=0, timing=False, keep_models=True)
        self.files = [path for files in results.models.values() for path in files.values()]
        self.whole = {path: path.read_bytes() for path in self.files}
        self.described = {path: described(path) for path in self.files}

    def attack(self, choose: random.Random) -> bool:
        file = choose.choice(self.files)
        harm(choose, file, [path for path in self.files if path != file])
        try:
            found = described(file)
        except DataError as error:
            lines, seen = str(error).splitlines(), True
        else:
            assert found == self.described[file], "another model is taken for this one"
            seen = False
            lines = ["sound"]
        assert len(lines) == 1
        assert is_sound(file) != seen
        file.write_bytes(self.whole[file])
        return seen


@pytest.mark.parametrize("attacks", [90, pytest.param(1000, marks=FULL)])
def test_damage_to_pools_features_and_models_is_seen_and_mended(
    tmp_path: Path, tiny_registry: object, monkeypatch: pytest.MonkeyPatch, attacks: int
) -> None:
    monkeypatch.setenv("PAIRBENCH_CACHE", str(tmp_path / "cache"))
    kinds: dict[str, Callable[[Path], Any]] = {"pools": Decoded, "features": Features, "models": Models}
    made = {name: kind(tmp_path / name) for name, kind in kinds.items()}
    choose, seen, tried = attack.chance("damage", attacks), dict.fromkeys(made, 0), dict.fromkeys(made, 0)
    for _ in range(attacks):
        name = choose.choice(list(made))
        tried[name] += 1
        seen[name] += made[name].attack(choose)
    told = ", ".join(f"{name} {seen[name]} of {tried[name]}" for name in made)
    print(
        f"\n{attacks} flips, cuts and swaps: {told} seen, and made anew or refused; "
        "the others changed nothing that is read; 0 used"
    )
    assert all(seen[name] > 0.5 * tried[name] for name in made)
