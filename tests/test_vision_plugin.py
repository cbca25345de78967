"""Pairs of the bundled digits and of torchvision's sets: what is asked, what is right, and what is kept apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import config_of
from sets import torchvision_folder

import pairbench
from pairbench.config.run_config import RunConfig
from pairbench.data.round_data import check_pool, shared_images
from pairbench.errors import DataError
from pairbench.plugin.components import SPLITS, PairPool

SETS = [
    "dataset=digit_pairs",
    "dataset=digit_pairs dataset.task=preference",
    "dataset=digit_pairs dataset.task=ordering dataset.size=28",
    "dataset=torchvision dataset.source=FashionMNIST",
    "dataset=torchvision dataset.source=FashionMNIST dataset.task=ordering dataset.image_size=10",
    "dataset=lfw_pairs dataset.image_size=10",
    "dataset=photo_tour",
    "dataset=omniglot",
]


def config(words: str) -> RunConfig:
    root = [] if "digit" in words else [f"dataset.root={torchvision_folder()}"]
    return config_of(*words.split(), *root, "loss=cross_entropy", "encoder=mlp")


def pools(words: str, rounds: int = 2) -> dict[str, PairPool]:
    dataset = config(words).dataset
    return {split: dataset.load(split, rounds=rounds, seed=0) for split in SPLITS}


@pytest.mark.parametrize("words", SETS)
def test_a_set_keeps_its_promises_and_its_splits_apart(words: str) -> None:
    dataset, found = config(words).dataset, pools(words)
    for pool in found.values():
        check_pool(pool, dataset.task, 2, dataset.name)
        first = pool.pairs[..., 0]
        assert all(bool((first != pool.pairs[..., view]).all()) for view in range(1, dataset.task.views))
    assert shared_images(found) == ""
    assert dataset.digest()


def test_same_and_different_digits_are_as_frequent() -> None:
    pool = pools("dataset=digit_pairs")["train"]
    classes = pool.classes[pool.pairs]
    assert torch.equal((classes[..., 0] == classes[..., 1]).long(), pool.target)
    assert 0.45 < pool.target.float().mean() < 0.55


def test_the_preferred_digit_is_that_of_the_reference() -> None:
    pool = pools("dataset=digit_pairs dataset.task=preference")["test"]
    reference, first, second = pool.classes[pool.pairs].unbind(dim=-1)
    assert torch.equal(torch.where(pool.target == 1, second, first), reference)
    assert not (first == second).any()


def test_an_order_of_classes_is_at_most_where_they_are_equal() -> None:
    pool = pools("dataset=torchvision dataset.source=FashionMNIST dataset.task=ordering")["train"]
    first, second = pool.classes[pool.pairs].unbind(dim=-1)
    assert torch.equal((first <= second).long(), pool.target)


def test_an_image_of_the_test_set_is_left_out_of_training() -> None:
    found = pools("dataset=torchvision dataset.source=FashionMNIST")
    assert [len(found[split].images) for split in SPLITS] == [99, 20, 40]


def test_faces_have_ten_folds_or_as_many_as_the_list_has() -> None:
    found = pools("dataset=lfw_pairs dataset.image_size=10")
    assert found["test"].folds is not None
    assert found["test"].folds[0].tolist() == [0, 0, 1, 1]
    assert found["test"].target[0].tolist() == [1, 0, 1, 0]
    assert found["train"].folds is None
    # One pair of view 1 shares an image with view 2.
    assert len(found["train"].pairs[0]) == 3


def test_no_character_of_omniglot_is_in_two_splits() -> None:
    words = "dataset=omniglot"
    assert [len(pool.images) for pool in pools(words).values()] == [24, 6, 15]


@pytest.mark.parametrize("name", ["lfw_pairs", "photo_tour", "omniglot", "torchvision dataset.source=SVHN"])
def test_a_set_that_is_not_there_is_one_line_and_nothing_is_left(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    import torchvision.datasets as sets

    for module in (sets.omniglot, sets.svhn, sets.phototour):
        for call in ("download_url", "download_and_extract_archive"):
            monkeypatch.setattr(module, call, offline, raising=False)
    root = tmp_path / "gone"
    with pytest.raises(DataError, match=r"dataset\.root") as caught:
        config_of(f"dataset={name.split()[0]}", *name.split()[1:], f"dataset.root={root}").dataset.digest()
    assert "\n" not in str(caught.value)
    assert not root.exists()


def test_faces_are_scored_fold_by_fold(tmp_path: Path) -> None:
    words = config("dataset=lfw_pairs dataset.image_size=8 head=cosine").words()
    results = pairbench.run(*words, "train.rounds=1", "train.epochs=1", store=tmp_path, workers=0, timing=False)
    figures = results[0].records[0]["metrics"]
    assert 0 <= figures["fold_accuracy"] <= 1
    assert figures["fold_accuracy_std"] >= 0


def test_a_class_of_one_image_is_named() -> None:
    from pairbench_vision.drawing import Drawer

    with pytest.raises(DataError, match="class 2 has only one image in the train split"):
        Drawer(torch.tensor([1, 1, 2]), "train", "some")
