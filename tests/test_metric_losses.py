"""Losses on embeddings: equal to the library's own, trained with, and refused in one line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import config_of
from torch import nn

import pairbench
from pairbench.errors import MismatchError, SpecError
from pairbench.plugin.components import PairBatch, PairOutput, PairTask

KNOWN = PairTask("verification", (1, 4, 4), ("different", "same"), 2, 3)
UNKNOWN = PairTask("verification", (1, 4, 4), ("different", "same"))
PREFERENCE = PairTask("preference", (1, 4, 4), ("first", "second"), 3)


def loss_of(words: str, task: PairTask = KNOWN, size: int = 5) -> nn.Module:
    torch.manual_seed(0)
    return config_of(*words.split()).loss.build((task.views, size), task)


def batch(views: int = 2) -> tuple[PairOutput, PairBatch]:
    draw = torch.Generator().manual_seed(1)
    classes = torch.randint(3, (12, views), generator=draw)
    target = (classes[:, 0] == classes[:, 1]).long()
    embeddings = torch.randn(12, views, 5, generator=draw)
    return PairOutput(torch.randn(12, 2, generator=draw), embeddings), PairBatch(torch.zeros(0), target, classes)


@pytest.mark.parametrize("name", ["ContrastiveLoss", "TripletMarginLoss", "MultiSimilarityLoss", "NTXentLoss"])
def test_a_loss_of_the_library_is_the_library_s_own(name: str) -> None:
    from pytorch_metric_learning import losses

    comparison, examples = batch()
    _, terms = loss_of(f"loss=metric loss.name={name}")(comparison, examples)
    own = getattr(losses, name)()(comparison.embeddings.flatten(0, 1), examples.classes.flatten())
    assert torch.equal(terms["metric"], own)


def test_pairs_without_classes_are_positive_or_negative() -> None:
    comparison, examples = batch()
    _, terms = loss_of("loss=metric loss.options=[pos_margin=0,neg_margin=1]", UNKNOWN)(comparison, examples)
    unit = nn.functional.normalize(comparison.embeddings, dim=2)
    distance = (unit[:, 0] - unit[:, 1]).norm(dim=1)
    same = examples.target == 1
    parts = [distance[same], (1 - distance[~same]).clamp(min=0)]
    expected = sum(part[part > 0].mean() for part in parts if (part > 0).any())
    torch.testing.assert_close(terms["metric"], expected)


def test_the_hardest_triplet_of_each_image_counts() -> None:
    comparison, examples = batch()
    _, terms = loss_of("loss=triplet loss.margin=0.5")(comparison, examples)
    flat, classes = comparison.embeddings.flatten(0, 1), examples.classes.flatten()
    lost = []
    for row in range(len(flat)):
        far = [float((flat[row] - flat[k]).norm()) for k in range(len(flat)) if k != row and classes[k] == classes[row]]
        near = [float((flat[row] - flat[k]).norm()) for k in range(len(flat)) if classes[k] != classes[row]]
        lost.append(max(0.0, 0.5 + max(far) - min(near)))
    assert float(terms["triplet"]) == pytest.approx(sum(lost) / len(lost), rel=1e-5)


def test_a_preferred_candidate_is_to_be_nearer() -> None:
    module = loss_of("loss=triplet loss.margin=1", PREFERENCE)
    embeddings = torch.tensor([[[0.0], [3.0], [1.0]]])
    right, wrong = torch.tensor([1.0]), torch.tensor([0.0])
    logits = torch.zeros(1, 2)
    costs = [
        float(module(PairOutput(logits, embeddings), PairBatch(torch.zeros(0), t, torch.zeros(1, 3)))[1]["triplet"])
        for t in (right, wrong)
    ]
    assert costs == pytest.approx([0.0, 3.0], abs=1e-4)


@pytest.mark.parametrize(
    "words",
    [
        "loss=triplet",
        "loss=margin",
        "loss=metric",
        "loss=metric loss.name=ArcFaceLoss",
        "loss=metric loss.name=SubCenterArcFaceLoss",
        "loss=metric loss.name=ProxyAnchorLoss",
        "loss=metric loss.name=SupConLoss",
        "loss=metric loss.name=CircleLoss",
    ],
)
def test_a_model_trains_on_it(words: str, tmp_path: Path) -> None:
    small = ("dataset.train_pairs=32", "dataset.validation_pairs=16", "dataset.test_pairs=16", "encoder.hidden=[8]")
    results = pairbench.run(
        "dataset=digit_pairs encoder=mlp head=cosine train.epochs=1 train.rounds=1",
        *small,
        *words.split(),
        store=tmp_path,
        workers=0,
        timing=False,
    )
    assert results[0].records[0]["status"] == "finished"


@pytest.mark.parametrize(
    ("words", "task", "message"),
    [
        ("loss=metric loss.name=ContrastivLoss", KNOWN, "Did you mean ContrastiveLoss"),
        ("loss=metric loss.name=nonsense", KNOWN, "There are AngularLoss"),
        ("loss=metric loss.options=[colour=1]", KNOWN, r"rejects loss\.options: .*colour"),
        ("loss=metric loss.name=ProxyAnchorLoss", UNKNOWN, "learns a proxy for each class"),
        ("loss=triplet", UNKNOWN, "loss=contrastive or loss=margin"),
        ("loss=margin", PREFERENCE, "got 'preference'"),
        ("loss=metric", PREFERENCE, "has neither"),
    ],
)
def test_what_does_not_fit_is_one_line(words: str, task: PairTask, message: str) -> None:
    with pytest.raises(MismatchError, match=message) as caught:
        loss_of(words, task)
    assert "\n" not in str(caught.value)


def test_a_missing_package_tells_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_metric_learning", None)
    with pytest.raises(MismatchError, match=r'pip install "pairbench\[metric\]"'):
        loss_of("loss=metric")


def test_an_option_of_the_loss_is_written_by_its_name() -> None:
    config = config_of("loss=metric", "loss.name=SupConLoss", "loss.options=[temperature=0.2]")
    assert "loss.name=SupConLoss" in config.words()
    with pytest.raises(SpecError):
        config_of("loss=metric", "loss.loss_name=SupConLoss")
    values: dict[str, Any] = config.loss.values()
    assert values == {"name": "SupConLoss", "options": {"temperature": 0.2}, "answer_weight": 1.0}
