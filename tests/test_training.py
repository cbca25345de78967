"""Models, pools, sampling, optimisers and the loop."""

import copy
import errno
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from pairbench import MismatchError, PairPool, PairTask, ScoredPairs
from pairbench.config.run_config import resolve
from pairbench.config.train_options import Augment, TrainOptions
from pairbench.data.augmentation import distort
from pairbench.data.pool_files import open_pool, save_pool
from pairbench.data.round_data import RoundData, check_pool, scaling, shared_images
from pairbench.errors import DataError
from pairbench.model.pair_model import ShapeError, build_model
from pairbench.training.complexity import profile
from pairbench.training.evaluation import Scores, evaluate, evaluate_in_training_mode
from pairbench.training.figures import class_accuracy
from pairbench.training.final_metrics import epoch_figures
from pairbench.training.loop import Loop, RoundSplits
from pairbench.training.optim import build_optimizer, build_schedule
from pairbench.training.sampling import Sampler, answer, check_sampling

CPU = torch.device("cpu")
TINY = {
    "encoder": "mlp", "encoder.hidden": "[16]", "dataset.train_pairs": "120", "dataset.validation_pairs": "40",
    "dataset.test_pairs": "100", "train.epochs": "2",
}  # fmt: skip


PAIRS = PairTask("ordering", (1, 14, 14))
POOLED = {"encoder": "pooled_cnn", "encoder.hidden": "30"}


def splits_of(config, number=0):
    pools = {split: config.dataset.load(split, rounds=number + 1, seed=0) for split in ("train", "validation", "test")}
    scale = scaling(config.train.normalize, pools["train"], number)
    return RoundSplits(*(RoundData(pool, number, scale, CPU) for pool in pools.values()))


def run(**changes):
    config = resolve(TINY | changes)
    loop = Loop(config, CPU)
    return loop, loop.run(0, splits_of(config))


@pytest.mark.parametrize("pairing", ["siamese", "pseudo_siamese", "two_channel"])
def test_every_pairing_trains_and_gives_every_figure(pairing):
    loop, outcome = run(pairing=pairing, loss="cross_entropy")
    assert outcome.status == "finished"
    names = {"accuracy", "f1", "auc", "loss", "total_loss"}
    final = names | {"swap_consistency"}
    assert set(outcome.metrics) == final | {f"validation_{name}" for name in final}
    assert set(outcome.curves["test"]) == names
    assert {len(curve) for curve in outcome.curves["test"].values()} == {2}
    copies = {"siamese": 1, "pseudo_siamese": 2, "two_channel": 1}[pairing]
    assert len(loop.models[0].encoders) == copies


def test_a_siamese_model_treats_both_images_alike():
    model = build_model(resolve({"encoder": "cnn"})).eval()
    images = torch.rand(3, 2, 1, 14, 14)
    swapped = model(images.flip(1)).embeddings
    assert torch.allclose(model(images).embeddings, swapped.flip(1), atol=1e-6)


def test_batch_norm_sees_one_branch_at_a_time_in_training():
    """The report's code runs its branches one after the other, so their statistics stay apart."""
    torch.manual_seed(0)
    model = build_model(resolve({"encoder": "deep_cnn", "encoder.dropout": "[]"})).train()
    images = torch.rand(8, 2, 1, 14, 14)
    apart = torch.stack([model.encoders[0](images[:, view]) for view in range(2)], dim=1)
    assert torch.allclose(model(images).embeddings, apart, atol=1e-6)


def test_evaluation_encodes_each_image_once():
    config = resolve(TINY | {"loss": "cross_entropy"})
    pool = config.dataset.load("test", rounds=1, seed=0)
    pairs = pool.pairs[:, :5].repeat(1, 40, 1)
    many = PairPool(pool.images, pairs, pool.target[:, :5].repeat(1, 40), pool.classes)
    data = RoundData(many, 0, scaling("unit", many, 0), CPU)
    model = build_model(config)
    seen = []
    model.encoders[0].register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    evaluate([model], data, config.train, supervises=False)
    assert len(data) == 200
    assert sum(seen) == 10


def test_evaluation_leaves_dropout_and_batch_statistics_out():
    config = resolve({"encoder": "deep_cnn"})
    model, data = build_model(config).train(), splits_of(resolve(TINY | {})).test
    first = evaluate([model], data, config.train, supervises=True)
    assert torch.equal(first.logits, evaluate([model], data, config.train, supervises=True).logits)
    assert not model.training


