"""Answers of a kept model: from the command line, from a file of pairs, and in Python."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

import pairbench
from pairbench import DataError, SpecError
from pairbench.cli import invoke
from pairbench.model.predictor import Model, opened_model

pytestmark = pytest.mark.usefixtures("tiny_registry")
WORDS = (*tiny.SPECS, "train.rounds=1", "train.epochs=1")


def kept(*words: str) -> str:
    results = pairbench.run(*WORDS, *words, workers=0, timing=False, keep_models=True)
    return str(results.models[results[0].config_id][0])


@pytest.fixture
def model(tiny_registry: object) -> Model:
    return opened_model(kept())


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with four gray pictures, a file of pairs over them, and a file that is no picture."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(4):
        Image.fromarray(np.full((4, 4), 20 * number, np.uint8)).save(folder / f"{number}.png")
    (folder / "bad.png").write_bytes(b"no picture")
    (folder / "pairs.csv").write_text("note,second,first\nx,1.png,0.png\ny,3.png,2.png\nz,0.png,1.png\n")
    return folder


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = invoke(["predict", *arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_two_files_get_an_answer_with_probabilities(
    model: Model, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(pictures / "0.png"), str(pictures / "3.png")]
    code, out, _ = said(capsys, str(model.kept.path), *files, "--format", "json")
    found = json.loads(out)
    answer = model(*files)
    assert code == 0
    assert found["answers"] == [
        {
            "row": 1,
            "images": files,
            "answer": answer.answer,
            "probabilities": answer.probabilities,
            "logits": list(answer.logits),
        }
    ]
    assert found["model"]["config_id"] == model.config.config_id


def test_the_rows_of_a_file_are_answered_in_their_order(
    model: Model, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = said(capsys, model.config.config_id, "--csv", str(pictures / "pairs.csv"), "--format", "csv")
    rows = list(csv.DictReader(out.splitlines()))
    assert code == 0
    assert [(row["first"], row["second"]) for row in rows] == [
        ("0.png", "1.png"),
        ("2.png", "3.png"),
        ("1.png", "0.png"),
    ]
    for row in rows:
        answer = model(pictures / row["first"], pictures / row["second"])
        assert row["answer"] == answer.answer
        assert float(row["probability_at_most"]) == pytest.approx(answer.probabilities["at_most"], abs=1e-6)


def test_each_image_of_a_file_is_read_once(model: Model, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    before = Model.pixels
    monkeypatch.setattr(Model, "pixels", lambda self, image: (read.append(str(image)), before(self, image))[1])
    assert invoke(["predict", str(model.kept.path), "--csv", str(pictures / "pairs.csv"), "-q"]) == 0
    assert sorted(read) == [str(pictures / f"{number}.png") for number in range(4)]


def test_a_bad_image_is_named_with_its_row(model: Model, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = pictures / "pairs.csv"
    table.write_text(table.read_text() + "w,bad.png,0.png\n")
    code, out, err = said(capsys, str(model.kept.path), "--csv", str(table))
    assert (code, out) == (2, "")
    assert "pairs.csv, row 5: image" in err
    assert err.count("\n") == 1


def test_a_bad_image_may_be_skipped(model: Model, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = pictures / "pairs.csv"
    table.write_text("first,second\nbad.png,0.png\n1.png,0.png\n")
    out_file = pictures / "out.csv"
    code, out, err = said(capsys, str(model.kept.path), "--csv", str(table), "--on-error", "skip", "-o", str(out_file))
    assert (code, out.strip()) == (0, str(out_file))
    assert "row 2 is skipped" in err
    assert [row["row"] for row in csv.DictReader(out_file.read_text().splitlines())] == ["3"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "no column 'first'"),
        ("first,second\n", "no rows"),
        ("first,second\n0.png,\n", "row 2: expected an image"),
        ("", "is empty: expected a CSV file"),
        ("first,second\n0.png,nothing.png\n", "row 2: image .*nothing.png cannot be read"),
    ],
)
def test_a_bad_file_of_pairs_is_one_line(
    model: Model, pictures: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    (pictures / "pairs.csv").write_text(text)
    code, _, err = said(capsys, str(model.kept.path), "--csv", str(pictures / "pairs.csv"))
    assert code == 2
    assert err.count("\n") == 1
    with pytest.raises(AssertionError if not err else pairbench.PairbenchError, match=message):
        raise pairbench.PairbenchError(err)


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(model: Model, tmp_path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    with pytest.raises(DataError, match="more than 100000000 pixels"):
        model(tmp_path / "bomb.png", tmp_path / "bomb.png")


def test_every_form_of_an_image_gets_the_same_answer(model: Model, pictures: Path) -> None:
    first, second = (pictures / name for name in ("0.png", "3.png"))
    arrays = [np.asarray(Image.open(file)) for file in (first, second)]
    forms = [
        (str(first), second),
        tuple(Image.open(file) for file in (first, second)),
        tuple(arrays),
        tuple(array[:, :, None] for array in arrays),
        tuple(torch.tensor(array)[None] for array in arrays),
        tuple(np.stack([array] * 3, axis=2) for array in arrays),
    ]
    answers = [model(*form) for form in forms]
    assert all(answer == answers[0] for answer in answers)


def test_a_batch_gets_the_answers_of_its_examples(model: Model) -> None:
    images = torch.randint(0, 255, (5, 1, 4, 4), dtype=torch.uint8)
    together = model(images, images.flip(0))
    alone = [model(first, second) for first, second in zip(images, images.flip(0), strict=True)]
    assert [answer.answer for answer in together] == [answer.answer for answer in alone]
    assert torch.allclose(together.logits, torch.tensor([answer.logits for answer in alone]), atol=1e-6)
    assert model.compare(list(zip(images, images.flip(0), strict=True))).answers == together.answers


def test_a_larger_picture_is_brought_to_the_models_size(model: Model) -> None:
    small = model.pixels(np.full((40, 60, 3), 77, np.uint8))
    assert small.tolist() == torch.full((1, 4, 4), 77).tolist()


def test_test_time_copies_do_not_depend_on_what_is_asked_beside(tiny_registry: object) -> None:
    model = opened_model(kept("train.augment=[rotate=20]", "train.tta=3", "train.members=2"))
    images = torch.randint(0, 255, (6, 1, 4, 4), dtype=torch.uint8)
    together = model(images[:3], images[3:])
    assert torch.allclose(together[:1].logits, model(images[:1], images[3:4]).logits, atol=1e-6)
    assert torch.allclose(model.network(torch.stack([images[:3], images[3:]], 1)), together.logits, atol=1e-6)


def test_embeddings_are_those_of_the_encoder(model: Model) -> None:
    images = torch.randint(0, 255, (3, 1, 4, 4), dtype=torch.uint8)
    wanted = model.kept.members[0].encoders[0](images.float() / 255)
    assert torch.allclose(model.embed(images), wanted, atol=1e-6)
    assert torch.allclose(model.embed(images[1]), wanted[1], atol=1e-6)


def test_two_channels_have_no_embedding_of_one_image(tiny_registry: object) -> None:
    with pytest.raises(SpecError, match="two_channel"):
        opened_model(kept("pairing=two_channel")).embed(torch.zeros(1, 1, 4, 4, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ((np.zeros((4, 4), np.uint8),), "1 images were given: expected two"),
        ((np.zeros((4, 4)), np.zeros((4, 4))), "of float64: expected"),
        ((object(), object()), "an image is object"),
        (([], np.zeros((4, 4), np.uint8)), "both a single image and a batch"),
        ((torch.zeros(1, 4, 4), torch.zeros(1, 4, 4)), "torch.float32"),
    ],
)
def test_what_is_no_image_is_refused(model: Model, images: tuple[object, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        model(*images)


def test_output_to_a_pipe_or_through_a_link_replaces_neither(tmp_path: Path) -> None:
    import os
    import stat
    import threading

    from pairbench.errors import StoreError
    from pairbench.model.pair_tables import write_whole

    folder = tmp_path / "folder"
    folder.mkdir()
    pipe, told = folder / "pipe", list[bytes]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: told.append(pipe.read_bytes()), daemon=True)
    reader.start()
    write_whole(pipe, b"answers")
    reader.join(20)
    assert told == [b"answers"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    (folder / "link").symlink_to("file")
    write_whole(folder / "link", b"answers")
    assert (folder / "link").is_symlink()
    assert (folder / "file").read_bytes() == b"answers"
    with pytest.raises(StoreError, match="cannot write"):
        write_whole(folder, b"answers")
    assert sorted(path.name for path in folder.iterdir()) == ["file", "link", "pipe"]
