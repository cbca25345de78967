"""Pairs of the user's own images: what a CSV file may say, what images become, which split a pair goes to."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pictures import listed, pairs_of_classes, picture, votes
from PIL import Image

import pairbench
from pairbench import DataError, PairTask
from pairbench.data.round_data import shared_images
from pairbench.plugin.notify import heard_by
from pairbench_images.csv_pairs import CsvPairs

SPLITS = ("train", "validation", "test")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a list of 60 pairs of pictures."""
    pairs_of_classes(tmp_path)
    return tmp_path


def recipe(file: Path, **options: Any) -> CsvPairs:
    return CsvPairs(**{"path": str(file), "image_size": 10, **options})


def pools(dataset: CsvPairs, rounds: int = 1) -> dict[str, pairbench.PairPool]:
    return {split: dataset.load(split, rounds=rounds, seed=0) for split in SPLITS}  # type: ignore[arg-type]


def small(folder: Path, rows: list[tuple[object, ...]], header: tuple[str, ...] = ("first", "second", "label")) -> Path:
    """A list whose images are there."""
    for number, name in enumerate(sorted({str(cell) for row in rows for cell in row if str(cell).endswith(".png")})):
        picture(folder / name, 900 + number)
    return listed(folder / "pairs.csv", header, rows)


def with_splits(folder: Path, count: int = 9, **change: tuple[object, ...]) -> Path:
    """A list of `count` pairs, a third in each split; `change` gives rows in place of those of that number."""
    rows: list[tuple[object, ...]] = [
        (f"{number}a.png", f"{number}b.png", number % 2, SPLITS[number % 3]) for number in range(count)
    ]
    for number, row in change.items():
        rows[int(number.removeprefix("row"))] = row
    return small(folder, rows, ("first", "second", "label", "split"))


def refused(dataset: CsvPairs) -> str:
    """The one line of the error that loading gives."""
    with pytest.raises(DataError) as caught:
        pools(dataset)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def told(dataset: CsvPairs) -> list[str]:
    """The notes of loading."""
    notes: list[str] = []
    with heard_by(note=notes.append):
        pools(dataset)
    return list(dict.fromkeys(notes))


# Reading the list.


def test_a_pair_is_read_as_it_is_listed(tmp_path: Path) -> None:
    pool = recipe(with_splits(tmp_path)).load("test", rounds=1, seed=0)
    first, second = pool.images[pool.pairs[0, 1]]
    expected = [np.asarray(Image.open(tmp_path / name)).transpose(2, 0, 1) for name in ("5a.png", "5b.png")]
    assert [first.numpy().tolist(), second.numpy().tolist()] == [image.tolist() for image in expected]
    assert pool.target.tolist() == [[0, 1, 0]]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("verification", PairTask("verification", (3, 10, 10), ("different", "same"))),
        ("ordering", PairTask("ordering", (3, 10, 10), ("greater", "at_most"))),
        ("preference", PairTask("preference", (3, 10, 10), ("first", "second"), 3)),
    ],
)
def test_the_task_is_known_before_any_file_is_there(kind: str, expected: PairTask) -> None:
    assert recipe(Path("nowhere.csv"), task=kind).task == expected