def test_the_published_evaluation_keeps_dropout_active():
    config = resolve({"encoder": "pooled_cnn"})
    model, data = build_model(config), splits_of(resolve(TINY)).test
    torch.manual_seed(0)
    first, second = (
        evaluate_in_training_mode(model, data, supervises=True, batch_size=64).total_loss for _ in range(2)
    )
    assert first != second
    assert model.training


def test_asking_for_swapped_answers_changes_nothing_else():
    config = resolve({"encoder": "deep_cnn"})
    model, data = build_model(config), splits_of(resolve(TINY)).test
    start = copy.deepcopy(model.state_dict())
    seen = []
    for swap in (False, True):
        model.load_state_dict(start)
        torch.manual_seed(0)
        scores = evaluate_in_training_mode(model, data, supervises=True, batch_size=64, swap=swap)
        seen.append([scores.logits, torch.rand(1), *model.buffers()])
        seen[-1] = [value.clone() for value in seen[-1]]
    assert all(torch.equal(one, other) for one, other in zip(*seen, strict=True))
    assert len(seen[0]) > 2
    assert scores.swapped.shape == scores.logits.shape


def test_the_option_decides_how_a_round_is_evaluated():
    _, published = run(**POOLED, **{"train.evaluation": "train"})
    _, proper = run(**POOLED)
    assert published.metrics["loss"] != proper.metrics["loss"]


def test_carrying_over_starts_a_round_where_the_last_one_ended():
    longer = TINY | {"train.epochs": "6", "dataset.train_pairs": "600"}
    config = resolve(longer | {"train.carry_over": "true"})
    loop, fresh = Loop(config, CPU), Loop(resolve(longer), CPU)
    loop.run(0, splits_of(config))
    carried, alone = loop.run(1, splits_of(config, 1)), fresh.run(1, splits_of(config, 1))
    assert carried.curves["train"]["total_loss"][0] < 0.8 * alone.curves["train"]["total_loss"][0]


def test_a_round_is_the_same_bits_each_time():
    assert run()[1].metrics == run()[1].metrics


def test_rounds_differ_in_weights_and_data():
    config = resolve(TINY)
    loop = Loop(config, CPU)
    assert loop.run(0, splits_of(config)).curves != loop.run(1, splits_of(config, 1)).curves


def test_a_diverged_round_has_no_figures():
    _, outcome = run(**{"train.optimizer": "sgd", "train.learning_rate": "1e30", "train.normalize": "raw"})
    assert outcome.status == "diverged"
    assert outcome.metrics == {}


def test_a_network_learns_to_read_digits():
    """Over seeds 0 to 4 the class accuracy was 0.81 to 0.86; guessing gives 0.10."""
    _, outcome = run(**{"train.epochs": "10", "dataset.train_pairs": "1000", "encoder.hidden": "[64]"})
    assert outcome.metrics["class_accuracy"] > 0.7


def test_an_ensemble_averages_probabilities_and_says_its_cost():
    loop, outcome = run(**{"train.members": "3"})
    assert len(loop.models) == 3
    data = splits_of(resolve(TINY)).test
    logits = [model.eval()(data.batch(torch.arange(100)).images).logits.softmax(1) for model in loop.models]
    mean = torch.stack(logits).mean(0)
    assert outcome.metrics["accuracy"] == pytest.approx(float((mean.argmax(1) == data.target).double().mean()))
    one, three = (profile(resolve(TINY | {"train.members": str(members)})) for members in (1, 3))
    assert (three.parameters, three.flops_per_pair) == (3 * one.parameters, 3 * one.flops_per_pair)


def test_the_first_member_of_an_ensemble_is_the_model_alone():
    alone, together = run()[0].models[0], run(**{"train.members": "2"})[0].models[0]
    assert all(torch.equal(a, b) for a, b in zip(alone.parameters(), together.parameters(), strict=True))


def test_the_average_of_weights_is_what_is_evaluated():
    plain, averaged = run()[1], run(**{"train.ema": "0.95"})[1]
    assert plain.curves["train"] == averaged.curves["train"]
    assert plain.metrics != averaged.metrics


