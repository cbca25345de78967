"""Class folders, and the layouts of BAPPS and NIGHTS."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pictures import bapps, class_folders, nights, picture
from PIL import Image

import pairbench
from pairbench import DataError, PairTask
from pairbench.data.round_data import shared_images
from pairbench.plugin.notify import heard_by
from pairbench_images.bapps import Bapps
from pairbench_images.image_folder import ImageFolder
from pairbench_images.nights import Nights

SPLITS = ("train", "validation", "test")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with nothing in it; the cache lies beside it."""
    place = tmp_path / "set"
    place.mkdir()
    return place


def pools(dataset: pairbench.PairDataset, rounds: int = 1) -> dict[str, pairbench.PairPool]:
    return {split: dataset.load(split, rounds=rounds, seed=0) for split in SPLITS}  # type: ignore[arg-type]


def told(dataset: pairbench.PairDataset) -> list[str]:
    notes: list[str] = []
    with heard_by(note=notes.append):
        pools(dataset)
    return list(dict.fromkeys(notes))


def folder_of(folder: Path, **options: Any) -> ImageFolder:
    return ImageFolder(**{"path": str(folder), "image_size": 10, "train_pairs": 100} | options)


# Class folders.


def test_classes_are_in_the_order_in_which_people_count(folder: Path) -> None:
    pool = folder_of(class_folders(folder), task="ordering").load("train", rounds=1, seed=0)
    tenth = {np.asarray(Image.open(file)).transpose(2, 0, 1).tobytes() for file in (folder / "class 10").iterdir()}
    assert {image.numpy().tobytes() for image in pool.images[pool.classes == 2]} <= tenth


def test_half_of_the_pairs_are_of_one_class_and_none_is_an_image_with_itself(folder: Path) -> None:
    pool = folder_of(class_folders(folder)).load("train", rounds=2, seed=0)
    assert pool.target.float().mean(dim=1).tolist() == [0.5, 0.5]
    first, second = pool.classes[pool.pairs].unbind(2)
    assert torch.equal((first == second).long(), pool.target)
    assert (pool.pairs[..., 0] != pool.pairs[..., 1]).all()
    assert not torch.equal(pool.pairs[0], pool.pairs[1])


def test_ordering_asks_for_the_order_of_classes(folder: Path) -> None:
    pool = folder_of(class_folders(folder), task="ordering").load("train", rounds=1, seed=0)
    first, second = pool.classes[pool.pairs].unbind(2)
    assert torch.equal((first <= second).long(), pool.target)
    assert (pool.pairs[..., 0] != pool.pairs[..., 1]).all()


def test_every_class_is_in_every_split(folder: Path) -> None:
    found = pools(folder_of(class_folders(folder)))
    counts = {split: torch.bincount(pool.classes).tolist() for split, pool in found.items()}
    assert counts == {"train": [8, 8, 8], "validation": [2, 2, 2], "test": [2, 2, 2]}
    assert shared_images(found) == ""


def test_the_number_of_classes_is_an_option_or_counted(folder: Path) -> None:
    assert folder_of(folder / "nowhere", num_classes=7).task.num_classes == 7
    assert folder_of(class_folders(folder)).task == PairTask("verification", (3, 10, 10), ("different", "same"), 2, 3)
    with pytest.raises(DataError, match=r"dataset\.num_classes=4: expected 3"):
        folder_of(folder, num_classes=4).digest()


def test_folders_of_splits_are_kept(folder: Path) -> None:
    class_folders(folder / "all")
    for name in ("class 1", "class 2", "class 10"):
        for place in range(12):
            split = ("train", "train", "val", "test")[place % 4]
            target = folder / "set" / split / name / f"{place}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / "all" / name / f"{place}.png", target)
    found = pools(folder_of(folder / "set"))
    assert {split: len(pool.images) for split, pool in found.items()} == {"train": 18, "validation": 9, "test": 9}


def test_folders_without_validation_lend_it_from_training(folder: Path) -> None:
    class_folders(folder / "train")
    for number, name in enumerate(("class 1", "class 2")):
        for place in range(3):
            picture(folder / "test" / name / f"{place}.png", 80_000 + 10 * number + place)
    dataset = folder_of(folder)
    assert {split: len(pool.images) for split, pool in pools(dataset).items()} == {
        "train": 30, "validation": 6, "test": 6
    }  # fmt: skip
    assert any("images for validation are taken from the training images" in note for note in told(dataset))


def test_the_same_picture_in_two_folders_of_splits_is_refused_or_left_out_of_training(folder: Path) -> None:
    for number, split in enumerate(("train", "validation", "test")):
        for place in range(6):
            picture(folder / split / f"class {place % 2}" / f"{place}.png", 90_000 + 10 * number + place)
    shutil.copy(folder / "test" / "class 0" / "0.png", folder / "train" / "class 0" / "copy.png")
    with pytest.raises(DataError, match=r"train/class 0/copy\.png and test/class 0/0\.png are the same picture"):
        folder_of(folder).load("train", rounds=1, seed=0)
    found = pools(folder_of(folder, across_splits="drop"))
    assert {split: len(pool.images) for split, pool in found.items()} == {"train": 6, "validation": 6, "test": 6}


def test_a_class_with_one_image_is_refused_or_left_to_different_pairs(folder: Path) -> None:
    picture(class_folders(folder) / "lonely" / "a.png", 5)
    with pytest.raises(DataError, match=r"1 of 4 classes have one image, such as 'lonely': expected two"):
        pools(folder_of(folder))
    skipping = folder_of(folder, on_error="skip")
    assert any("'lonely': they are only in pairs of different classes" in note for note in told(skipping))
    assert len(pools(folder_of(folder, task="ordering"))) == 3


