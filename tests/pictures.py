"""Small sets of image files for tests: noise pictures, none like another, and lists of pairs of them."""

from __future__ import annotations

import csv
import functools
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from shared import shared_folder


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


def class_folders(folder: Path, count: int = 12, classes: Sequence[str] = ("class 1", "class 2", "class 10")) -> Path:
    """A folder of pictures for each class."""
    for number, name in enumerate(classes):
        for place in range(count):
            picture(folder / name / f"{place}.png", 20_000 + 1000 * number + place)
    return folder


def bapps(folder: Path, count: int = 8) -> Path:
    """A set in the layout of BAPPS, 2AFC part: two subsets of train, one of val."""
    for number, place in enumerate(("train/cnn", "train/traditional", "val/superres")):
        for triplet in range(count):
            for part, name in enumerate(("ref", "p0", "p1")):
                seed = 40_000 + 1000 * number + 10 * triplet + part
                picture(folder / "2afc" / place / name / f"{triplet:06d}.png", seed)
            judge = folder / "2afc" / place / "judge" / f"{triplet:06d}.npy"
            judge.parent.mkdir(parents=True, exist_ok=True)
            np.save(judge, np.array([triplet % 6 / 5], dtype=np.float32))
    return folder


def nights(folder: Path, count: int = 20) -> Path:
    """A set in the layout of NIGHTS; the first triplet has too few votes."""
    header = ("id", "left_vote", "right_vote", "votes", "ref_path", "left_path", "right_path", "split", "is_imagenet")
    rows = []
    for number in range(count):
        names = [f"{part}/000/{number:03d}.png" for part in ("ref", "distort/left", "distort/right")]
        for place, name in enumerate(names):
            picture(folder / name, 60_000 + 3 * number + place)
        split, right = ("train", "val", "test", "train")[number % 4], number // 4 % 2
        rows.append((number, 1 - right, right, 6 if number else 5, *names, split, number % 3 == 0))
    listed(folder / "data.csv", header, rows)
    return folder


@functools.cache
def conformance_folder() -> Path:
    """A folder with one small set in each layout, made once and deleted at the end."""
    return shared_folder("pictures", _pictures)


def _pictures(folder: Path) -> None:
    pairs_of_classes(folder)
    votes(folder)
    class_folders(folder / "classes")
    bapps(folder / "bapps")
    nights(folder / "nights")
