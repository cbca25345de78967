"""Exports: their answers equal the original's, and what differs from the model is not written."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from torch import nn

import pairbench
from pairbench import SpecError
from pairbench.cli import invoke
from pairbench.model.export import SUFFIXES, TOLERANCE, ExportError, exported
from pairbench.model.predictor import Model, opened_model

FEW = ("dataset.train_pairs=64", "dataset.validation_pairs=16", "dataset.test_pairs=70", "train.rounds=1")
# Each bundled encoder and head at least once, and each pairing, scaling and kind of average.
BUNDLED = [
    "encoder=cnn",
    "encoder=deep_cnn head=posterior",
    "encoder=pooled_cnn head=concat_mlp train.ema=0.5",
    "encoder=elman_rnn pairing=pseudo_siamese train.normalize=standard",
    "encoder=mlp pairing=two_channel loss=cross_entropy",
    "encoder=wide_cnn train.members=2 train.augment=[rotate=10,elastic=1] train.tta=2",
    "encoder=residual_cnn loss.classifier=linear train.normalize=raw",
]


def kept(*words: str) -> Model:
    results = pairbench.run(*words, "train.epochs=1", workers=0, timing=False, keep_models=True)
    return opened_model(str(results.models[results[0].config_id][0]))


@pytest.fixture
def model(tiny_registry: object) -> Model:
    return kept(*tiny.SPECS, "train.rounds=1", "dataset.pairs=70")


@pytest.mark.parametrize("spec", BUNDLED)
def test_onnx_answers_as_the_model_does(spec: str, tmp_path: Path) -> None:
    import onnxruntime

    model = kept(*spec.split(), *FEW)
    report = exported(model, "onnx", tmp_path / "model.onnx")
    assert report["pairs"] == 70
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    for count in (1, 9):
        images = torch.randint(0, 256, (count, 2, *model.task.image_shape), dtype=torch.uint8)
        logits, probabilities = session.run(["logits", "probabilities"], {"images": images.numpy()})
        wanted = model(images[:, 0], images[:, 1])
        np.testing.assert_allclose(logits, wanted.logits, atol=TOLERANCE, rtol=TOLERANCE)
        np.testing.assert_allclose(probabilities, wanted.probabilities, atol=TOLERANCE)
    about = json.loads(session.get_modelmeta().custom_metadata_map["pairbench"])
    assert about["outcomes"] == list(model.outcomes)
    assert about["config_id"] == model.config.config_id


def test_torch_export_answers_as_the_model_does(model: Model, tmp_path: Path) -> None:
    report = exported(model, "torch_export", tmp_path / "model.pt2")
    module = torch.export.load(tmp_path / "model.pt2").module()
    images = torch.randint(0, 256, (5, 2, 1, 4, 4), dtype=torch.uint8)
    assert torch.allclose(module(images)[0], model(images[:, 0], images[:, 1]).logits, atol=TOLERANCE)
    assert report["max_difference"] <= TOLERANCE


class Fickle(nn.Module):
    """A network that computes something else while it is exported, as code for tracers sometimes does."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(images)
        return logits + 1 if torch.compiler.is_compiling() else logits


@pytest.mark.parametrize("to", ["torch_export", "onnx"])
def test_an_export_that_answers_otherwise_is_not_written(model: Model, tmp_path: Path, to: str) -> None:
    (folder := tmp_path / "exports").mkdir()
    model.network = Fickle(model.network)
    with pytest.raises(ExportError, match="differs from the model"):
        exported(model, to, folder / f"model{SUFFIXES[to]}")
    assert list(folder.iterdir()) == []


def test_a_missing_package_is_named_with_the_command(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(SpecError, match=r"needs onnxscript\. Run: pip install 'pairbench\[onnx\]'"):
        exported(model, "onnx", tmp_path / "model.onnx")


def test_the_command_says_what_was_checked(model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "model.pt2"
    code = invoke(["export", str(model.kept.path), "--to", "torch_export", "-o", str(file), "--format", "json"])
    found = json.loads(capsys.readouterr().out)
    assert code == 0
    assert (found["file"], found["pairs"]) == (str(file), 70)


@pytest.mark.parametrize("name", ["model.onnx", "nowhere/model.pt2"])
def test_a_wrong_name_is_refused(model: Model, tmp_path: Path, name: str) -> None:
    with pytest.raises(SpecError, match="--output"):
        exported(model, "torch_export", tmp_path / name)
