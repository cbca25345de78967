"""Lists and folders as people have them: each is read rightly, or refused with the way out."""

from __future__ import annotations

import csv
import json
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import class_folders, listed, picture
from PIL import Image

import pairbench
from pairbench import DataError
from pairbench.cli import invoke
from pairbench.plugin.notify import heard_by
from pairbench_images.csv_pairs import CsvPairs
from pairbench_images.image_folder import ImageFolder

SPLITS = ("train", "validation", "test")
HEADER = "first,second,label,split"


def names(count: int = 12) -> list[tuple[str, str]]:
    return [(f"p{number}_1.png", f"p{number}_2.png") for number in range(count)]


def pictures(folder: Path, files: Sequence[str]) -> None:
    for number, name in enumerate(files):
        picture(folder / name, 700 + number)


def rows(pairs: Sequence[tuple[str, str]]) -> list[tuple[object, ...]]:
    """A row for each pair: both answers in each split."""
    return [(*pair, number % 2, SPLITS[number // 2 % 3]) for number, pair in enumerate(pairs)]


def set_of(folder: Path, text: str = "", **options: Any) -> CsvPairs:
    """Twelve pairs whose pictures are there, listed as `text` says, or plainly."""
    pictures(folder, [name for pair in names() for name in pair])
    file = folder / "pairs.csv"
    plain = "\n".join([HEADER, *(",".join(map(str, row)) for row in rows(names()))])
    file.write_text((text or plain) + "\n", encoding="utf-8")
    return CsvPairs(**{"path": str(file), "image_size": 8, **options})


def load(dataset: pairbench.PairDataset) -> tuple[dict[str, pairbench.PairPool], list[str]]:
    """The pools of a dataset and what it says of them."""
    notes: list[str] = []
    with heard_by(note=notes.append):
        found = {split: dataset.load(split, rounds=1, seed=0) for split in SPLITS}  # type: ignore[arg-type]
    return found, list(dict.fromkeys(notes))


def equal(first: pairbench.PairDataset, second: pairbench.PairDataset) -> bool:
    pools, others = load(first)[0], load(second)[0]
    return all(
        (pools[split].images[pools[split].pairs] == others[split].images[others[split].pairs]).all() for split in SPLITS
    )


@pytest.mark.parametrize("cell", [" {}", "{} ", "\t{}", ' "{}"'])
def test_space_around_a_name_is_no_part_of_it(cell: str, tmp_path: Path) -> None:
    lines = [HEADER, *(",".join([cell.format(a), cell.format(b), f" {c}", f" {d}"]) for a, b, c, d in rows(names()))]
    assert equal(set_of(tmp_path / "spaced", "\n".join(lines)), set_of(tmp_path / "plain"))


def test_backslashes_of_windows_are_slashes(tmp_path: Path) -> None:
    pictures(tmp_path / "sub", [name for pair in names() for name in pair])
    lines = [HEADER, *(f"sub\\{a},sub\\{b},{c},{d}" for a, b, c, d in rows(names()))]
    assert equal(set_of(tmp_path, "\n".join(lines)), set_of(tmp_path / "plain"))


@pytest.mark.parametrize(("listed_as", "stored_as"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_are_found_however_they_are_composed(listed_as: Any, stored_as: Any, tmp_path: Path) -> None:
    accented = [(f"Jos\u00e9 {number}a.png", f"Jos\u00e9 {number}b.png") for number in range(12)]
    pictures(tmp_path, [unicodedata.normalize(stored_as, name) for pair in accented for name in pair])
    lines = [HEADER, *(",".join(map(str, row)) for row in rows(accented))]
    dataset = set_of(tmp_path, unicodedata.normalize(listed_as, "\n".join(lines)))
    assert len(load(dataset)[0]["train"].pairs[0]) == 4


def test_a_link_of_ones_own_is_followed_on_request(tmp_path: Path) -> None:
    dataset = set_of(tmp_path / "set")
    inside, store = tmp_path / "set" / "p0_1.png", tmp_path / "annex"
    store.mkdir()
    inside.rename(store / "object")
    inside.symlink_to(store / "object")
    with pytest.raises(DataError, match=r"row 2: .*by a symbolic link.*Set dataset\.links=owned"):
        load(dataset)
    followed = CsvPairs(path=dataset.path, image_size=8, links="owned")
    assert equal(followed, set_of(tmp_path / "plain"))
    if os.geteuid() == 0:
        os.lchown(inside, 12345, 12345)
        with pytest.raises(DataError, match="by a symbolic link that is not yours"):
            load(followed)


def test_a_comma_in_a_path_is_refused_with_the_quoting_and_read_with_it(tmp_path: Path) -> None:
    pictures(tmp_path, ["a, b.png"])
    plain = [HEADER, "a, b.png,p0_2.png,0,train", *(",".join(map(str, row)) for row in rows(names())[1:])]
    quoting = r'\. Quote paths that contain ",": "a, b\.png"'
    with pytest.raises(DataError, match=r"row 2: 5 fields: expected 4, as in the header" + quoting):
        load(set_of(tmp_path, "\n".join(plain)))
    quoted = [plain[0], '"a, b.png",p0_2.png,0,train', *plain[2:]]
    assert len(load(set_of(tmp_path, "\n".join(quoted)))[0]["train"].pairs[0]) == 4


@pytest.mark.parametrize(
    ("ids", "classes", "note"),
    [
        (("1", "2", "3"), [0, 1, 2], "the class ids 1, 2, 3 stand for classes 0 to 2"),
        (("7", "107", "20"), [0, 2, 1], "the class ids 7, 20, 107 stand for classes 0 to 2"),
        (("0", "2", "1"), [0, 2, 1], ""),
        (("0", "-1", "2"), [0, -1, 2], ""),
        (("cat", "-1", "dog"), [0, -1, 1], ""),
    ],
)
def test_class_ids_are_mapped_in_their_order_and_that_is_said(
    ids: tuple[str, ...], classes: list[int], note: str, tmp_path: Path
) -> None:
    pictures(tmp_path, [name for pair in names() for name in pair])
    lines = [(*row, ids[number % 3], "") for number, row in enumerate(rows(names()))]
    file = listed(tmp_path / "pairs.csv", (*HEADER.split(","), "first_class", "second_class"), lines)
    pools, notes = load(CsvPairs(path=str(file), image_size=8, num_classes=3))
    seen = {int(pool.classes[pool.pairs[0, place, 0]]) for pool in pools.values() for place in range(4)}
    assert seen == set(classes)
    assert [one for one in notes if "stand for" in one] == ([f"pairs.csv: {note}"] if note else [])


def test_loose_pictures_above_the_class_folders_are_counted_in_a_note(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "set")
    pictures(folder, ["loose.png", "another.JPG"])
    (folder / "readme.txt").write_text("none")
    _, notes = load(ImageFolder(path=str(folder), image_size=8, train_pairs=20))
    assert any("2 images lie beside the class folders" in note for note in notes)


def deep(folder: Path, bits: int) -> Path:
    """Twelve pairs of 16-bit pictures whose values use `bits` bits."""
    draw = np.random.default_rng(3)
    for name in [name for pair in names() for name in pair]:
        folder.mkdir(exist_ok=True)
        Image.fromarray(draw.integers(0, 2**bits, (8, 8)).astype(np.uint16)).save(folder / name)
    return listed(folder / "pairs.csv", HEADER.split(","), rows(names()))


def test_few_bits_in_16_bit_files_are_said_and_an_option_scales_them(tmp_path: Path) -> None:
    file = deep(tmp_path / "deep", 12)
    pools, notes = load(CsvPairs(path=str(file), image_size=8, color="gray"))
    assert any("set dataset.bits=12" in note for note in notes)
    assert pools["train"].images.max() <= 15
    pools, notes = load(CsvPairs(path=str(file), image_size=8, color="gray", bits=12))
    assert notes == []
    name = names()[0][0]
    wanted = np.asarray(Image.open(tmp_path / "deep" / name)) >> 4
    assert (pools["train"].images[pools["train"].pairs[0, 0, 0], 0].numpy() == wanted).all()
    with pytest.raises(DataError, match=r"takes more than 11 bits\. Raise dataset\.bits"):
        load(CsvPairs(path=str(file), image_size=8, color="gray", bits=11))


def test_one_answer_alone_is_refused_and_few_of_one_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(labels: dict[str, list[int]], folder: Path) -> tuple[int, str, str]:
        lines, count = [], 0
        for split, answers in labels.items():
            for label in answers:
                pair = (f"{count}a.png", f"{count}b.png")
                for side, name in enumerate(pair):
                    picture(folder / name, 5000 + 2 * count + side)
                lines.append((*pair, label, split))
                count += 1
        file = listed(folder / "pairs.csv", HEADER.split(","), lines)
        words = ["dataset=csv", f"dataset.path={file}", "dataset.image_size=8", "encoder=mlp", "loss=cross_entropy"]
        words += ["train.rounds=1", "train.epochs=1", "--workers", "0", "--no-timing", "--format", "json"]
        code = invoke(["run", *words])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    both = [0, 1] * 5
    code, _, error = run({"train": both, "validation": both, "test": [1] * 8}, tmp_path / "test")
    assert code == 2
    assert "all 8 test pairs have the answer 'same'" in error
    assert "Add pairs whose answer is 'different'" in error
    code, _, error = run({"train": [0] * 8, "validation": both, "test": both}, tmp_path / "train")
    assert code == 2
    assert "all 8 train pairs have the answer 'different'" in error
    code, out, error = run({"train": both, "validation": [1] * 4, "test": [0] * 29 + [1]}, tmp_path / "few")
    assert code == 0
    assert "1 of 30 test pairs has the answer 'same'" in error
    assert "cannot choose a threshold" in error
    metrics = json.loads(out)["results"][0]["summary"]
    assert "threshold" not in metrics or metrics["threshold"]["mean"] is None


def test_contradictions_and_repeats_are_said_with_their_rows(tmp_path: Path) -> None:
    lines = rows(names())
    lines[0] = (*names()[0], 0, "train")
    lines[1] = (*reversed(names()[0]), 1, "train")
    lines += [(*names()[2], 0, "validation")] * 41
    pictures(tmp_path, [name for pair in names() for name in pair])
    file = listed(tmp_path / "pairs.csv", HEADER.split(","), lines)
    _, notes = load(CsvPairs(path=str(file), image_size=8))
    assert any("1 pair has both answers, such as row 2 and row 3" in note for note in notes)
    assert any("one pair is listed 42 times (first in row 4)" in note for note in notes)


def test_dropping_most_pairs_is_said(tmp_path: Path) -> None:
    pictures(tmp_path, [f"{number}.png" for number in range(12)])
    lines = [(f"{a}.png", f"{b}.png", (a + b) % 2) for a in range(12) for b in range(a)]
    file = listed(tmp_path / "pairs.csv", ("first", "second", "label"), lines)
    _, notes = load(CsvPairs(path=str(file), image_size=8, across_splits="drop", validation_share=0.3, test_share=0.3))
    assert any("more than half of the pairs are left out, which leaves" in note for note in notes)


# What predict reads.


@pytest.fixture
def trained(tmp_path: Path) -> tuple[str, Path]:
    """A kept model of a list with names of columns and a delimiter of its own, and the list."""
    folder = tmp_path / "training"
    pictures(folder, [name for pair in names() for name in pair])
    file = folder / "list.csv"
    lines = ["left;right;answer;split", *(f"{a} ; {b};{c};{d}" for a, b, c, d in rows(names()))]
    file.write_text("\n".join(lines) + "\n")
    words = f"dataset=csv dataset.path={file} dataset.image_size=8 dataset.first=left dataset.second=right"
    more = "dataset.label=answer dataset.delimiter=semicolon encoder=mlp loss=cross_entropy train.rounds=1"
    results = pairbench.run(words, more, "train.epochs=1", workers=0, timing=False, keep_models=True)
    return str(results.models[results[0].config_id][0]), file


def test_the_list_that_a_model_was_trained_on_is_answered_as_it_is(
    trained: tuple[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    model, file = trained
    assert invoke(["predict", model, "--csv", str(file), "--format", "csv"]) == 0
    answers = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [(one["row"], one["first"], one["second"]) for one in answers] == [
        (str(number), *pair) for number, pair in enumerate(names(), 2)
    ]


def test_predict_counts_rows_as_run_does(
    trained: tuple[str, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    model, file = trained
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:2], "", lines[2].replace("p1_1.png", "gone.png"), *lines[3:]]) + "\n")
    assert invoke(["predict", model, "--csv", str(file)]) == 2
    predicted = capsys.readouterr().err
    words = [f"dataset.path={file}", "dataset.first=left", "dataset.second=right", "dataset.label=answer"]
    assert invoke(["run", "dataset=csv", *words, "dataset.delimiter=semicolon", "--workers", "0"]) == 2
    assert "list.csv, row 4: gone.png is missing" in capsys.readouterr().err
    assert "list.csv, row 4: " in predicted
    assert "gone.png" in predicted


def test_words_read_a_list_that_is_unlike_the_one_of_training(
    trained: tuple[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    model, file = trained
    other = file.parent / "other.csv"
    other.write_text("a,b\n" + "".join(f"{a},{b}\n" for a, b in names(3)))
    words = ["dataset.first=a", "dataset.second=b", "dataset.delimiter=comma"]
    assert invoke(["predict", model, *words, "--csv", str(other), "--format", "json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["answers"]) == 3
    assert invoke(["predict", model, "dataset.first=c", "dataset.delimiter=comma", "--csv", str(other)]) == 2
    assert "other.csv has no column 'c'" in capsys.readouterr().err
    assert invoke(["predict", model, "dataset.frist=c", "--csv", str(other)]) == 2
    assert "Did you mean 'first'" in capsys.readouterr().err


def test_predict_takes_images_as_large_as_training_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = set_of(tmp_path)
    words = f"dataset=csv dataset.path={dataset.path} dataset.image_size=8 encoder=mlp loss=cross_entropy"
    options = "train.rounds=1 train.epochs=1"
    found = pairbench.run(words, options, "dataset.max_pixels=150000000", workers=0, timing=False, keep_models=True)
    small = pairbench.run(words, options, "dataset.max_pixels=100", workers=0, timing=False, keep_models=True)
    Image.new("1", (12_000, 10_000)).save(tmp_path / "large.png")
    for results, code in ((found, 0), (small, 2)):
        model = str(results.models[results[0].config_id][0])
        assert invoke(["predict", model, str(tmp_path / "large.png"), str(tmp_path / "p0_1.png")]) == code
    assert "has more than 100 pixels" in capsys.readouterr().err