def test_the_same_picture_in_two_classes_is_refused(folder: Path) -> None:
    class_folders(folder)
    shutil.copy(folder / "class 1" / "0.png", folder / "class 2" / "copy.png")
    with pytest.raises(
        DataError, match=r"class 2/copy\.png is the same picture as class 1/0\.png, .*a different class"
    ):
        pools(folder_of(folder))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: shutil.rmtree(folder), r"cannot be listed \(No such file or directory\)\. Fix dataset\.path"),
        (lambda folder: [shutil.rmtree(folder / f"class {n}") for n in (1, 2)], r"has 1 class folders: expected"),
        (lambda folder: (folder / "empty").mkdir(), r"class 'empty' has no usable image"),
        (
            lambda folder: (folder / "class 1" / "x.png").write_text("no"),
            r"class 1/x\.png is not an image of a supported format",
        ),
        (lambda folder: (folder / "class 1" / "x.png").symlink_to("/etc/passwd"), r"leads outside by a symbolic link"),
    ],
    ids=["no folder", "one class", "an empty class", "no image", "a link out"],
)
def test_wrong_folders_are_refused(folder: Path, change: Any, message: str) -> None:
    change(class_folders(folder))
    with pytest.raises(DataError, match=message):
        folder_of(folder).load("train", rounds=1, seed=0)


def test_files_that_are_no_images_by_their_names_are_ignored_and_counted(folder: Path) -> None:
    (class_folders(folder) / "class 1" / "Thumbs.db").write_text("x")
    assert any("without an image suffix are ignored (1)" in note for note in told(folder_of(folder)))


# BAPPS and NIGHTS.


def test_bapps_is_read_from_its_folders(folder: Path) -> None:
    dataset = Bapps(path=str(bapps(folder)), image_size=10, validation_share=0.25)
    assert dataset.task == PairTask("preference", (3, 10, 10), ("first", "second"), 3)
    found = pools(dataset)
    assert {split: len(pool.pairs[0]) for split, pool in found.items()} == {"train": 12, "validation": 4, "test": 8}
    assert found["test"].target[0].tolist() == pytest.approx([number % 6 / 5 for number in range(8)])
    views = found["test"].images[found["test"].pairs[0, 3]]
    files = [folder / "2afc" / "val" / "superres" / part / "000003.png" for part in ("ref", "p0", "p1")]
    assert [view.tolist() for view in views] == [np.asarray(Image.open(f)).transpose(2, 0, 1).tolist() for f in files]


def test_bapps_takes_the_subsets_that_are_asked_for(folder: Path) -> None:
    dataset = Bapps(path=str(bapps(folder) / "2afc"), image_size=10, train_subsets=("cnn",), validation_share=0.25)
    assert len(dataset.load("train", rounds=1, seed=0).pairs[0]) == 6
    with pytest.raises(DataError, match=r"unknown subset 'cn' in dataset\.train_subsets\. Did you mean 'cnn'\?"):
        Bapps(path=str(folder), train_subsets=("cn",)).digest()


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path("hacked").touch, ())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.array([1.5]), r"holds 1\.5: expected a fraction from 0 to 1"),
        (np.array([0.5, 0.5]), r"000001\.npy cannot be read"),
        (np.array([float("nan")]), r"expected a fraction from 0 to 1"),
        (np.array([Malicious()], dtype=object), r"000001\.npy cannot be read .*expected a \.npy file of one number"),
        (None, r"judge has no 000001, unlike other folders of val/superres"),
    ],
    ids=["out of range", "two numbers", "nan", "a pickle", "missing"],
)
def test_a_wrong_judgement_is_refused(
    folder: Path, content: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    file = bapps(folder) / "2afc" / "val" / "superres" / "judge" / "000001.npy"
    file.unlink()
    if content is not None:
        np.save(file, content, allow_pickle=True)
    with pytest.raises(DataError, match=message):
        Bapps(path=str(folder), image_size=10).digest()
    assert not (folder / "hacked").exists()


def test_a_folder_without_bapps_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match=r"Set dataset\.path to the folder 2afc of BAPPS"):
        Bapps(path=str(folder)).digest()


def test_nights_is_read_with_its_splits_and_without_triplets_of_few_votes(folder: Path) -> None:
    dataset = Nights(path=str(nights(folder)), image_size=10)
    found = pools(dataset)
    assert {split: len(pool.pairs[0]) for split, pool in found.items()} == {"train": 9, "validation": 5, "test": 5}
    assert found["validation"].target[0].tolist() == [0.0, 1.0, 0.0, 1.0, 0.0]
    assert len(Nights(path=str(folder), image_size=10, min_votes=0).load("train", rounds=1, seed=0).pairs[0]) == 10


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("right_vote", "right", r"no column 'right_vote'"),
        ("1,1,0,6,", "1,x,0,6,", r"row 3: left_vote 'x' is wrong: expected a number of at least 0"),
        ("1,1,0,6,", "1,0,0,6,", r"row 3: right_vote '0' is wrong: expected votes for one of the two"),
    ],
)
def test_wrong_votes_are_refused(folder: Path, before: str, after: str, message: str) -> None:
    file = nights(folder) / "data.csv"
    assert before in file.read_text()
    file.write_text(file.read_text().replace(before, after, 1))
    with pytest.raises(DataError, match=message):
        Nights(path=str(folder), image_size=10).digest()


def test_a_preference_trains_from_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pairbench.cli import invoke

    words = ["dataset=bapps", f"dataset.path={bapps(folder)}", "dataset.image_size=10", "encoder=mlp"]
    words += ["loss=cross_entropy", "train.rounds=1", "train.epochs=1", "--workers", "0", "--no-timing"]
    assert invoke(["run", *words]) == 0
    assert "accuracy" in capsys.readouterr().out
