"""A process that has run out of files says so: nothing is called damaged, left out or removed for it."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from PIL import Image

from pairbench import PairPool, StoreError
from pairbench.data.pool_files import open_pool, save_pool


@contextmanager
def no_files_left() -> Iterator[None]:
    """Within this block no further file can be opened."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def pool() -> PairPool:
    images, pairs = torch.zeros(3, 1, 2, 2, dtype=torch.uint8), torch.zeros(1, 2, 2, dtype=torch.long)
    return PairPool(images, pairs, torch.zeros(1, 2, dtype=torch.long), torch.zeros(3, dtype=torch.long))


def test_the_pools_of_a_run_are_not_called_changed(pool: PairPool, tmp_path: Path) -> None:
    save_pool(pool, tmp_path / "pool")
    with no_files_left(), pytest.raises(StoreError, match=r"Too many open files\. Raise the limit"):
        open_pool(tmp_path / "pool")
    assert torch.equal(open_pool(tmp_path / "pool").images, pool.images)


def test_no_image_is_left_out(tmp_path: Path) -> None:
    from pairbench.plugin.registry import installed

    installed()
    from pairbench_images.files import contents

    file = tmp_path / "a.png"
    Image.new("L", (4, 4)).save(file)
    with no_files_left(), pytest.raises(StoreError, match="Too many open files"):
        contents([str(file)])
    assert not contents([str(file)]).unusable


def test_kept_features_are_not_removed(tmp_path: Path) -> None:
    from pairbench.training.feature_cache import segments

    folder = tmp_path / "features"
    folder.mkdir()
    for suffix in (".seal", ".names", ".npy"):
        (folder / f"one{suffix}").write_text("{}")
    with no_files_left(), pytest.raises((StoreError, OSError), match="Too many open files"):
        segments(folder, clean=True)
    assert len(list(folder.iterdir())) == 3
