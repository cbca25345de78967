"""The source report: its nine networks, its data, its two suites."""

import math

import pytest
import torch
from conftest import config_of

from pairbench import DataError, MismatchError, PairTask
from pairbench.config.run_config import resolve
from pairbench.config.suite import find_suite
from pairbench.model.pair_model import build_model
from pairbench.plugin.registry import installed
from pairbench.training.complexity import profile
from pairbench.training.metrics import roc_auc
from pairbench_report.dataset import MnistPairs
from pairbench_report.losses import AuxClassification, CrossEntropy

PARAMETERS = {
    "Baseline": 308_898,
    "Linear Siamese 1": 24_810,
    "Linear Siamese 2": 12_410,
    "Siamese CNN 1": 4_790,
    "Siamese CNN 2": 3_932,
    "Siamese CNN 3": 1_840,  # the report's 6,860 count layers that it never uses
    "Siamese RNN 1": 3_740,
    "Siamese RNN 2": 29_802,  # 29,842 with a layer that it never uses
    "Best Model": 160_300,
}


def members(suite: str):
    return {name: config for name, _, config in find_suite(suite, installed()).configs([], installed())}


def test_the_suite_has_the_nine_rows_of_table_one_in_order():
    assert list(members("report")) == list(PARAMETERS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_row_has_as_many_parameters_as_in_the_report(name):
    model = build_model(members("report")[name])
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS[name]


def test_the_rows_are_trained_as_published():
    trains = {name: config.train for name, config in members("report").items()}
    assert {t.batch_size for t in trains.values()} == {64}
    assert {t.learning_rate for t in trains.values()} == {1e-3}
    assert {t.normalize for t in trains.values()} == {"raw"}
    assert {t.schedule for t in trains.values()} == {"constant"}
    assert {t.rounds for t in trains.values()} == {10}
    assert [name for name, t in trains.items() if t.epochs == 50] == [
        "Baseline", "Linear Siamese 1", "Linear Siamese 2", "Siamese RNN 1", "Siamese RNN 2"
    ]  # fmt: skip
    assert {t.epochs for t in trains.values()} == {50, 100}
    assert [name for name, t in trains.items() if t.optimizer == "adam"] == [
        "Siamese CNN 3", "Siamese RNN 1", "Siamese RNN 2", "Best Model"
    ]  # fmt: skip


def test_only_the_published_suite_has_the_two_flaws():
    proper, published = members("report"), members("report-as-published")
    assert {config.train.evaluation for config in proper.values()} == {"eval"}
    assert not any(config.train.carry_over for config in proper.values())
    assert {config.train.evaluation for config in published.values()} == {"train"}
    carried = [name for name, config in published.items() if config.train.carry_over]
    assert carried == ["Siamese CNN 3", "Siamese RNN 2"]


def test_published_losses_are_means_over_pairs():
    best = next(entry for entry in find_suite("report", installed()).entries if entry.name == "Best Model")
    assert best.published["total_loss"].mean == pytest.approx(0.0184 * 62.5)
    assert best.published["accuracy"].mean == pytest.approx(0.8577)


def test_the_recurrent_network_counts_its_operations():
    config = members("report")["Siamese RNN 1"]
    steps = 14 * (2 * 14 * 50 + 2 * 50 * 50)
    assert profile(config).flops_per_pair == 2 * (steps + 2 * 50 * 10) + 2 * 20 * 2


def test_the_bundled_splits_are_balanced_and_share_no_image():
    pools = {split: MnistPairs().load(split, rounds=1, seed=0) for split in ("train", "validation", "test")}
    sizes = {split: torch.bincount(pool.classes).tolist() for split, pool in pools.items()}
    assert sizes == {"train": [250] * 10, "validation": [50] * 10, "test": [200] * 10}
    seen = [image.numpy().tobytes() for pool in pools.values() for image in pool.images]
    assert len(set(seen)) == 5000


def test_a_round_draws_its_pairs_without_replacement_and_labels_them_by_class():
    pool = MnistPairs().load("train", rounds=3, seed=0)
    assert pool.images.shape == (2500, 1, 14, 14)
    assert pool.images.dtype == torch.uint8
    assert pool.pairs.shape == (3, 1000, 2)
    for pairs, target in zip(pool.pairs, pool.target, strict=True):
        assert pairs.unique().numel() == 2000
        first, second = pool.classes[pairs].unbind(1)
        assert torch.equal(target, (first <= second).long())
    assert 0.5 < pool.target.float().mean() < 0.6


def test_a_round_is_the_same_however_many_there_are():
    few, many = (MnistPairs().load("test", rounds=rounds, seed=5) for rounds in (2, 4))
    assert torch.equal(few.pairs, many.pairs[:2])
    assert not torch.equal(few.pairs, MnistPairs().load("test", rounds=2, seed=6).pairs)


def test_small_images_are_means_of_four_pixels():
    small, large = (MnistPairs(size=size).load("validation", rounds=1, seed=0).images for size in (14, 28))
    means = large.float().view(-1, 1, 14, 2, 14, 2).mean(dim=(3, 5))
    assert (small.float() - means).abs().max() <= 0.5


def test_all_pairs_use_every_image_once():
    pool = MnistPairs(test_pairs="all").load("test", rounds=1, seed=0)
    assert pool.pairs.flatten().sort().values.tolist() == list(range(2000))


def test_too_many_pairs_name_the_most():
    with pytest.raises(
        DataError, match=r"dataset.train_pairs=1251: expected at most 1250.*Set dataset.train_pairs=1250"
    ):
        MnistPairs(train_pairs=1251).load("train", rounds=1, seed=0)


def test_missing_torchvision_data_name_the_mend(tmp_path, monkeypatch):
    import torchvision.datasets

    def offline(*args, **kwargs):
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz")

    monkeypatch.setattr(torchvision.datasets.MNIST, "download", offline)
    monkeypatch.setenv("PAIRBENCH_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"cannot be downloaded .*Set dataset.root or PAIRBENCH_DATA .*bundled"):
        MnistPairs(source="torchvision").digest()


def write_idx(folder, part: str, images: torch.Tensor, classes: torch.Tensor) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    count = len(images).to_bytes(4, "big")
    header = bytes([0, 0, 8, 3]) + count + (28).to_bytes(4, "big") * 2
    (folder / f"{part}-images-idx3-ubyte").write_bytes(header + images.numpy().tobytes())
    (folder / f"{part}-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1]) + count + bytes(classes.tolist()))


@pytest.fixture
def mnist_folder(tmp_path):
    digits = torch.Generator().manual_seed(0)
    for part, count in (("train", 10_100), ("t10k", 40)):
        images = torch.randint(256, (count, 28, 28), dtype=torch.uint8, generator=digits)
        write_idx(tmp_path / "MNIST" / "raw", part, images, torch.arange(count) % 10)
    return tmp_path


def test_torchvision_data_are_found_under_the_root_and_split(mnist_folder):
    dataset = MnistPairs(source="torchvision", root=str(mnist_folder), train_pairs=50, test_pairs="all")
    sizes = [len(dataset.load(split, rounds=1, seed=0).images) for split in ("train", "validation", "test")]
    assert sizes == [100, 10_000, 40]
    assert dataset.load("test", rounds=1, seed=0).pairs.shape == (1, 20, 2)


def test_torchvision_data_are_found_by_environment_variable(mnist_folder, monkeypatch):
    monkeypatch.setenv("PAIRBENCH_DATA", str(mnist_folder))
    digest = MnistPairs(source="torchvision").digest()
    assert digest == MnistPairs(source="torchvision", root=str(mnist_folder)).digest()
    file = mnist_folder / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    file.write_bytes(file.read_bytes()[:-1] + b"\x05")
    assert digest != MnistPairs(source="torchvision").digest()


def test_damaged_torchvision_data_are_refused_in_words(mnist_folder):
    file = mnist_folder / "MNIST" / "raw" / "train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:1000])
    dataset = MnistPairs(source="torchvision", root=str(mnist_folder))
    with pytest.raises(DataError, match="cannot be read"):
        dataset.load("train", rounds=1, seed=0)


def task(**changes):
    return PairTask(**({"kind": "ordering", "image_shape": (1, 14, 14), "num_classes": 10} | changes))


@pytest.mark.parametrize(
    ("loss", "shape", "change", "message"),
    [
        (
            {},
            (2, 64),
            {},
            r"size must be 10, the number of classes, got 64. Set encoder.embedding_dim=10 or loss.classi",
        ),
        ({}, (1, 10), {}, r"one embedding for each of the 2 images, got 1. Use pairing=siamese"),
        ({}, (2, 10), {"num_classes": None}, r"has no classes. Use loss=cross_entropy"),
        ({"weights": (1.0, 1.0)}, (2, 10), {}, r"needs 3 weights.*got 2. Set loss.weights=\[0.8,0.8,1\]"),
    ],
)
def test_the_auxiliary_loss_says_what_it_cannot_serve(loss, shape, change, message):
    with pytest.raises(MismatchError, match=message):
        AuxClassification(**loss).build(shape, task(**change))


def batch_of(classes, target, logits, embeddings):
    from pairbench import PairBatch, PairOutput

    return PairOutput(logits, embeddings), PairBatch(torch.zeros(len(target), 2, 1, 1, 1), target, classes)


def test_the_auxiliary_loss_is_equation_one():
    torch.manual_seed(0)
    embeddings, logits = torch.randn(6, 2, 10), torch.randn(6, 2)
    classes, target = torch.randint(10, (6, 2)), torch.randint(2, (6,))
    total, terms = AuxClassification(weights=(0.5, 0.25, 2.0)).build((2, 10), task())(
        *batch_of(classes, target, logits, embeddings)
    )
    entropy = torch.nn.functional.cross_entropy
    parts = [
        entropy(embeddings[:, 0], classes[:, 0]),
        entropy(embeddings[:, 1], classes[:, 1]),
        entropy(logits, target),
    ]
    assert [float(term) for term in terms.values()] == pytest.approx([float(part) for part in parts])
    assert float(total) == pytest.approx(float(0.5 * parts[0] + 0.25 * parts[1] + 2 * parts[2]))


def test_the_auxiliary_loss_leaves_out_images_of_unknown_class():
    torch.manual_seed(0)
    embeddings, logits, target = torch.randn(4, 2, 10), torch.randn(4, 2), torch.randint(2, (4,))
    classes = torch.tensor([[3, -1], [4, -1], [-1, -1], [-1, -1]])
    total, terms = AuxClassification().build((2, 10), task())(*batch_of(classes, target, logits, embeddings))
    known = torch.nn.functional.cross_entropy(embeddings[:2, 0], classes[:2, 0])
    assert float(terms["aux_1"]) == pytest.approx(float(known))
    assert float(terms["aux_2"]) == 0.0
    assert math.isfinite(float(total))


def test_a_soft_target_is_the_probability_of_outcome_one():
    logits, target = torch.randn(5, 2), torch.rand(5)
    module = CrossEntropy().build((2, 10), task())
    total, _ = module(*batch_of(torch.zeros(5, 2).long(), target, logits, torch.zeros(5, 2, 10)))
    log = logits.log_softmax(1)
    assert float(total) == pytest.approx(float(-(target * log[:, 1] + (1 - target) * log[:, 0]).mean()), rel=1e-5)


def test_images_that_are_too_small_are_refused_with_the_mend():
    config = resolve({"encoder": "deep_cnn", "encoder.channels": "[4,4,4,4,4,4,4]", "encoder.dropout": "[]"})
    with pytest.raises(MismatchError, match="at least 15x15 pixels, got 14x14"):
        build_model(config)


def test_the_area_under_the_curve_equals_scikit_learns():
    from sklearn.metrics import roc_auc_score

    generator = torch.Generator().manual_seed(0)
    for ties in (1000, 5, 2):
        score = torch.randint(ties, (300,), generator=generator).float()
        positive = torch.rand(300, generator=generator) < 0.3
        assert roc_auc(score, positive) == pytest.approx(roc_auc_score(positive, score), abs=1e-12)


def test_where_the_data_lie_is_no_part_of_what_a_config_is():
    here, there = (resolve({"dataset.root": root}) for root in ("/one", "/another"))
    assert here.config_id == there.config_id == resolve({}).config_id
    assert here.flat()["dataset.root"] == "/one"


def test_a_failed_download_leaves_no_folder_behind(tmp_path, monkeypatch):
    import torchvision.datasets

    def offline(self):
        from pathlib import Path

        Path(self.raw_folder).mkdir(parents=True)
        raise RuntimeError("Error downloading: no route to host")

    monkeypatch.setattr(torchvision.datasets.MNIST, "download", offline)
    with pytest.raises(DataError, match="cannot be downloaded"):
        MnistPairs(source="torchvision", root=str(tmp_path / "data")).digest()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words",
    [
        "encoder=cnn encoder.kernel_size=15",
        "encoder=cnn encoder.kernel_size=7",
        "encoder=pooled_cnn encoder.kernel_size=12",
        "encoder=deep_cnn encoder.channels=[1,1,1,1,1,1,1,1] encoder.dropout=[]",
    ],
)
def test_the_mend_for_too_small_images_helps(words: str) -> None:
    with pytest.raises(MismatchError, match="Use larger images or") as caught:
        build_model(config_of(*words.split()))
    mend = str(caught.value).rstrip(".").partition("such as ")[2].split()
    changed = {word.partition("=")[0] for word in mend}
    kept = [word for word in words.split() if word.partition("=")[0] not in changed]
    assert build_model(config_of(*kept, *mend))
