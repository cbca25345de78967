"""torchvision's transforms in training: one draw for each image, from the round's own seed; and balanced re-pairing."""

from __future__ import annotations

import pytest
import tiny
import torch
from conftest import config_of, tiny_config

import pairbench
from pairbench import MismatchError, PairPool, PairTask, SpecError
from pairbench.config.run_config import from_flat
from pairbench.config.train_options import TrainOptions
from pairbench.config.transform_calls import NAMES, parsed_call
from pairbench.data.random_transforms import Transforms, check_transforms
from pairbench.data.round_data import RoundData, scaling
from pairbench.training.sampling import Sampler, balanced, check_sampling

CPU = torch.device("cpu")
NEEDED = {
    "ElasticTransform": "alpha=10.0,sigma=0.6",
    "GaussianBlur": "kernel_size=3",
    "RandomAdjustSharpness": "sharpness_factor=2",
    "RandomAffine": "degrees=20,translate=(0.1,0.1)",
    "RandomCrop": "size=[24,18],padding=2",
    "RandomPosterize": "bits=2",
    "RandomResizedCrop": "size=[24,18]",
    "RandomRotation": "degrees=30",
    "RandomSolarize": "threshold=100",
    "ColorJitter": "brightness=0.5,contrast=0.5,saturation=0.5,hue=0.2",
}


def pictures(count: int = 40, channels: int = 3) -> torch.Tensor:
    one = torch.randint(30, 180, (1, channels, 24, 18), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return one.repeat(count, 1, 1, 1)


def applied(call: str, images: torch.Tensor, seed: int = 0) -> torch.Tensor:
    return Transforms([call])(images, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", NAMES)
def test_each_transform_draws_for_each_image_and_keeps_its_shape(name: str) -> None:
    call = f"{name}({NEEDED.get(name, '')})"
    for channels in (1, 3):
        check_transforms([call], (channels, 24, 18))
    images = pictures()
    state = torch.get_rng_state()
    found = applied(call, images)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(found, applied(call, images))
    assert (found.shape, found.dtype) == (images.shape, torch.uint8)
    assert len({image.numpy().tobytes() for image in found}) > 1, "one draw for all images"
    assert not torch.equal(found, applied(call, images, seed=1))


@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_a_flip_happens_as_often_as_it_is_told(chance: float) -> None:
    images = pictures()
    found = applied(f"RandomHorizontalFlip(p={chance})", images)
    assert torch.equal(found, images.flip(3) if chance else images)


def test_training_sees_transformed_images_with_their_own_answers() -> None:
    config = config_of("encoder=mlp", "dataset.train_pairs=60", "train.transforms=[RandomInvert(p=1.0)]")
    pool = config.dataset.load("train", rounds=1, seed=0)
    for normalize in ("unit", "raw", "standard"):
        data = RoundData(pool, 0, scaling(normalize, pool, 0), CPU)
        plain, changed = (
            next(Sampler(train, config.dataset.task, data, 0).epoch())
            for train in (TrainOptions(), TrainOptions(transforms=config.train.transforms))
        )
        pixels = (plain.images / data.scaling.scale + data.scaling.shift).round()
        assert torch.allclose(changed.images, data.scaling(255 - pixels), atol=1e-5)
        assert torch.equal(changed.target, plain.target)
        assert torch.equal(changed.classes, plain.classes)


def test_a_transform_survives_a_round_trip_through_text_and_json() -> None:
    config = config_of("encoder=mlp", "train.transforms=[RandomRotation(degrees=[-5,5]),ColorJitter(brightness=0.2)]")
    assert config.train.transforms == ("RandomRotation(degrees=[-5,5])", "ColorJitter(brightness=0.2)")
    assert config_of(*config.words()) == config
    assert from_flat(config.flat()) == config


@pytest.mark.usefixtures("tiny_registry")
@pytest.mark.parametrize("engine", ["loop", "stacked"])
def test_equal_runs_with_transforms_give_equal_figures(engine: str) -> None:
    words = (*tiny.SPECS, "train.rounds=2", "train.epochs=2", f"train.engine={engine}")
    words = (*words, "train.transforms=[RandomVerticalFlip,RandomRotation(degrees=40)]")
    first, second = (pairbench.run(*words, workers=0, timing=False, fresh=True)[0] for _ in range(2))
    assert first.values("loss") == second.values("loss")


def test_an_unknown_transform_suggests_the_nearest_name() -> None:
    with pytest.raises(SpecError, match="Did you mean 'RandomHorizontalFlip'"):
        config_of("encoder=mlp", "train.transforms=[RandomHorizontalFlp(p=0.5)]")


@pytest.mark.parametrize(
    "call", ["", "RandomInvert(", "RandomInvert(0.5)", "f().g(x=1)", "RandomInvert(p=open)", "RandomInvert(**{})"]
)
def test_what_is_no_call_is_refused(call: str) -> None:
    with pytest.raises(SpecError):
        parsed_call(call)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("RandomInvert(q=1)", "unexpected keyword argument 'q'"),
        ("RandomRotation", "degrees"),
        ("RandomCrop(size=[4,4])", r"Set its size to \[8,6\]"),
    ],
)
def test_a_transform_that_does_not_fit_is_refused_before_training(call: str, message: str) -> None:
    with pytest.raises(MismatchError, match=message):
        check_sampling(TrainOptions(transforms=(call,)), PairTask("ordering", (1, 8, 6)))