def test_clipping_bounds_the_gradient():
    loop, _ = run(**{"train.clip_norm": "1e-9", "train.optimizer": "sgd", "train.learning_rate": "1"})
    torch.manual_seed(0)
    moved = run(**{"train.optimizer": "sgd", "train.learning_rate": "1"})[0].models[0]
    start = build_model_of_round_zero()
    small, large = (
        sum(float((a - b).detach().norm()) for a, b in zip(model.parameters(), start.parameters(), strict=True))
        for model in (loop.models[0], moved)
    )
    assert small < 1e-6 < large


def build_model_of_round_zero():
    from pairbench.seeds import round_seed

    torch.manual_seed(round_seed(0, 0))
    return build_model(resolve(TINY))


def sampler(data, kind="ordering", classes=10, **options):
    train = TrainOptions(**options)
    return Sampler(train, PairTask(kind, (1, 14, 14), num_classes=classes), data, 0)


def test_repairing_keeps_the_images_and_gives_the_right_answers():
    data = splits_of(resolve(TINY)).train
    drawn = sampler(data, repair=True, batch_size=50)
    first, second = (torch.cat([batch.classes for batch in drawn.epoch()]) for _ in range(2))
    assert torch.equal(first.flatten().sort().values, data.classes.flatten().sort().values)
    assert not torch.equal(first, second)
    for batch in drawn.epoch():
        assert torch.equal(batch.target, (batch.classes[:, 0] <= batch.classes[:, 1]).long())


def test_swapping_gives_equal_classes_the_same_answer():
    data = splits_of(resolve(TINY)).train
    batches = list(sampler(data, swap=True, batch_size=120).epoch())
    batch = batches[0]
    assert torch.equal(batch.target, (batch.classes[:, 0] <= batch.classes[:, 1]).long())
    plain = next(sampler(data, batch_size=120).epoch())
    assert not torch.equal(batch.classes, plain.classes)


def test_swapping_a_preference_exchanges_the_candidates_and_the_vote():
    images = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1)
    pool = PairPool(images, torch.tensor([[[0, 1, 2], [3, 4, 5]]]), torch.tensor([[0.25, 1.0]]), torch.full((6,), -1))
    data = RoundData(pool, 0, scaling("raw", pool, 0), CPU)
    drawn = sampler(data, "preference", None, swap=True)
    for _ in range(8):
        for batch in drawn.epoch():
            for views, target in zip(batch.images.flatten(1).tolist(), batch.target.tolist(), strict=True):
                right = {0: [(0, 1, 2, 0.25), (0, 2, 1, 0.75)], 3: [(3, 4, 5, 1.0), (3, 5, 4, 0.0)]}[int(views[0])]
                assert (*map(int, views), target) in right


def test_pairs_of_unknown_class_are_not_swapped_when_order_matters():
    images = torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1)
    pool = PairPool(images, torch.tensor([[[0, 1], [2, 3]]]), torch.tensor([[1, 0]]), torch.full((4,), -1))
    data = RoundData(pool, 0, scaling("raw", pool, 0), CPU)
    drawn = sampler(data, swap=True)
    assert {int(views[0]) for _ in range(8) for batch in drawn.epoch() for views in batch.images.flatten(1)} == {0, 2}


@pytest.mark.parametrize(("kind", "right"), [("ordering", [1, 1, 0]), ("verification", [0, 1, 0])])
def test_the_right_answer_follows_from_the_classes(kind, right):
    pairs = torch.tensor([[1, 2], [2, 2], [3, 2]])
    assert answer(PairTask(kind, (1, 1, 1)), pairs).tolist() == right


@pytest.mark.parametrize("option", ["repair", "swap"])
def test_sampling_that_needs_classes_is_refused_without_them(option):
    with pytest.raises(MismatchError, match=f"train.{option}"):
        check_sampling(TrainOptions(**{option: True}), PairTask("ordering", (1, 4, 4)))


def distorted(images: torch.Tensor, amounts: Augment, seed=0):
    return distort(images, amounts, torch.Generator().manual_seed(seed), torch.zeros(images.shape[1], 1, 1))


def test_no_distortion_leaves_images_as_they_are():
    images = torch.rand(4, 3, 9, 12)
    assert torch.allclose(distorted(images, {}), images, atol=1e-5)


def test_each_image_is_distorted_on_its_own():
    image = torch.rand(1, 1, 14, 14).repeat(6, 1, 1, 1)
    for amounts in ({"rotate": 20.0}, {"scale": 0.3}, {"shear": 0.3}, {"shift": 2.0}, {"elastic": 2.0}):
        turned = distorted(image, amounts)
        assert len({tuple(one.flatten().tolist()) for one in turned}) == 6


