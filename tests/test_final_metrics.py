"""The figures of a finished round, held against scikit-learn's and against answers asked for one by one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
import tiny
import torch
from sklearn import metrics as sklearn_metrics

import pairbench
from pairbench import PairPool, PairTask, PositiveInt
from pairbench.config.run_config import Pairing, RunConfig
from pairbench.config.train_options import TrainOptions
from pairbench.data.round_data import RoundData, scaling
from pairbench.model.pair_model import PairModel
from pairbench.training.loop import Loop, Outcome, RoundSplits
from pairbench.training.metrics import fold_accuracies
from pairbench.training.stacked import Stacked
from pairbench_report.heads import ConcatMlp

if TYPE_CHECKING:
    from torch import Tensor, nn

CPU = torch.device("cpu")
RATES = {"eer", "fpr95", "tar_at_far_0.1", "tar_at_far_0.01", "tar_at_far_0.001"}
PLAIN = {"accuracy", "f1", "auc", "loss", "total_loss"}


class Same(pairbench.PairDataset):
    """Are both squares of the same brightness, told by a judge who errs one time in five?

    pairs: pairs in a round, in every split.
    """

    name = "same_squares"
    pairs: PositiveInt = 12

    @property
    def task(self) -> PairTask:
        return PairTask("verification", (1, 4, 4), ("different", "same"), 2, 3)

    def load(self, split: pairbench.interfaces.Split, *, rounds: int, seed: int) -> PairPool:
        pool = tiny.TinyPairs(pairs=self.pairs).load(split, rounds=rounds, seed=seed)
        first, second = pool.classes[pool.pairs].unbind(dim=2)
        errs = torch.rand(first.shape, generator=torch.Generator().manual_seed(seed)) < 0.2
        return PairPool(pool.images, pool.pairs, ((first == second) ^ errs).long(), pool.classes)


class Nearer(pairbench.PairDataset):
    """Which of two squares is nearer the reference in brightness, as the share of votes for the second?

    pairs: pairs in a round, in every split.
    """

    name = "nearer_squares"
    pairs: PositiveInt = 12

    @property
    def task(self) -> PairTask:
        return PairTask("preference", (1, 4, 4), ("first", "second"), 3, 3)

    def load(self, split: pairbench.interfaces.Split, *, rounds: int, seed: int) -> PairPool:
        pool = tiny.TinyPairs(pairs=self.pairs).load(split, rounds=rounds, seed=seed)
        pairs = torch.cat([pool.pairs, pool.pairs.roll(1, dims=1)[..., :1]], dim=2)
        reference, first, second = pool.images[pairs].flatten(3).float().mean(3).unbind(dim=2)
        votes = (((reference - first).abs() - (reference - second).abs()) / 20).sigmoid()
        return PairPool(pool.images, pairs, votes, pool.classes)


class SoftLoss(pairbench.LossStrategy):
    """The cross-entropy of votes."""

    name = "soft_loss"
    supervises_classes: ClassVar[bool] = False

    def build(self, embedding_shape: tuple[int, int], task: PairTask) -> nn.Module:
        from torch import nn

        class Loss(nn.Module):
            def forward(
                self, comparison: pairbench.PairOutput, batch: pairbench.PairBatch
            ) -> tuple[Tensor, dict[str, Tensor]]:
                votes = torch.stack([1 - batch.target, batch.target], dim=1)
                answer = nn.functional.cross_entropy(comparison.logits, votes)
                return answer, {"answer": answer}

        return Loss()


class Frozen(pairbench.Encoder):
    """A linear layer that does not learn."""

    name = "frozen_encoder"

    def build(self, image_shape: tuple[int, int, int]) -> nn.Module:
        from torch import nn

        layer = nn.Linear(math.prod(image_shape), 3).requires_grad_(False)
        return nn.Sequential(nn.Flatten(), layer)


def config_of(
    kind: str, pairing: Pairing = "siamese", encoder: type[pairbench.Encoder] = tiny.TinyEncoder, **train: Any
) -> RunConfig:
    dataset: pairbench.PairDataset = {
        "ordering": tiny.TinyPairs(pairs=300),
        "verification": Same(pairs=300),
        "preference": Nearer(pairs=300),
    }[kind]
    loss = SoftLoss() if kind == "preference" else tiny.TinyLoss()
    options = TrainOptions(**({"epochs": 4, "batch_size": 30, "normalize": "standard", "learning_rate": 0.02} | train))
    return RunConfig(dataset, encoder(), ConcatMlp(hidden=(16,)), loss, pairing, options)


def trained(config: RunConfig) -> tuple[Outcome, list[PairModel], RoundSplits]:
    pools = {split: config.dataset.load(split, rounds=1, seed=0) for split in ("train", "validation", "test")}
    scale = scaling(config.train.normalize, pools["train"], 0)
    splits = RoundSplits(*(RoundData(pool, 0, scale, CPU) for pool in pools.values()))
    if config.train.engine == "stacked":
        engine = Stacked(config, CPU)
        ((_, outcome),) = engine.run({0: splits})
        return outcome, engine.models, splits
    loop = Loop(config, CPU)
    return loop.run(0, splits), loop.models, splits


@torch.no_grad()
def probability(models: list[PairModel], images: Tensor) -> Tensor:
    """(N,) float64, how likely outcome 1 is to an ensemble."""
    return torch.stack([model.eval()(images).logits.double().softmax(1)[:, 1] for model in models]).mean(0)


def said(models: list[PairModel], data: RoundData) -> tuple[Any, Any]:
    """Probabilities of outcome 1 for each example, and with its last two images exchanged."""
    images = data.images(data.rows)
    order = [*range(images.shape[1] - 2), images.shape[1] - 1, images.shape[1] - 2]
    return probability(models, images).numpy(), probability(models, images[:, order]).numpy()


@pytest.mark.parametrize("engine", ["loop", "stacked"])
@pytest.mark.parametrize("members", [1, 2])
def test_verification_figures_equal_those_of_scikit_learn(engine: str, members: int) -> None:
    outcome, models, splits = trained(config_of("verification", engine=engine, members=members))
    for prefix, data in (("", splits.test), ("validation_", splits.validation)):
        false, true, _ = sklearn_metrics.roc_curve(data.target, said(models, data)[0], drop_intermediate=False)
        expected = {f"tar_at_far_{far}": true[false <= far].max() for far in (0.1, 0.01, 0.001)}
        expected |= {"fpr95": false[true >= 0.95].min(), "eer": np.interp(0, false + true - 1, false)}
        assert {name: outcome.metrics[prefix + name] for name in RATES} == pytest.approx(expected)


@pytest.mark.parametrize("engine", ["loop", "stacked"])
def test_a_threshold_is_chosen_on_validation_and_tells_the_test_pairs(engine: str) -> None:
    outcome, models, splits = trained(config_of("verification", engine=engine))
    chances = {name: said(models, getattr(splits, name))[0] for name in ("validation", "test")}
    odds = {name: np.log(chance / (1 - chance)) for name, chance in chances.items()}
    # No threshold tells the validation pairs better.
    target = splits.validation.target.numpy()
    best = max(((odds["validation"] >= cut) == target).mean() for cut in [*odds["validation"], np.inf])
    assert outcome.metrics["validation_accuracy_at_threshold"] == pytest.approx(best)
    told = (odds["test"] >= outcome.metrics["threshold"]) == splits.test.target.numpy()
    assert outcome.metrics["accuracy_at_threshold"] == pytest.approx(told.mean())


@pytest.mark.parametrize("engine", ["loop", "stacked"])
def test_agreement_is_the_mean_share_of_votes_for_the_answer(engine: str) -> None:
    outcome, models, splits = trained(config_of("preference", engine=engine, members=2))
    answer, votes = said(models, splits.test)[0] > 0.5, splits.test.target.double().numpy()
    assert outcome.metrics["agreement"] == pytest.approx((votes * answer + (1 - votes) * ~answer).mean())
    assert outcome.metrics["agreement"] != outcome.metrics["accuracy"]


@pytest.mark.parametrize("kind", ["ordering", "verification", "preference"])
@pytest.mark.parametrize(
    ("pairing", "encoder"),
    [
        ("siamese", tiny.TinyEncoder),
        ("siamese", Frozen),
        ("pseudo_siamese", tiny.TinyEncoder),
        ("two_channel", tiny.TinyEncoder),
    ],
)
def test_consistency_equals_that_of_swapped_images(
    kind: str, pairing: Pairing, encoder: type[pairbench.Encoder]
) -> None:
    # Neither so little training that all answers are one, nor so much that all are right.
    epochs = 8 if kind == "preference" else 1
    outcome, models, splits = trained(config_of(kind, pairing, encoder, members=2, epochs=epochs, learning_rate=0.003))
    before, after = (chance > 0.5 for chance in said(models, splits.test))
    fits = before == after if kind == "verification" else before != after
    if kind == "ordering":
        first, second = splits.test.classes.unbind(1)
        fits = np.where(first == second, before & after, fits)
    assert outcome.metrics["swap_consistency"] == pytest.approx(fits.mean())
    assert 0 < fits.mean() < 1


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        ("ordering", set()),
        ("verification", RATES | {"accuracy_at_threshold", "average_precision", "d_prime"}),
        ("preference", {"agreement"}),
    ],
)
@pytest.mark.parametrize("train", [{}, {"evaluation": "train"}, {"augment": {"shift": 0.5}, "tta": 2}])
def test_each_task_has_its_figures_at_the_end_alone(kind: str, own: set[str], train: dict[str, Any]) -> None:
    outcome, _, _ = trained(config_of(kind, **train))
    final = PLAIN | own | {"swap_consistency"}
    assert set(outcome.metrics) - {"threshold"} == final | {f"validation_{name}" for name in final}
    assert ("threshold" in outcome.metrics) == (kind == "verification")
    assert None not in outcome.metrics.values()
    assert set(outcome.curves["test"]) == set(outcome.curves["train"]) == PLAIN


def test_a_set_in_folds_is_scored_on_each_at_the_threshold_of_the_others() -> None:
    score = torch.tensor([0.9, 0.1, 0.8, 0.3, 0.7, 0.6])
    same = torch.tensor([True, False, True, False, True, False])
    folds = torch.tensor([0, 0, 1, 1, 2, 2])
    assert fold_accuracies(score, same, folds).tolist() == [1.0, 1.0, 0.5]
