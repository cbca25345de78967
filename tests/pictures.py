"""Small sets of image files for tests: noise pictures, none like another, and lists of pairs of them."""

from __future__ import annotations

import atexit
import csv
import functools
import random
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def picture(file: Path, seed: int, size: tuple[int, int] = (10, 10), mode: str = "RGB", **options: Any) -> Path:
    """Write a picture of noise that follows from `seed`."""
    channels = {"L": (), "RGB": (3,), "RGBA": (4,), "CMYK": (4,)}[mode]
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], *channels), dtype=np.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise, mode if mode == "CMYK" else None).save(file, **options)
    return file


def listed(file: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    """Write a CSV file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows(rows)
    return file


def pairs_of_classes(folder: Path, count: int = 60) -> Path:
    """A list of pairs that each have two pictures of their own, of three classes: are the classes the same?"""
    rows = []
    for number in range(count):
        first, second = number % 3, (number + number // 3 % 2) % 3
        names = [f"images/{number}-{side}.png" for side in "ab"]
        for side, name in enumerate(names):
            picture(folder / name, 2 * number + side)
        rows.append((*names, int(first == second), first, second))
    return listed(folder / "same.csv", ("first", "second", "label", "first_class", "second_class"), rows)


def votes(folder: Path, count: int = 40) -> Path:
    """A list of triplets of pictures of their own with a share of votes."""
    rows = []
    for number in range(count):
        names = [f"votes/{number}-{place}.png" for place in range(3)]
        for place, name in enumerate(names):
            picture(folder / name, 10_000 + 3 * number + place)
        rows.append((*names, random.Random(number).randrange(6) / 5))
    return listed(folder / "votes.csv", ("first", "second", "third", "label"), rows)


@functools.cache
def conformance_folder() -> Path:
    """A folder with one small set in each layout, made once and deleted at the end."""
    folder = Path(tempfile.mkdtemp(prefix="pairbench-pictures-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    pairs_of_classes(folder)
    votes(folder)
    return folder
