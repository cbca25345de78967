"""Kept models: what is in the file, what is refused, and when a round is trained again for one."""

from __future__ import annotations

import json
import pickle
import struct
from pathlib import Path

import pytest
import tiny
import torch

import pairbench
from pairbench import DataError, SpecError
from pairbench.model.predictor import opened_model
from pairbench.plugin.registry import installed
from pairbench.store.model_files import described, find_model, sealed
from pairbench.store.store import Store

pytestmark = pytest.mark.usefixtures("tiny_registry")
WORDS = (*tiny.SPECS, "train.rounds=2", "train.epochs=1")


def run(*words: str, **options: object) -> pairbench.Results:
    return pairbench.run(*WORDS, *words, workers=0, timing=False, **options)  # type: ignore[arg-type]


def model_file(results: pairbench.Results, number: int = 0) -> Path:
    ((_, files),) = results.models.items()
    return files[number]


def test_each_round_has_its_model_beside_its_record(store: Store) -> None:
    results = run(keep_models=True)
    record = results[0].records[1]
    kept = described(model_file(results, 1))
    assert {part.suffix for part in model_file(results).parent.iterdir() if part.name[0] != "."} == {
        ".json",
        ".safetensors",
    }
    assert kept["metrics"] == record["metrics"]
    assert (kept["round"], kept["seed"], kept["config_id"]) == (1, record["seed"], record["config_id"])
    assert kept["code"] == record["provenance"]["code"]
    assert kept["scaling"]["normalize"] == "unit"
    assert kept["outcomes"] == ["greater", "at_most"]


def test_a_run_that_keeps_nothing_leaves_no_model(store: Store) -> None:
    assert run().models == {}
    assert not list(store.root.rglob("*.safetensors"))


def test_a_round_without_its_model_is_trained_again_and_its_record_stays(store: Store) -> None:
    before = {path: path.read_bytes() for path in (run()[0], store.root)[1].rglob("*.json")}
    results = run(keep_models=True)
    assert {path: path.read_bytes() for path in store.root.rglob("*.json")} == before
    assert any("2 rounds were in the store without a sound model" in note for note in results.notes)
    assert described(model_file(results))["metrics"] == results[0].records[0]["metrics"]


def test_a_kept_model_is_not_trained_again(store: Store) -> None:
    first = model_file(run(keep_models=True))
    before = first.stat().st_mtime_ns
    results = run(keep_models=True)
    assert first.stat().st_mtime_ns == before
    assert not any("again" in note for note in results.notes)


@pytest.mark.parametrize(
    "words",
    [
        ("train.members=2", "train.ema=0.5"),
        ("pairing=two_channel", "train.normalize=standard"),
        ("pairing=pseudo_siamese", "train.augment=[rotate=20]", "train.tta=2"),
        ("train.carry_over=true",),
        ("train.engine=stacked", "train.normalize=raw"),
    ],
    ids=" ".join,
)
def test_a_loaded_model_answers_the_test_pairs_as_its_record_says(store: Store, words: tuple[str, ...]) -> None:
    results = run("dataset.pairs=60", *words, keep_models=True)
    model = pairbench.load(model_file(results, 1))
    pool = model.config.dataset.load("test", rounds=2, seed=0)
    first, second = (list(pool.images[pool.pairs[1][:, view]]) for view in (0, 1))
    answers = model(first, second)
    loss = torch.nn.functional.cross_entropy(answers.logits, pool.target[1]).item()
    if "train.tta=2" not in words:
        assert loss == pytest.approx(results[0].records[1]["metrics"]["loss"], abs=1e-5)
    assert answers.probabilities.sum(1).tolist() == pytest.approx([1.0] * 60)


def damaged(content: bytes) -> dict[str, tuple[bytes, str]]:
    start = 8 + struct.unpack("<Q", content[:8])[0]
    table = json.loads(content[8:start])
    text = table["__metadata__"]["pairbench"]
    other = json.dumps(table | {"__metadata__": {"pairbench": text.replace('"round":0', '"round":1')}}).encode()
    return {
        "flipped": (content[:-3] + bytes([content[-3] ^ 1]) + content[-2:], "weights do not match their checksum"),
        "edited": (struct.pack("<Q", len(other)) + other + content[start:], "does not match its checksum"),
        "short": (content[: len(content) // 2], "truncated|weights do not match"),
        "empty": (b"", "truncated"),
        "huge header": (struct.pack("<Q", 2**60) + content[8:], "not a safetensors file"),
        "no JSON": (content[:8] + b"x" * (start - 8) + content[start:], "header is damaged"),
        "pickle": (pickle.dumps({"a": 1}), "pickle"),
        "checkpoint": (b"PK\x03\x04" + content, "pickle"),
        "not ours": (struct.pack("<Q", 2) + b"{}", "not a model saved by pairbench"),
    }


def test_a_damaged_or_foreign_file_is_refused_in_one_line(store: Store, tmp_path: Path) -> None:
    content = model_file(run(keep_models=True)).read_bytes()
    for name, (wrong, message) in damaged(content).items():
        file = tmp_path / f"{name}.safetensors"
        file.write_bytes(wrong)
        with pytest.raises(DataError, match=message) as error:
            opened_model(str(file))
        assert "\n" not in str(error.value)


def test_a_damaged_model_is_made_anew_by_the_next_run_that_keeps(store: Store) -> None:
    file = model_file(run(keep_models=True))
    whole = file.read_bytes()
    file.write_bytes(whole[:-10])
    run(keep_models=True)
    assert described(file)["weights"] == described(model_file(run(keep_models=True)))["weights"]


def by_other_code(file: Path, to: Path) -> Path:
    """A copy of a model, written by a core with other code."""
    content, description = file.read_bytes(), described(file)
    start = 8 + struct.unpack("<Q", content[:8])[0]
    description["code"]["core"]["source"] = "other"
    metadata = {"__metadata__": sealed(description, description["weights"])}
    header = json.dumps(json.loads(content[8:start]) | metadata).encode()
    to.write_bytes(struct.pack("<Q", len(header)) + header + content[start:])
    return to


def test_a_model_whose_code_has_changed_warns(store: Store, tmp_path: Path) -> None:
    file = by_other_code(model_file(run(keep_models=True)), tmp_path / "older.safetensors")
    with pytest.warns(UserWarning, match="the code of core .* has changed"):
        pairbench.load(file)


def test_a_model_is_found_by_its_config_and_round(store: Store) -> None:
    results = run(keep_models=True)
    name = results[0].config_id
    for handle, number in ((f"{name}/1", 1), (name, 0), (" ".join(WORDS), 0), (str(model_file(results)), 0)):
        assert find_model(handle, store, installed()) == model_file(results, number)


@pytest.mark.parametrize("handle", ["nothing", "0123456789ab", "0123456789ab/3", "loss=tiny_loss", "a\0b"])
def test_a_model_that_is_not_there_is_named(store: Store, handle: str) -> None:
    with pytest.raises(SpecError, match="model"):
        find_model(handle, store, installed())
