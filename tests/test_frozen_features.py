"""Frozen encoders: they stay in evaluation mode, and encode each image once."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from conftest import config_of
from safetensors.torch import save_file
from torch import Tensor, nn

import pairbench
from pairbench.data.round_data import RoundData, scaling
from pairbench.model.pair_model import PairModel, build_model, frozen_children
from pairbench.plugin.components import SPLITS
from pairbench.store.locks import waiting_for
from pairbench.store.store import Store
from pairbench.training import evaluation, loop
from pairbench.training import frozen_features as frozen
from pairbench.training.feature_cache import Shelf
from pairbench.training.loop import Loop, RoundSplits
from pairbench.training.stacked import NotStackable, Stacked
from pairbench_backbones.modules import Backbone

CPU = torch.device("cpu")
SMALL = (
    "dataset.train_pairs=30", "dataset.validation_pairs=8", "dataset.test_pairs=12", "train.epochs=2",
    "train.batch_size=10",
)  # fmt: skip
FROZEN = ("encoder=timm", "encoder.model=test_resnet", "encoder.frozen=true", "loss=cross_entropy")


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    torch.manual_seed(5)
    path = tmp_path / "net.safetensors"
    save_file(timm.create_model("test_resnet", num_classes=3).state_dict(), path)
    return f"encoder.pretrained={path}"


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The images that backbones encode from now on; not the blank ones that measure shapes and operations."""
    seen: list[bytes] = []
    forward = Backbone.forward

    def counted(self: Backbone, images: Tensor) -> Tensor:
        seen.extend(image.numpy().tobytes() for image in images.detach() if image.any())
        return forward(self, images)

    monkeypatch.setattr(Backbone, "forward", counted)
    return seen


def pools_of(*words: str, rounds: int = 1) -> dict[str, pairbench.PairPool]:
    config = config_of(*words)
    return {split: config.dataset.load(split, rounds=rounds, seed=0) for split in SPLITS}


def splits_of(number: int, rounds: int, *words: str) -> RoundSplits:
    pools = pools_of(*words, rounds=rounds)
    return RoundSplits(*(RoundData(pool, number, scaling("unit", pool, number), CPU) for pool in pools.values()))


def distinct(pools: dict[str, pairbench.PairPool], rounds: Sequence[int]) -> int:
    """How many different images these rounds use."""
    return len({pool.images[row].numpy().tobytes() for pool in pools.values() for row in pool.pairs[rounds].unique()})


def quick_run(store: Store, *words: str, **options: Any) -> Any:
    return pairbench.run(*FROZEN, *SMALL, *words, store=store.root, workers=0, timing=False, **options)


def test_all_rounds_and_heads_of_a_run_encode_each_image_once(
    store: Store, checkpoint: str, encoded: list[bytes]
) -> None:
    results = quick_run(store, checkpoint, "head=concat_linear,concat_mlp", "train.rounds=2")
    assert not results.failed
    assert len(encoded) == len(set(encoded)) == distinct(pools_of(*SMALL, rounds=2), [0, 1])


def test_a_later_run_with_more_rounds_encodes_new_images_alone(
    store: Store, checkpoint: str, encoded: list[bytes]
) -> None:
    quick_run(store, checkpoint, "train.rounds=1")
    quick_run(store, checkpoint, "train.rounds=2", "head=concat_mlp")
    assert len(encoded) == len(set(encoded)) == distinct(pools_of(*SMALL, rounds=2), [0, 1])


def test_a_changed_checkpoint_is_encoded_anew(store: Store, checkpoint: str, encoded: list[bytes]) -> None:
    quick_run(store, checkpoint, "train.rounds=1")
    first = len(encoded)
    torch.manual_seed(6)
    save_file(timm.create_model("test_resnet").state_dict(), checkpoint.partition("=")[2])
    quick_run(store, checkpoint, "train.rounds=1")
    assert len(encoded) == 2 * first


def test_a_checkpoint_that_is_moved_changes_nothing(store: Store, checkpoint: str, encoded: list[bytes]) -> None:
    quick_run(store, checkpoint, "train.rounds=1")
    first = len(encoded)
    path = Path(checkpoint.partition("=")[2])
    moved = path.rename(path.with_name("moved.safetensors"))
    words = (f"encoder.pretrained={moved}", "train.rounds=1", "head=concat_linear,concat_mlp")
    results = quick_run(store, *words)
    assert [len(result.records) for result in results] == [1, 1]
    assert len(encoded) == first
    assert len({record["config_id"] for record in store.read().records}) == 2


