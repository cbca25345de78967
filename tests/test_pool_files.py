"""What a run keeps of its pools is what it trains with, or nothing is made of it."""

import os
from pathlib import Path

import pytest
import torch

from pairbench.config.run_config import resolve
from pairbench.data.pool_files import KeptPools, open_pool, save_pool
from pairbench.errors import StoreError
from pairbench.plugin.components import SPLITS, PairPool

TINY = {"encoder": "mlp", "dataset.train_pairs": "60", "dataset.validation_pairs": "20", "dataset.test_pairs": "40"}


@pytest.fixture(scope="module")
def loaded() -> dict[str, PairPool]:
    dataset = resolve(TINY).dataset
    return {split: dataset.load(split, rounds=2, seed=0) for split in SPLITS}


@pytest.fixture
def kept(loaded, tmp_path) -> Path:
    for split, pool in loaded.items():
        save_pool(pool, tmp_path / "kept" / split)
    return tmp_path / "kept"


def flip(folder: Path) -> None:
    path = folder / "train" / "target.npy"
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)


def swap_parts(folder: Path) -> None:
    for name in ("target.npy", "seal.json"):
        one, other = folder / "train" / name, folder / "test" / name
        one.rename(folder / "aside")
        other.rename(one)
        (folder / "aside").rename(other)


def swap_splits(folder: Path) -> None:
    (folder / "train").rename(folder / "aside")
    (folder / "test").rename(folder / "train")
    (folder / "aside").rename(folder / "test")


DAMAGE = {
    "flipped bit": flip,
    "swapped parts": swap_parts,
    "swapped splits": swap_splits,
    "cut": lambda folder: os.truncate(folder / "train" / "images.npy", 500),
    "no seal": lambda folder: (folder / "train" / "seal.json").unlink(),
    "seal cut": lambda folder: os.truncate(folder / "test" / "seal.json", 20),
    "other folds": lambda folder: torch.save(torch.zeros(2), folder / "train" / "folds.npy"),
    "removed": lambda folder: folder.rename(folder.with_name("elsewhere")),
}


def test_pools_come_back_as_they_were_saved(kept, loaded):
    pools = KeptPools(kept)
    pools.check()
    for split, pool in pools.splits.items():
        for part in ("images", "pairs", "target", "classes"):
            assert torch.equal(getattr(pool, part), getattr(loaded[split], part))


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_pools_that_were_changed_are_not_opened(kept, damage):
    damage(kept)
    with pytest.raises(StoreError, match=r"changed or removed during the run.*run the same command again"):
        KeptPools(kept)


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_change_after_opening_is_seen(kept, damage):
    pools = KeptPools(kept)
    damage(kept)
    with pytest.raises(StoreError, match="changed or removed during the run"):
        pools.check()


def test_a_pool_of_another_place_is_refused(kept, tmp_path):
    (kept / "train").rename(tmp_path / "train")
    with pytest.raises(StoreError, match="changed"):
        open_pool(tmp_path / "train")