def test_a_shift_moves_by_at_most_so_many_pixels():
    image = torch.zeros(200, 1, 21, 11)
    image[:, :, 10, 5] = 1.0
    moved = distorted(image, {"shift": 2.0})
    mass = moved.flatten(1).sum(1)
    rows = (moved.sum(3).squeeze(1) * torch.arange(21)).sum(1) / mass - 10
    columns = (moved.sum(2).squeeze(1) * torch.arange(11)).sum(1) / mass - 5
    assert rows.abs().max() <= 2.001
    assert columns.abs().max() <= 2.001
    assert rows.abs().max() > 1.5
    assert columns.abs().max() > 1.5


def test_a_rotation_keeps_lengths_in_images_that_are_not_square():
    image = torch.zeros(50, 1, 41, 21)
    image[:, :, 20, 13:15] = 1.0
    turned = distorted(image, {"rotate": 90.0})
    mass = turned.flatten(1).sum(1)
    rows = (turned.sum(3).squeeze(1) * torch.arange(41)).sum(1) / mass - 20
    columns = (turned.sum(2).squeeze(1) * torch.arange(21)).sum(1) / mass - 10
    assert torch.allclose(torch.hypot(rows, columns), torch.full((50,), 3.5), atol=0.15)
    assert rows.abs().max() > 3


def test_what_comes_in_from_outside_is_black():
    black = torch.full((1, 1, 1), -0.4)
    image = torch.full((20, 1, 8, 8), -0.4)
    moved = distort(image, {"shift": 3.0}, torch.Generator().manual_seed(0), black)
    assert torch.allclose(moved, image, atol=1e-6)


@pytest.mark.parametrize("name", ["sgd", "Adam", "adamw", "rmsprop", "muon", "lamb", "lion"])
def test_optimisers_of_torch_and_timm_are_known_by_name(name):
    model = build_model(resolve({"encoder": "cnn"}))
    optimizer = build_optimizer(TrainOptions(optimizer=name, weight_decay=0.1, learning_rate=0.05), model)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(model.parameters()))
    assert optimizer.param_groups[0]["lr"] == 0.05


def test_decay_may_leave_out_biases_and_norms():
    model = build_model(resolve({"encoder": "deep_cnn"}))
    options = TrainOptions(optimizer="adamw", weight_decay=0.1, decay_all=False)
    groups = build_optimizer(options, model).param_groups
    assert [(group["weight_decay"], {p.ndim > 1 for p in group["params"]}) for group in groups] == [
        (0.1, {True}),
        (0.0, {False}),
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "adamm"}, "unknown optimizer 'adamm'.*Did you mean 'adam"),
        ({"optimizer": "lbfgs"}, "needs more than a gradient for a step"),
        ({"optimizer": "adahessian"}, "needs more than a gradient for a step"),
        ({"optimizer": "fusedadam"}, "rejects its options: CUDA required"),
        ({"optimizer_options": {"betas": 3}}, "rejects its options"),
        ({"optimizer_options": {"nonsense": 3}}, "rejects its options"),
        ({"schedule": "cosin"}, "unknown schedule 'cosin'.*Did you mean 'cosine"),
        ({"schedule": "StepLR"}, "rejects its options.*step_size"),
        ({"schedule": "constant", "schedule_options": {"gamma": 0.5}}, "has no option 'gamma'"),
    ],
)
def test_a_wrong_optimiser_or_schedule_names_the_mend(options, message):
    train = TrainOptions(**options)
    with pytest.raises(MismatchError, match=message):
        build_schedule(train, build_optimizer(train, build_model(resolve({"encoder": "cnn"}))), 10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "muon", "optimizer_options": "[ns_coefficients=polar]"}, "muon rejects.*'polar'.*Fix"),
        ({"schedule": "ReduceLROnPlateau", "schedule_options": "[patience=x]"}, "Plateau rejects.*Fix"),
        ({"schedule": "onecycle", "schedule_options": "[total_steps=5]"}, "5 steps.*Fix"),
    ],
)
def test_options_that_only_a_first_step_reads_are_refused_before_training(options, message):
    with pytest.raises(MismatchError, match=message):
        profile(resolve({"encoder": "mlp"} | {f"train.{key}": value for key, value in options.items()}))


