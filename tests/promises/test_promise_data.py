"""Promise 7, the data: what names one data set never answers from another, whatever door it comes through.

Two lists of the same pairs with opposite answers are run into one store, and then everything is asked of each.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pictures import class_folders, listed, picture

import pairbench
from pairbench.cli import invoke
from pairbench.store.model_files import described

TRAINING = "encoder=mlp encoder.hidden=[16] encoder.embedding_dim=8 head=concat_mlp loss=cross_entropy train.epochs=12"
OPTIONS = f"{TRAINING} train.rounds=2 train.normalize=standard train.device=cpu dataset.image_size=8"
SPLITS = ("train", "validation", "test")


def lists(folder: Path) -> tuple[str, str]:
    """The words of two lists over the same pictures, labels inverted in the second."""
    rows: list[tuple[object, ...]] = []
    for number in range(60):
        first, second = f"{number}a.png", f"{number}b.png"
        picture(folder / first, number)
        picture(folder / second, 500 + number)
        rows.append((first, second, number % 2, SPLITS[number // 2 % 3]))
    header = ("first", "second", "label", "split")
    listed(folder / "a.csv", header, rows)
    listed(folder / "b.csv", header, [(*row[:2], 1 - int(str(row[2])), row[3]) for row in rows])
    return tuple(f"dataset=csv dataset.path={folder}/{name}.csv" for name in "ab")  # type: ignore[return-value]


def folders(folder: Path) -> tuple[str, str]:
    """The words of two folders with the same classes and other pictures."""
    found = []
    for name in "ab":
        class_folders(folder / name, count=12, classes=("one", "two"))
        picture(folder / name / "one" / "extra.png", ord(name))
        found.append(f"dataset=image_folder dataset.path={folder / name} dataset.train_pairs=20 dataset.test_pairs=20")
    return found[0], found[1]


@pytest.fixture(params=[lists, folders], ids=["csv", "image_folder"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """Words of two data sets that differ by their content alone, each run with its models kept."""
    make: Callable[[Path], tuple[str, str]] = request.param
    words = make(tmp_path / "data")
    for one in words:
        pairbench.run(one, OPTIONS, keep_models=True, workers=0, timing=False)
    return words


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any, str]:
    code = invoke([*arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def spec(words: str) -> str:
    return f"{words} {OPTIONS}"


def test_a_config_id_counts_the_data(both: tuple[str, str]) -> None:
    results = [pairbench.run(words, OPTIONS, workers=0, timing=False) for words in both]
    first, second = (one[0].config_id for one in results)
    assert first != second
    assert [len(one[0].records) for one in results] == [2, 2]
    data = [{record["provenance"]["data"] for record in one[0].records} for one in results]
    assert data[0].isdisjoint(data[1])


def test_models_are_found_by_the_data_that_a_spec_names(
    both: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digests = [pairbench.run(words, OPTIONS, workers=0, timing=False)[0] for words in both]
    wanted = [one.records[0]["provenance"]["data"] for one in digests]
    ids = [one.config_id for one in digests]
    for place, words in enumerate(both):
        model = pairbench.load(spec(words))
        assert model.description["data"] == wanted[place]
        assert model.description["config_id"] == ids[place]
        assert pairbench.load(f"{ids[place]}/0").description["data"] == wanted[place]
        picture(tmp_path / "x.png", 1)
        code, out, _ = said(capsys, "predict", spec(words), *[str(tmp_path / "x.png")] * 2, "--format", "json")
        assert code == 0
        assert described(Path(json.loads(out)["model"]["path"]))["data"] == wanted[place]
        code, _, _ = said(capsys, "export", spec(words), "--to", "torch_export", "-o", str(tmp_path / f"{place}.pt2"))
        assert code == 0


def test_results_are_found_by_the_data_that_a_spec_names(
    both: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    heads = [words.replace("head=concat_mlp", "head=absolute_difference") for words in map(spec, both)]
    for words in heads:
        pairbench.run(words, workers=0, timing=False)
    runs = [
        [pairbench.run(words, workers=0, timing=False)[0] for words in (spec(b), h)]
        for b, h in zip(both, heads, strict=True)
    ]
    for place, words in enumerate(both):
        found = pairbench.compare(spec(words), heads[place])
        assert [one.config_id for one in found.results] == [one.config_id for one in runs[place]]
        means = [one.summary["accuracy"].mean for one in runs[place]]
        assert found.verdicts[0, 1].difference.mean == pytest.approx(means[0] - means[1])
    code, _, error = said(capsys, "compare", spec(both[0]), spec(both[1]))
    assert code == 2
    assert "cannot be compared" in error


def test_the_leaderboard_plot_and_report_keep_data_sets_apart(
    both: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = said(capsys, "leaderboard", "--format", "json")
    assert code == 0
    found = json.loads(out)["results"]
    assert len({one["config_id"] for one in found}) == 2
    for words in both:
        code, _, _ = said(capsys, "plot", spec(words), "--out", str(tmp_path / "one.svg"))
        assert code == 0
        code, _, _ = said(capsys, "report", spec(words), "--out", str(tmp_path / "one.html"))
        assert code == 0


def test_a_grid_over_data_sets_is_two_configs(tmp_path: Path) -> None:
    first, second = lists(tmp_path / "data")
    path = first.partition("dataset.path=")[2]
    results = pairbench.run(
        f"dataset=csv dataset.path={path},{second.partition('dataset.path=')[2]}", OPTIONS, workers=0, timing=False
    )
    assert len(results) == 2
    again = pairbench.run(first, OPTIONS, workers=0, timing=False)
    assert again[0].summary == results[0].summary
    assert again[0].config_id == results[0].config_id != results[1].config_id


def test_two_names_of_the_same_data_are_the_same_config(tmp_path: Path) -> None:
    first, _ = lists(tmp_path / "data")
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    done = pairbench.run(first, OPTIONS, workers=0, timing=False)
    moved = first.replace(f"{tmp_path}/data", f"{tmp_path}/copy")
    assert pairbench.run(moved, OPTIONS, workers=0, timing=False)[0].records == done[0].records
    with pytest.raises(pairbench.SpecError, match="are the same config"):
        pairbench.run(
            f"dataset=csv dataset.path={tmp_path}/data/a.csv,{tmp_path}/copy/a.csv", OPTIONS, workers=0, timing=False
        )


def test_a_list_that_is_edited_is_another_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, _ = lists(tmp_path / "data")
    before = pairbench.run(first, OPTIONS, keep_models=True, workers=0, timing=False)
    file = tmp_path / "data" / "a.csv"
    rows = list(csv.reader(file.read_text().splitlines()))
    rows[1][2] = str(1 - int(rows[1][2]))
    listed(file, rows[0], rows[1:])
    code, _, error = said(
        capsys, "predict", spec(first), str(tmp_path / "data" / "0a.png"), str(tmp_path / "data" / "0b.png")
    )
    assert code == 2
    assert "no saved model" in error
    after = pairbench.run(first, OPTIONS, workers=0, timing=False)
    assert after[0].config_id != before[0].config_id


def test_a_spec_whose_data_are_gone_says_how_else_to_name_the_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, _ = lists(tmp_path / "data")
    found = pairbench.run(first, OPTIONS, keep_models=True, workers=0, timing=False)
    shutil.rmtree(tmp_path / "data")
    picture(tmp_path / "x.png", 1)
    code, _, error = said(capsys, "predict", spec(first), *[str(tmp_path / "x.png")] * 2)
    assert code == 2
    assert "or name it by config_id" in error
    code, _, _ = said(capsys, "predict", found[0].config_id, *[str(tmp_path / "x.png")] * 2)
    assert code == 0