def test_new_frozen_weights_are_encoded_once_in_each_round_and_not_kept(store: Store, encoded: list[bytes]) -> None:
    quick_run(store, "train.rounds=2", "train.engine=loop")
    pools = pools_of(*SMALL, rounds=2)
    assert len(encoded) == distinct(pools, [0]) + distinct(pools, [1])
    assert not (store.root / ".embeddings").exists()


@pytest.mark.parametrize("pairing", ["siamese", "pseudo_siamese"])
@pytest.mark.parametrize("words", [(), ("encoder.embedding_dim=6",), ("train.ema=0.5", "encoder.embedding_dim=6")])
def test_looking_up_gives_the_figures_of_encoding(
    words: tuple[str, ...], pairing: str, checkpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(*FROZEN, *SMALL, checkpoint, f"pairing={pairing}", *words)
    fast = Loop(config, CPU).run(0, splits_of(0, 1, *SMALL)).metrics
    for room in (evaluation, loop):
        monkeypatch.setattr(room, "looked_up", lambda *arguments: False)
    slow = Loop(config, CPU).run(0, splits_of(0, 1, *SMALL)).metrics
    assert fast == pytest.approx(slow, rel=1e-3, abs=1e-4)


def test_a_million_pairs_over_ten_thousand_images_cost_ten_thousand_encodings(
    tmp_path: Path, encoded: list[bytes]
) -> None:
    images, count = 10_000, 1_000_000
    generator = torch.Generator().manual_seed(0)
    pool = pairbench.PairPool(
        torch.randint(1, 256, (images, 1, 8, 8), generator=generator).to(torch.uint8),
        torch.cat([torch.arange(images).view(1, -1, 2), torch.randint(images, (1, count - images // 2, 2))], dim=1),
        torch.randint(2, (1, count), generator=generator),
        torch.randint(10, (images,), generator=generator),
    )
    data = RoundData(pool, 0, scaling("unit", pool, 0), CPU)
    data.shelf = Shelf(tmp_path, {"encoder": "some"}, [pool])
    config = config_of(*FROZEN)
    scores = evaluation.evaluate([build_model(config)], data, config.train, supervises=False)
    assert len(scores.logits) == count
    assert len(encoded) == images


def test_an_encoder_for_each_view_shares_the_features_of_equal_weights(
    store: Store, checkpoint: str, encoded: list[bytes]
) -> None:
    quick_run(store, checkpoint, "train.rounds=2", "pairing=siamese,pseudo_siamese", "train.swap=true")
    assert len(encoded) == len(set(encoded)) == distinct(pools_of(*SMALL, rounds=2), [0, 1])


def test_an_encoder_for_each_view_with_weights_of_its_own_encodes_each_image_once(encoded: list[bytes]) -> None:
    config = config_of(*FROZEN, *SMALL, "pairing=pseudo_siamese", "train.repair=true")
    Loop(config, CPU).run(0, splits_of(0, 1, *SMALL))
    assert len(encoded) == 2 * distinct(pools_of(*SMALL), [0])


def test_each_view_is_looked_up_with_its_own_encoder() -> None:
    torch.manual_seed(0)
    model = build_model(config_of(*FROZEN, *SMALL, "pairing=pseudo_siamese", "encoder.embedding_dim=4")).eval()
    data = splits_of(0, 1, *SMALL).test
    batch = frozen.LookedUpBatch(frozen.features_of(model, data), data, data.rows, data.target, data.classes)
    with torch.no_grad():
        torch.testing.assert_close(model.answer(batch.features).logits, model(batch.images).logits)


@pytest.mark.parametrize("words", [("train.augment=[rotate=5]",), ("pairing=two_channel",)])
def test_images_that_change_or_are_seen_together_are_encoded_as_they_come(
    words: tuple[str, ...], encoded: list[bytes]
) -> None:
    config = config_of(*FROZEN, *SMALL, *words, "train.evaluate_every=0")
    outcome = Loop(config, CPU).run(0, splits_of(0, 1, *SMALL))
    assert outcome.status == "finished"
    training = 2 * 30 * (1 if words[0] == "pairing=two_channel" else 2)
    assert len(encoded) >= training


def test_what_is_frozen_stays_in_evaluation_mode(checkpoint: str) -> None:
    model = build_model(config_of(*FROZEN, checkpoint, "encoder.embedding_dim=4", "head=concat_mlp")).train()
    norms = [part for part in model.encoders.modules() if isinstance(part, nn.BatchNorm2d)]
    assert norms
    assert not any(norm.training for norm in norms)
    assert model.head.training
    assert not model.batch_coupled


@pytest.mark.parametrize(
    ("frozen_layers", "lead"), [((), None), ((0,), 1), ((0, 2), 3), ((2,), None), ((0, 2, 4), 0)], ids=str
)
def test_the_layers_that_a_sequence_begins_with_may_be_frozen_alone(
    frozen_layers: tuple[int, ...], lead: int | None
) -> None:
    layers = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.Dropout(), nn.Linear(2, 2))
    for number in frozen_layers:
        layers[number].requires_grad_(False)
    assert frozen_children(layers) == lead


def test_an_encoder_without_weights_is_not_frozen() -> None:
    assert frozen_children(nn.Flatten()) is None


def test_frozen_encoders_are_not_stacked(checkpoint: str) -> None:
    engine = Stacked(config_of(*FROZEN, *SMALL, checkpoint), CPU)
    with pytest.raises(NotStackable, match="frozen"):
        list(engine.run({0: splits_of(0, 1, *SMALL)}))


@pytest.fixture
def shelved(tmp_path: Path) -> tuple[Path, PairModel, RoundData]:
    """A folder of features, a frozen model, and the images that it reads."""
    pool = pools_of(*SMALL)["test"]
    data = RoundData(pool, 0, scaling("unit", pool, 0), CPU)
    data.shelf = Shelf(tmp_path / "features", {"encoder": "some"}, [pool])
    torch.manual_seed(0)
    return tmp_path / "features", build_model(config_of(*FROZEN)).eval(), data


def again(data: RoundData, folder: Path, encoder: str = "some", **options: int) -> RoundData:
    """The same examples for another process."""
    pool = data.used_images()[0]
    other = RoundData(pool, 0, data.scaling, CPU, **options)
    other.shelf = Shelf(folder, {"encoder": encoder}, [pool])
    return other


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [(".npy", "changed"), (".npy", "gone"), (".names", "cut"), (".seal", "changed"), (".seal", "gone")],
)
def test_damaged_features_are_encoded_anew(
    suffix: str, damage: str, shelved: tuple[Path, PairModel, RoundData], encoded: list[bytes]
) -> None:
    folder, model, data = shelved
    rows = torch.arange(data.image_count)
    before, once = frozen.features_of(model, data)[0](rows), len(encoded)
    (path,) = folder.rglob(f"*{suffix}")
    content = bytearray(path.read_bytes())
    path.unlink()
    if damage == "changed":
        content[-9] ^= 1
    if damage != "gone":
        path.write_bytes(content[: len(content) // (1 if damage == "changed" else 2)])
    after = frozen.features_of(model, again(data, folder))[0](rows)
    assert torch.equal(before, after)
    assert len(encoded) == 2 * once
    assert len(list(folder.glob("*/*"))) == 3


@pytest.mark.parametrize("moved", ["encoder", "name"])
def test_features_from_elsewhere_are_encoded_anew(
    moved: str, shelved: tuple[Path, PairModel, RoundData], encoded: list[bytes]
) -> None:
    folder, model, data = shelved
    rows = torch.arange(data.image_count)
    before, once = frozen.features_of(model, data)[0](rows), len(encoded)
    (made,) = [path for path in folder.iterdir() if path.is_dir()]
    if moved == "name":
        for path in list(made.iterdir()):
            path.rename(path.with_name(f"{'0' * 16}{path.suffix}"))
    else:
        frozen.features_of(model, again(data, folder, "another"))
        (target,) = [path for path in folder.iterdir() if path.is_dir() and path != made]
        shutil.rmtree(target)
        made.rename(target)
    encoded.clear()
    asking = again(data, folder, "some" if moved == "name" else "another")
    assert torch.equal(frozen.features_of(model, asking)[0](rows), before)
    assert len(encoded) == once


def test_features_that_another_process_is_making_are_waited_for(
    shelved: tuple[Path, PairModel, RoundData], encoded: list[bytes]
) -> None:
    folder, model, data = shelved
    frozen.features_of(model, data)
    (made,) = [path for path in folder.iterdir() if path.is_dir()]
    hidden, once, found = made.with_name("hidden"), len(encoded), []
    made.rename(hidden)
    waiting = threading.Thread(target=lambda: found.append(frozen.features_of(model, again(data, folder))))
    with waiting_for(made.with_suffix(".lock")):
        waiting.start()
        time.sleep(0.3)
        assert not found
        made.rmdir()
        hidden.rename(made)
    waiting.join(10)
    assert found
    assert len(encoded) == once


def test_large_tables_stay_on_disk(shelved: tuple[Path, PairModel, RoundData]) -> None:
    folder, model, data = shelved
    rows = torch.tensor([[0, 1], [3, 2]])
    held = frozen.features_of(model, data)[0](rows)
    large = again(data, folder, most_bytes=0)
    assert torch.equal(frozen.features_of(model, large)[0](rows), held)
    assert np.isfinite(held.numpy()).all()
