"""Ablations and plots: from a config to what each ingredient is worth, and pictures of results."""

import dataclasses
import json

import pytest
from conftest import config_of, simulated_record

import pairbench
from pairbench.cli import invoke
from pairbench.execution.ablation import without_each
from pairbench.plugin.registry import installed
from pairbench.store.store import Store

SMALL = [
    "encoder=mlp", "dataset.train_pairs=60", "dataset.validation_pairs=20", "dataset.test_pairs=40",
    "train.epochs=2", "train.rounds=3",
]  # fmt: skip


def settings(*words: str) -> dict[str, str]:
    return dict(word.split("=", 1) for word in words)


def test_each_ingredient_is_left_out_once():
    whole = settings(
        "encoder=mlp", "encoder.hidden=[8]", "head=posterior", "train.optimizer=sgd", "train.learning_rate=0.1",
        "train.augment=[rotate=5]", "train.tta=2", "train.epochs=3", "train.repair=true",
    )  # fmt: skip
    found = without_each(whole, installed())
    assert [name for name, _ in found] == [
        "whole",
        "without encoder=mlp (deep_cnn)",
        "without head=posterior (concat_linear)",
        "without optimiser",
        "without augmentation",
        "without test-time augmentation",
        "without re-pairing",
    ]
    configs = dict(found)
    plain = configs["without optimiser"].train
    assert (plain.optimizer, plain.learning_rate) == ("adam", 0.003)
    assert configs["without augmentation"].train.tta == 0
    assert configs["without test-time augmentation"].train.augment == {"rotate": 5.0}
    assert {config.train.epochs for config in configs.values()} == {3}


def test_further_variants_are_laid_over_the_whole():
    found = dict(
        without_each(settings("encoder=mlp"), installed(), ["loss=cross_entropy", "head=concat_mlp,posterior"])
    )
    assert list(found)[-3:] == ["with loss=cross_entropy", "with head=concat_mlp", "with head=posterior"]
    assert found["with head=posterior"].encoder.name == "mlp"


def test_nothing_to_turn_off_is_said():
    with pytest.raises(pairbench.SpecError, match="nothing to turn off"):
        without_each({}, installed())


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    found = pairbench.ablate(*SMALL, "head=posterior", off=["loss=cross_entropy"], store=folder, workers=0)
    assert [verdict.difference.rounds for verdict in found.verdicts.values()] == [3, 3, 3]
    return folder


def test_an_ablation_prints_as_a_table_and_as_json(store, capsys):
    arguments = ["ablate", *SMALL, "head=posterior", "--off", "loss=cross_entropy", "--store", str(store), "-q"]
    assert invoke([*arguments, "--workers", "0"]) == 0
    assert "without head=posterior (concat_linear)" in capsys.readouterr().out
    assert invoke([*arguments, "--workers", "0", "--format", "json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert [effect["variant"] for effect in value["effects"]] == [
        "without encoder=mlp (deep_cnn)", "without head=posterior (concat_linear)", "with loss=cross_entropy"
    ]  # fmt: skip
    whole, other = value["results"][0], value["results"][2]
    gap = whole["summary"]["accuracy"]["mean"] - other["summary"]["accuracy"]["mean"]
    assert value["effects"][1]["difference"] == pytest.approx(gap)


@pytest.mark.parametrize(("suffix", "start"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_plots_are_drawn_in_the_kind_that_the_name_asks_for(store, tmp_path, capsys, suffix, start):
    for extra in ([], ["--curves"]):
        out = tmp_path / f"plot.{suffix}"
        assert invoke(["plot", "--store", str(store), "--out", str(out), *extra]) == 0
        assert out.read_bytes().startswith(start)
        assert capsys.readouterr().out == f"{out}\n"


@pytest.mark.parametrize("name", ["\uff20SUM(1)", "\u0e49" * 400], ids=["no glyph", "too wide"])
def test_a_name_that_the_font_or_the_layout_cannot_take_is_drawn_without_a_warning(tmp_path, capsys, name):
    store = Store(tmp_path / "store")
    store.write(simulated_record(config_of("encoder=mlp"), 0, name=name))
    assert invoke(["plot", "--store", str(store.root), "--out", str(tmp_path / "plot.svg")]) == 0
    assert not capsys.readouterr().err


def test_a_report_is_one_page_that_stands_alone(store, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert invoke(["report", "--store", str(store), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    page = out.read_text()
    assert page.count("<svg") == 2
    for text in ("without head=posterior", "vs. best", "Trained in", "CPU seconds per round"):
        assert text in page
    assert "<script" not in page
    assert "<link" not in page


def test_a_hostile_name_is_inert_on_the_page(store, tmp_path):
    from pairbench.results.html_report import write_page
    from pairbench.results.query import stored
    from pairbench.results.results import Results
    from pairbench.store.store import Store

    name = "<script>alert(1)</script>$x$"
    items = [dataclasses.replace(item, name=name) for item in stored(Store(store))]
    write_page(Results(tuple(items), store), tmp_path / "page.html")
    assert "<script>" not in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    "arguments", [["--metric", "beauty"], ["nobody"], ["--suite", "report"], ["--out", "/dev/null/x"]]
)
def test_a_report_that_cannot_be_written_says_why(store, capsys, arguments):
    assert invoke(["report", "--store", str(store), *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "plot.gif"], "expected a name that ends in .svg, .png, .pdf"),
        (["--cost", "money"], "unknown cost 'money'"),
        (["--metric", "beauty"], "unknown metric 'beauty'"),
        (["nobody"], "no result called 'nobody'"),
        (["--suite", "report"], "no records of suite report"),
        (["--cost", "latency"], "nothing to draw"),
    ],
)
def test_a_plot_that_cannot_be_drawn_says_why(store, capsys, arguments, message):
    assert invoke(["plot", "--store", str(store), *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["encoder=mlp,cnn"], "expected one config, not a grid"),
        (["--suite", "report"], "has 9 entries: expected one. Add --only NAME."),
        (["--only", "fast"], "there is none. Add --suite NAME"),
        ([], "nothing to turn off"),
        (["encoder=mlp", "--off", "loss=nothing"], "unknown loss 'nothing'"),
    ],
)
def test_an_ablation_that_cannot_be_made_says_why(capsys, arguments, message):
    assert invoke(["ablate", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1