def rates(**options):
    train = TrainOptions(learning_rate=1.0, epochs=4, optimizer="sgd", **options)
    optimizer = build_optimizer(train, build_model(resolve({"encoder": "cnn"})))
    schedule = build_schedule(train, optimizer, 5)
    found = []
    for epoch in range(1, 5):
        for _ in range(5):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        schedule.epoch(epoch, 1.0)
    return found


def test_schedules_have_their_shapes():
    assert rates(schedule="constant", warmup=0) == [1.0] * 20
    linear = rates(schedule="linear", warmup=0)
    assert linear == pytest.approx([1 - step / 20 for step in range(20)])
    cosine = rates(schedule="cosine", warmup=0.2)
    assert cosine[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert cosine[4:] == sorted(cosine[4:], reverse=True)
    assert cosine[-1] < 0.02
    cycle = rates(schedule="one_cycle", warmup=0)
    assert max(cycle) == pytest.approx(1.0, rel=0.05)
    assert cycle[-1] < 0.01


def test_options_of_an_optimiser_may_be_lists():
    config = resolve({"train.optimizer_options": "[betas=[0.8,0.9],eps=1e-6]"})
    (group,) = build_optimizer(config.train, build_model(config)).param_groups
    assert (group["betas"], group["eps"]) == ((0.8, 0.9), 1e-6)
    assert resolve(dict(word.split("=", 1) for word in config.words())) == config


def test_schedules_of_torch_and_timm_are_known_by_name():
    stepped = rates(schedule="StepLR", warmup=0, schedule_options={"step_size": 2, "gamma": 0.1})
    assert stepped == pytest.approx([1.0] * 10 + [0.1] * 10)
    assert rates(schedule="step_lr", warmup=0, schedule_options={"step_size": 2, "gamma": 0.1}) == stepped
    annealed = rates(schedule="CosineAnnealingLR", warmup=0)
    assert annealed[-1] < annealed[0]
    assert rates(schedule="ReduceLROnPlateau", warmup=0)[0] == 1.0
    poly = rates(schedule="poly", warmup=0)
    assert poly == sorted(poly, reverse=True)
    assert poly[-1] < 0.95


@pytest.mark.parametrize("normalize", ["unit", "raw", "standard"])
def test_images_are_scaled_as_asked(normalize):
    images = torch.randint(256, (30, 3, 5, 4), dtype=torch.uint8)
    images[:, 1] = 7
    pool = PairPool(images, torch.arange(20).view(1, 10, 2), torch.zeros(1, 10).long(), torch.full((30,), -1))
    scaled = scaling(normalize, pool, 0)(images[:20])
    if normalize == "standard":
        assert torch.allclose(scaled.mean((0, 2, 3)), torch.zeros(3), atol=1e-4)
        assert torch.allclose(scaled.std((0, 2, 3), correction=0), torch.tensor([1.0, 0.0, 1.0]), atol=1e-4)
    else:
        assert torch.allclose(scaled, images[:20].float() / (255 if normalize == "unit" else 1))


def test_large_rounds_are_scaled_batch_by_batch_to_the_same_images():
    pool = resolve(TINY).dataset.load("train", rounds=1, seed=0)
    scale = scaling("standard", pool, 0)
    kept = RoundData(pool, 0, scale, CPU)
    lazy = RoundData(pool, 0, scale, CPU, most_bytes=0)
    chosen = torch.tensor([5, 3, 77])
    assert torch.equal(kept.batch(chosen).images, lazy.batch(chosen).images)


def test_a_pool_survives_the_disk(tmp_path):
    pool = resolve(TINY).dataset.load("train", rounds=2, seed=0)
    save_pool(pool, tmp_path)
    again = open_pool(tmp_path)
    assert all(
        torch.equal(getattr(pool, part), getattr(again, part)) for part in ("images", "pairs", "target", "classes")
    )


@pytest.mark.parametrize("hard", [True, False])
def test_images_that_lie_in_a_file_are_linked_and_not_copied(tmp_path, monkeypatch, hard):
    def elsewhere(self, target):
        raise OSError(errno.EXDEV, "another file system")

    if not hard:
        monkeypatch.setattr(Path, "hardlink_to", elsewhere)
    images = torch.arange(48, dtype=torch.uint8).reshape(3, 1, 4, 4)
    np.save(tmp_path / "kept.npy", images.numpy())
    pairs = torch.tensor([[[0, 1], [1, 2]]])
    pool = PairPool(images, pairs, torch.tensor([[0, 1]]), torch.full((3,), -1), tmp_path / "kept.npy")
    save_pool(pool, tmp_path / "saved")
    assert (tmp_path / "saved" / "images.npy").samefile(tmp_path / "kept.npy")
    assert torch.equal(open_pool(tmp_path / "saved").images, images)


def small_pool(**changes):
    parts = {
        "images": torch.zeros(4, 1, 2, 2, dtype=torch.uint8),
        "pairs": torch.tensor([[[0, 1], [2, 3]]]),
        "target": torch.tensor([[0, 1]]),
        "classes": torch.tensor([0, 1, 2, -1]),
    }
    return PairPool(**(parts | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": torch.zeros(4, 1, 2, 2)}, "expected .P, 1, 2, 2. of uint8"),
        ({"pairs": torch.tensor([[[0, 1], [2, 4]]])}, "rows outside 0 to 3"),
        ({"pairs": torch.zeros(2, 2, 2).long()}, r"expected \(1, N, 2\)"),
        ({"pairs": torch.zeros(1, 0, 2).long(), "target": torch.zeros(1, 0).long()}, "no pairs"),
        ({"target": torch.tensor([[0, 2]])}, "targets outside 0 to 1"),
        ({"target": torch.tensor([[0.5, math.nan]])}, "targets outside 0 to 1"),
        ({"target": torch.tensor([[0]])}, "expected"),
        ({"classes": torch.tensor([0, 1, 2, 3])}, "classes outside -1 to 2"),
    ],
)
def test_a_pool_that_breaks_its_promise_is_refused(changes, message):
    task = PairTask("ordering", (1, 2, 2), num_classes=3)
    check_pool(small_pool(), task, 1, "tiny")
    with pytest.raises(DataError, match=message):
        check_pool(small_pool(**changes), task, 1, "tiny")


def test_an_image_in_two_splits_is_found():
    train = small_pool(images=torch.arange(16, dtype=torch.uint8).view(4, 1, 2, 2))
    test = small_pool(images=torch.arange(100, 116, dtype=torch.uint8).view(4, 1, 2, 2))
    assert shared_images({"train": train, "test": test}) == ""
    test.images[2] = train.images[1]
    assert shared_images({"train": train, "test": test}) == (
        "image 2 of the test split is image 1 of the train split, pixel for pixel"
    )


def test_figures_equal_scikit_learns():
    from sklearn.metrics import accuracy_score, f1_score, log_loss, roc_auc_score

    generator = torch.Generator().manual_seed(3)
    logits, target = torch.randn(400, 2, generator=generator), torch.randint(2, (400,), generator=generator)
    chance, answered = logits.double().softmax(1)[:, 1].numpy(), logits.argmax(1).numpy()
    figures = epoch_figures(PAIRS, Scores(logits, None, 0.0), target, torch.zeros(400, 2))
    assert figures == pytest.approx(
        {
            "total_loss": 0.0,
            "accuracy": accuracy_score(target, answered),
            "f1": f1_score(target, answered),
            "auc": roc_auc_score(target, chance),
            "loss": log_loss(target, chance),
        },
        rel=1e-5,
    )


def test_figures_of_one_outcome_alone_have_no_area():
    figures = epoch_figures(PAIRS, Scores(torch.randn(5, 2), None, 0.0), torch.ones(5).long(), torch.zeros(5, 2))
    assert math.isnan(figures["auc"])


def test_class_accuracy_counts_known_images_alone():
    def share(*classes):
        named = torch.eye(3).view(1, 3, 3)
        return class_accuracy(ScoredPairs(PAIRS, torch.eye(2)[:1], torch.zeros(1), torch.tensor([classes]), named))

    assert share(0, 2, -1) == 0.5
    assert share(-1, -1, -1) is None


class Crooked(torch.nn.Module):
    def forward(self, images):
        return images


def test_an_encoder_that_gives_images_is_named(monkeypatch):
    config = resolve(TINY)
    monkeypatch.setattr(type(config.encoder), "build", lambda self, shape: Crooked())
    with pytest.raises(
        ShapeError, match=r"encoder 'mlp' returned \(1, 1, 14, 14\) for one image: expected a tensor \(1, D\)"
    ):
        build_model(config)