def test_repairing_for_verification_keeps_the_share_of_equal_pairs() -> None:
    classes = torch.arange(10).repeat(20)
    images = torch.arange(200, dtype=torch.uint8).view(200, 1, 1, 1)
    same = torch.stack([torch.arange(0, 50), torch.arange(0, 50) + 50], dim=1)
    different = torch.stack([torch.arange(100, 150), torch.arange(100, 150).roll(1) + 50], dim=1)
    pairs = torch.cat([same, different])[None]
    target = (classes[pairs[0, :, 0]] == classes[pairs[0, :, 1]]).long()[None]
    data = RoundData(
        PairPool(images, pairs, target, classes), 0, scaling("raw", PairPool(images, pairs, target, classes), 0), CPU
    )
    task = PairTask("verification", (1, 1, 1), ("different", "same"), num_classes=10)
    sampler = Sampler(TrainOptions(repair=True, batch_size=100), task, data, 0)
    first, second = (next(sampler.epoch()) for _ in range(2))
    assert not torch.equal(first.images, second.images)
    for batch in (first, second):
        assert int(batch.target.sum()) == int(target.sum())
        assert torch.equal(batch.target, (batch.classes[:, 0] == batch.classes[:, 1]).long())
        assert sorted(batch.images.flatten().tolist()) == sorted(images[pairs.flatten()].flatten().tolist())


def test_no_image_is_paired_with_itself_as_one_of_its_class() -> None:
    rows = torch.tensor([0, 0, 0, 0, 1, 1, 2, 3])
    order = balanced(rows, torch.zeros(8, dtype=torch.long), 3, torch.Generator().manual_seed(0))
    assert sorted(order.tolist()) == list(range(8))
    assert all(first != second for first, second in rows[order].view(-1, 2)[:1].tolist())


@pytest.mark.usefixtures("tiny_registry")
def test_a_swapped_verification_pair_has_the_same_answer() -> None:
    config = tiny_config()
    pool = config.dataset.load("train", rounds=1, seed=0)
    classes = pool.classes[pool.pairs[0]]
    target = (classes[:, 0] == classes[:, 1]).long()[None]
    same = PairPool(pool.images, pool.pairs, target, pool.classes)
    data = RoundData(same, 0, scaling("unit", same, 0), CPU)
    task = PairTask("verification", (1, 4, 4), ("different", "same"), num_classes=3)
    for known in (True, False):
        blind = (
            data
            if known
            else RoundData(
                PairPool(same.images, same.pairs, target, torch.full_like(same.classes, -1)), 0, data.scaling, CPU
            )
        )
        batch = next(Sampler(TrainOptions(swap=True, batch_size=99), task, blind, 0).epoch())
        assert sorted(batch.target.tolist()) == sorted(target[0].tolist())
        if known:
            assert torch.equal(batch.target, (batch.classes[:, 0] == batch.classes[:, 1]).long())
