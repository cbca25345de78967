"""The batches of an epoch."""

from __future__ import annotations

from pathlib import Path

import pytest

import pairbench
from pairbench.training.sampling import batch_slices


def sizes(count: int, batch_size: int) -> list[int]:
    slices = batch_slices(count, batch_size)
    assert [index for part in slices for index in range(count)[part]] == list(range(count))
    return [part.stop - part.start for part in slices]


@pytest.mark.parametrize(
    ("count", "batch_size", "wanted"),
    [
        (64, 64, [64]),
        (65, 64, [65]),
        (66, 64, [64, 2]),
        (129, 64, [64, 65]),
        (17, 16, [17]),
        (1, 64, [1]),
        (3, 2, [3]),
        (3, 1, [1, 1, 1]),
    ],
)
def test_a_single_example_left_over_joins_the_batch_before_it(count: int, batch_size: int, wanted: list[int]) -> None:
    assert sizes(count, batch_size) == wanted


@pytest.mark.parametrize("engine", ["loop", "stacked"])
@pytest.mark.parametrize("encoder", ["wide_cnn", "residual_cnn"])
def test_batch_norm_trains_where_one_pair_is_left_over(encoder: str, engine: str, tmp_path: Path) -> None:
    words = f"encoder={encoder} dataset.train_pairs=17 dataset.validation_pairs=20 dataset.test_pairs=20"
    training = f"train.batch_size=16 train.epochs=2 train.rounds=2 train.engine={engine} train.device=cpu"
    results = pairbench.run(words, training, store=tmp_path, workers=0, timing=False)
    assert [record["status"] for record in results[0].records] == ["finished", "finished"]
