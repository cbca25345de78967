"""Small made-up sets in the layouts that torchvision reads."""

from __future__ import annotations

import functools
import struct
from pathlib import Path

import numpy as np
from PIL import Image
from shared import shared_folder


@functools.cache
def torchvision_folder() -> str:
    """A folder with a few images of FashionMNIST, LFW, PhotoTour and Omniglot, made of noise, for the whole session."""
    return str(shared_folder("sets", _sets))


def _sets(root: Path) -> None:
    draw = np.random.default_rng(0)
    fashion(root, draw)
    faces(root, draw)
    for scene in ("liberty", "notredame"):
        patches(root / scene, draw)
    characters(root, draw)


def fashion(root: Path, draw: np.random.Generator, train: int = 120, test: int = 40) -> None:
    """Fashion-MNIST's idx files; the first test image is in training too."""
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    images = draw.integers(0, 256, (train + test, 28, 28), dtype=np.uint8)
    images[train] = images[0]
    labels = np.arange(train + test, dtype=np.uint8) % 10
    for name, part in (("train", slice(0, train)), ("t10k", slice(train, None))):
        count = len(images[part])
        header = struct.pack(">IIII", 2051, count, 28, 28)
        (raw / f"{name}-images-idx3-ubyte").write_bytes(header + images[part].tobytes())
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, count) + labels[part].tobytes())


def faces(root: Path, draw: np.random.Generator) -> None:
    """LFW: view 1 for training and validation, and view 2 in two folds; one pair of view 1 is in view 2 too."""
    folder = root / "lfw-py"
    people = [f"Person_{letter}" for letter in "ABCDEFGH"]
    for person in people:
        place = folder / "lfw_funneled" / person
        place.mkdir(parents=True)
        for number in (1, 2, 3):
            noise = draw.integers(0, 256, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(noise).save(place / f"{person}_{number:04d}.jpg")
    (folder / "pairsDevTrain.txt").write_text(
        "2\nPerson_A\t1\t2\nPerson_C\t1\t2\nPerson_A\t3\tPerson_B\t1\nPerson_B\t2\tPerson_A\t2\n"
    )
    (folder / "pairsDevTest.txt").write_text("1\nPerson_D\t1\t2\nPerson_D\t3\tPerson_E\t1\n")
    (folder / "pairs.txt").write_text(
        "2\t1\nPerson_C\t1\t3\nPerson_C\t1\tPerson_F\t2\nPerson_G\t1\t3\nPerson_G\t2\tPerson_H\t2\n"
    )


def patches(folder: Path, draw: np.random.Generator) -> None:
    """One scene of PhotoTour: 32 patches of 16 points."""
    folder.mkdir(parents=True)
    Image.fromarray(draw.integers(0, 256, (256, 512), dtype=np.uint8)).save(folder / "patches0000.bmp")
    (folder / "info.txt").write_text("".join(f"{number // 2} 0\n" for number in range(32)))
    (folder / "m50_100000_100000_0.txt").write_text("0 0 0 1 0 0\n")


def characters(root: Path, draw: np.random.Generator) -> None:
    """Omniglot: two alphabets in the background and one for evaluation."""
    for half, alphabets in (("images_background", ("Abc", "Def")), ("images_evaluation", ("Xyz",))):
        for alphabet in alphabets:
            for character in range(5):
                place = root / "omniglot-py" / half / alphabet / f"character{character:02d}"
                place.mkdir(parents=True)
                for number in range(3):
                    noise = draw.integers(0, 256, (15, 15), dtype=np.uint8)
                    Image.fromarray(noise).save(place / f"{alphabet}{character}_{number}.png")