@pytest.mark.parametrize(
    ("kind", "names"), [("verification", ("different", "same")), ("ordering", ("greater", "at_most"))]
)
def test_a_label_may_be_the_name_of_an_outcome(tmp_path: Path, kind: str, names: tuple[str, str]) -> None:
    rows = [(f"{n}a.png", f"{n}b.png", names[n % 2].upper(), SPLITS[n // 2]) for n in range(6)]
    pool = recipe(small(tmp_path, rows, ("first", "second", "label", "split")), task=kind).load(
        "train", rounds=1, seed=0
    )
    assert pool.target.tolist() == [[0, 1]]


def test_votes_are_soft_targets_of_three_views(tmp_path: Path) -> None:
    pool = recipe(votes(tmp_path), task="preference").load("train", rounds=2, seed=0)
    assert pool.pairs.shape[2] == 3
    assert pool.target.dtype == torch.float32
    assert set(pool.target.unique().tolist()) <= {float(np.float32(vote / 5)) for vote in range(6)}


def test_columns_and_the_delimiter_may_have_other_names(tmp_path: Path) -> None:
    for number, name in enumerate(("a", "b", "c", "d", "e", "f")):
        picture(tmp_path / f"{name}, {number}.png", number)
    text = 'left;right;same;part\n"a, 0.png";"b, 1.png";1;train\n"c, 2.png";"d, 3.png";0;val\n'
    text += '"e, 4.png";"f, 5.png";0;test\n'
    (tmp_path / "pairs.csv").write_text(text)
    names = {"first": "left", "second": "right", "label": "same", "split": "part", "delimiter": "semicolon"}
    assert recipe(tmp_path / "pairs.csv", **names).load("train", rounds=1, seed=0).target.tolist() == [[1]]


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    file = with_splits(tmp_path)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert len(recipe(file).load("train", rounds=1, seed=0).pairs[0]) == 3


WRONG: dict[str, tuple[bytes, str]] = {
    "no pair": (b"first,second,label\n", r"has a header but no pair"),
    "nothing": (b"", r"pairs\.csv is empty|is empty: expected a CSV file"),
    "blank lines": (b"\n\n\n", r"is empty: expected a header"),
    "an unknown column": (
        b"frist,second,label\na,b,1\n",
        r"no column 'first' \(dataset\.first\)\. Did you mean 'frist'\?",
    ),
    "another delimiter": (b"first;second;label\na;b;1\n", r"Is it dataset\.delimiter=semicolon\?"),
    "two columns of one name": (b"first,second,label,label\na,b,1,1\n", r"two columns 'label'"),
    "too few fields": (b"first,second,label\na,b\n", r"row 2: 2 fields: expected 3"),
    "too many fields": (b"first,second,label\n\na,b,1,2\n", r"row 3: 4 fields: expected 3"),
    "a label out of range": (b"first,second,label\na,b,1\na,b,2\n", r"row 3: label '2' is wrong: expected 0 or 1"),
    "a label that is a share": (b"first,second,label\na,b,0.5\n", r"row 2: label '0\.5' is wrong"),
    "a label that is no number": (b"first,second,label\na,b,nan\n", r"row 2: label 'nan' is wrong"),
    "no label": (b"first,second,label\na,b,\n", r"row 2: label '' is wrong"),
    "no name": (b"first,second,label\n,b,1\n", r"row 2: no file name:"),
    "an unknown split": (b"first,second,label,split\na,b,1,holdout\n", r"row 2: split 'holdout' is wrong"),
    "a NUL byte": (b"first,second,label\na\0,b,1\n", r"row 2: a NUL byte"),
    "not UTF-8": (b"first,second,label\na,b,1\n\xff,b,1\n", r"row 3: byte 0xff is not UTF-8 \(line 3\)"),
    "UTF-16": ("first,second,label\n".encode("utf-16"), r"is UTF-16: expected UTF-8"),
    "an open quote": (b'first,second,label\n"a,b,1\n', r"row 2: cannot be read as CSV"),
    "text after a quote": (b'first,second,label\n"a"x,b,1\n', r"row 2: cannot be read as CSV"),
    "a huge field": (b"first,second,label\n" + b"a" * 200_000 + b",b,1\n", r"row 2: cannot be read as CSV"),
    "an endless line": (b"first,second,label\n" + b"," * 2_000_000, r"row 2: more than 1048576 bytes"),
    "a path above": (b"first,second,label\n../a.png,b,1\n", r"row 2: '\.\./a\.png' has '\.\.' in it"),
    "an absolute path": (b"first,second,label\n/etc/passwd,b,1\n", r"row 2: '/etc/passwd' is an absolute path"),
    "a missing file": (
        b"first,second,label\na.png,b.png,1\n",
        r"row 2: a\.png is missing\. 2 of 2 images cannot be used",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_list_is_refused_with_its_row(tmp_path: Path, case: str) -> None:
    content, message = WRONG[case]
    file = tmp_path / "pairs.csv"
    file.write_bytes(content)
    import re

    assert re.search(message, refused(recipe(file))), refused(recipe(file))


def test_a_list_that_is_missing_or_no_file_is_refused(tmp_path: Path) -> None:
    assert "is missing: expected a CSV file" in refused(recipe(tmp_path / "none.csv"))
    assert "is a folder: expected a CSV file" in refused(recipe(tmp_path))
    os.mkfifo(tmp_path / "pipe.csv")
    assert "is not a regular file" in refused(recipe(tmp_path / "pipe.csv"))


def test_a_link_out_of_the_folder_is_refused_and_one_inside_is_followed(tmp_path: Path) -> None:
    file = with_splits(tmp_path / "set")
    outside = picture(tmp_path / "outside.png", 5)
    inside = tmp_path / "set" / "0a.png"
    inside.rename(tmp_path / "set" / "other.png")
    inside.symlink_to("other.png")
    assert len(recipe(file).load("train", rounds=1, seed=0).pairs[0]) == 3
    inside.unlink()
    inside.symlink_to(outside)
    assert "row 2: '0a.png' leads outside by a symbolic link" in refused(recipe(file))
    assert "leads outside" in refused(recipe(file, on_error="skip"))


def test_a_root_may_lie_elsewhere(tmp_path: Path) -> None:
    file = with_splits(tmp_path / "images")
    moved = file.rename(tmp_path / "pairs.csv")
    assert "row 2: 0a.png is missing" in refused(recipe(moved))
    assert len(recipe(moved, root=str(tmp_path / "images")).load("test", rounds=1, seed=0).pairs[0]) == 3


# Classes.


def test_classes_are_numbers_or_names_in_natural_order(tmp_path: Path) -> None:
    header = ("first", "second", "label", "split", "first_class", "second_class")
    names = ("class 10", "class 2", "class 1")
    rows = [(f"{n}a.png", f"{n}b.png", 0, SPLITS[n], names[n], "") for n in range(3)]
    pool = recipe(small(tmp_path, rows, header), num_classes=3).load("train", rounds=1, seed=0)
    assert pool.classes[pool.pairs[0, 0]].tolist() == [2, -1]


def test_classes_without_their_number_are_left_and_noted(folder: Path) -> None:
    assert any("set dataset.num_classes" in note for note in told(recipe(folder / "same.csv")))


@pytest.mark.parametrize(
    ("classes", "number", "message"),
    [
        (("0", "5", "1"), 2, r"names 3 classes: expected at most 2"),
        (("a", "b", "c"), 2, r"names 3 classes: expected at most 2"),
    ],
)
def test_wrong_classes_are_refused(tmp_path: Path, classes: tuple[str, ...], number: int, message: str) -> None:
    header = ("first", "second", "label", "split", "first_class")
    rows = [(f"{n}a.png", f"{n}b.png", 0, SPLITS[n], classes[n]) for n in range(3)]
    with pytest.raises(DataError, match=message):
        recipe(small(tmp_path, rows, header), num_classes=number).load("train", rounds=1, seed=0)


def test_an_image_of_two_classes_is_refused_with_both_rows(tmp_path: Path) -> None:
    header = ("first", "second", "label", "split", "first_class")
    rows = [("a.png", "b.png", 0, "train", 0), ("a.png", "c.png", 0, "train", 1)]
    assert "row 3: 'a.png' has class '1', but in row 2 it has '0'" in refused(
        recipe(small(tmp_path, rows, header), num_classes=2)
    )


# Splits.


def test_without_a_column_the_images_are_dealt_to_splits_before_pairs(folder: Path) -> None:
    found = pools(recipe(folder / "same.csv"))
    assert {split: len(pool.pairs[0]) for split, pool in found.items()} == {"train": 42, "validation": 6, "test": 12}
    assert shared_images(found) == ""


def test_the_split_does_not_depend_on_the_order_of_the_list_or_the_size_of_images(folder: Path) -> None:
    lines = (folder / "same.csv").read_text().splitlines()
    (folder / "mixed.csv").write_text("\n".join([lines[0], *reversed(lines[1:])]))

    def pictures(dataset: CsvPairs) -> set[bytes]:
        pool = dataset.load("test", rounds=1, seed=0)
        return {image.numpy().tobytes() for image in pool.images}

    assert pictures(recipe(folder / "same.csv")) == pictures(recipe(folder / "mixed.csv"))
    sizes = [recipe(folder / "same.csv", image_size=size).load("test", rounds=1, seed=0).target for size in (10, 5)]
    assert torch.equal(*sizes)


def test_another_seed_makes_another_split(folder: Path) -> None:
    one, other = (recipe(folder / "same.csv", split_seed=seed).load("test", rounds=1, seed=0) for seed in (0, 1))
    assert not torch.equal(one.images, other.images)


def test_images_that_link_all_pairs_are_refused_or_their_pairs_dropped(tmp_path: Path) -> None:
    rows = [(f"{a}.png", f"{b}.png", 1) for a in range(20) for b in range(a)]
    file = small(tmp_path, rows)
    message = refused(recipe(file))
    assert "images link 190 of 190 pairs" in message
    assert "dataset.across_splits=drop" in message
    dropped = int(message.partition("skips the ")[2].split()[0])
    found = pools(recipe(file, across_splits="drop"))
    assert sum(len(pool.pairs[0]) for pool in found.values()) == 190 - dropped
    assert shared_images(found) == ""
    assert any(f"{dropped} of 190 pairs are skipped" in note for note in told(recipe(file, across_splits="drop")))


@pytest.mark.parametrize("across", ["refuse", "drop"])
def test_a_group_stays_in_one_split(tmp_path: Path, across: str) -> None:
    rows = [(f"{n}a.png", f"{n}b.png", 0, f"person {n % 12}") for n in range(60)]
    file = small(tmp_path, rows, ("first", "second", "label", "group"))
    number = {(tmp_path / row[0]).read_bytes(): row[3] for row in rows}
    pixels = {np.asarray(Image.open(tmp_path / row[0])).transpose(2, 0, 1).tobytes(): row[3] for row in rows}
    groups = {}
    for split, pool in pools(recipe(file, across_splits=across)).items():
        groups[split] = {pixels[pool.images[pair[0]].numpy().tobytes()] for pair in pool.pairs[0]}
    assert len(number) == 60
    assert sum(map(len, groups.values())) == len(set.union(*groups.values())) == 12


def test_an_image_in_two_splits_is_refused_with_its_rows(tmp_path: Path) -> None:
    file = with_splits(tmp_path, row2=("0a.png", "2b.png", 0, "test"))
    assert "0a.png is in two splits (row 2, train; row 4, test)" in refused(recipe(file))


def test_the_same_picture_in_two_splits_is_refused_with_both_names(tmp_path: Path) -> None:
    file = with_splits(tmp_path)
    Image.open(tmp_path / "0a.png").save(tmp_path / "2b.png", compress_level=0)
    assert (tmp_path / "0a.png").read_bytes() != (tmp_path / "2b.png").read_bytes()
    message = refused(recipe(file))
    assert "0a.png (row 2, train) and 2b.png (row 4, test) are the same picture in two splits" in message


def test_pairs_across_splits_may_be_dropped_from_training(tmp_path: Path) -> None:
    file = with_splits(tmp_path, row2=("0a.png", "2b.png", 0, "test"))
    found = pools(recipe(file, across_splits="drop"))
    assert {split: len(pool.pairs[0]) for split, pool in found.items()} == {"train": 2, "validation": 3, "test": 3}
    assert shared_images(found) == ""


def test_the_same_picture_twice_in_one_split_is_one_row(tmp_path: Path) -> None:
    file = with_splits(tmp_path)
    Image.open(tmp_path / "0a.png").save(tmp_path / "3b.png", compress_level=0)
    pool = recipe(file).load("train", rounds=1, seed=0)
    assert len(pool.images) == 5
    assert pool.pairs[0, 0, 0] == pool.pairs[0, 1, 1]


def test_an_empty_split_is_refused_unless_a_share_fills_it(tmp_path: Path) -> None:
    rows = [(f"{n}a.png", f"{n}b.png", 0, "test" if n > 7 else "train") for n in range(10)]
    file = small(tmp_path, rows, ("first", "second", "label", "split"))
    message = refused(recipe(file))
    assert "the validation split is empty" in message
    assert "dataset.validation_share=0.1" in message
    assert len(recipe(file, validation_share=0.25).load("validation", rounds=1, seed=0).pairs[0]) == 2


def test_shares_that_leave_nothing_to_train_on_are_refused() -> None:
    with pytest.raises(ValueError, match="leave no training pairs"):
        recipe(Path("x.csv"), validation_share=0.5, test_share=0.5)


# Rounds.


def test_every_round_has_all_pairs_or_draws_its_own(folder: Path) -> None:
    every = recipe(folder / "same.csv").load("train", rounds=2, seed=0)
    assert torch.equal(every.pairs[0], every.pairs[1])
    drawn = recipe(folder / "same.csv", train_pairs=10).load("train", rounds=2, seed=0)
    assert drawn.pairs.shape == (2, 10, 2)
    assert not torch.equal(drawn.pairs[0], drawn.pairs[1])
    assert len({tuple(pair) for pair in drawn.pairs[0].tolist()}) == 10


def test_too_many_pairs_name_the_most(folder: Path) -> None:
    assert "expected at most 42, the train pairs of same.csv" in refused(recipe(folder / "same.csv", train_pairs=43))


# Files that cannot be used.


def damaged(folder: Path) -> Path:
    file = with_splits(folder)
    (folder / "0a.png").write_bytes((folder / "0a.png").read_bytes()[:60])
    (folder / "4b.png").unlink()
    return file


def test_a_file_that_cannot_be_used_is_named_with_its_row_and_reason(tmp_path: Path) -> None:
    assert "pairs.csv, row 6: 4b.png is missing" in refused(recipe(damaged(tmp_path)))
    picture(tmp_path / "4b.png", 7)
    assert "pairs.csv, row 2: 0a.png cannot be decoded" in refused(recipe(tmp_path / "pairs.csv"))


def test_files_that_cannot_be_used_may_be_left_out_and_are_counted(tmp_path: Path) -> None:
    dataset = recipe(damaged(tmp_path), on_error="skip")
    assert {split: len(pool.pairs[0]) for split, pool in pools(dataset).items()} == {
        "train": 2, "validation": 2, "test": 3
    }  # fmt: skip
    (note,) = told(dataset)
    assert "2 of 18 images cannot be used and the 2 pairs with them are skipped" in note
    assert "row 2: 0a.png cannot be decoded" in note
    assert "row 6: 4b.png is missing" in note


def test_a_later_run_is_told_of_what_is_left_out_without_decoding(tmp_path: Path) -> None:
    dataset = recipe(damaged(tmp_path), on_error="skip")
    pools(dataset)
    notes: list[str] = []
    with heard_by(note=notes.append):
        dataset.digest()
    assert "2 of 18 images cannot be used" in notes[0]


def test_a_run_names_the_bad_image_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pairbench.cli import invoke

    arguments = ["run", "dataset=csv", f"dataset.path={damaged(tmp_path)}", "encoder=mlp", "--workers", "0", "-q"]
    assert invoke(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert "4b.png is missing" in error


def test_a_run_tells_what_was_left_out_even_when_it_is_quiet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pairbench.cli import invoke

    words = [
        "run",
        "dataset=csv",
        f"dataset.path={damaged(tmp_path)}",
        "dataset.on_error=skip",
        "dataset.image_size=10",
    ]
    words += ["encoder=mlp", "loss=cross_entropy", "train.rounds=1", "train.epochs=1"]
    for _ in range(2):
        assert invoke([*words, "--workers", "0", "--no-timing", "-q"]) == 0
        printed = capsys.readouterr()
        assert "2 of 18 images cannot be used" in printed.out
        assert "2 of 18 images cannot be used" in printed.err


# Digests.


def test_the_digest_changes_with_the_list_and_with_a_picture_and_not_with_the_place(tmp_path: Path) -> None:
    file = with_splits(tmp_path / "one")
    digest = recipe(file).digest()
    subprocess.run(["cp", "-r", tmp_path / "one", tmp_path / "two"], check=True)
    assert recipe(tmp_path / "two" / "pairs.csv").digest() == digest
    picture(tmp_path / "two" / "0a.png", 1)
    assert recipe(tmp_path / "two" / "pairs.csv").digest() != digest
    file.write_text(file.read_text().replace("0b.png,0", "0b.png,1"))
    assert recipe(file).digest() != digest


def test_where_the_files_lie_is_no_part_of_what_a_config_is(tmp_path: Path) -> None:
    from pairbench.config.run_config import resolve

    for place in "ab":
        with_splits(tmp_path / place)
    here, there = (
        resolve({"dataset": "csv", "dataset.path": f"{place}/pairs.csv", "dataset.root": str(place)})
        for place in (tmp_path / "a", tmp_path / "b")
    )
    assert here.config_id == there.config_id
