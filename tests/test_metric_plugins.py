"""A metric of a plugin, from the hook to every place that shows a figure."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import tiny
from conftest import Install, config_of, fill, simulated_record

import pairbench
from pairbench import MetricSpec, SpecError
from pairbench.cli import invoke
from pairbench.config.suite import read_suite
from pairbench.plugin.metrics import known_metrics, spec_of
from pairbench.plugin.registry import installed
from pairbench.results.plots import against_cost
from pairbench.results.query import leaderboard
from pairbench.store.store import Store

METRIC = '''
import pairbench


def misses(pairs):
    """How many pairs are answered wrongly."""
    return int((pairs.answer != pairs.right).sum())


@pairbench.hookimpl
def pairbench_metrics():
    return [pairbench.MetricSpec("misses", "Pairs answered wrongly.", misses, higher_is_better=False, each_epoch=True)]
'''
RECIPES = "from tiny import *\n"
SHINY = RECIPES + METRIC
WORDS = [*tiny.SPECS, "train.rounds=2", "train.epochs=2"]


def run(*words: str, **options: Any) -> pairbench.Results:
    return pairbench.run(*WORDS, *words, workers=0, timing=False, **options)


def test_a_plugins_metric_is_in_records_curves_tables_json_and_csv(
    install_plugin: Install, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    install_plugin("shiny", SHINY)
    results = run()
    record = results[0].records[0]
    assert record["metrics"]["misses"] == pytest.approx(12 * (1 - record["metrics"]["accuracy"]))
    assert record["metrics"]["validation_misses"] == pytest.approx(12 * (1 - record["metrics"]["validation_accuracy"]))
    assert record["curves"]["test"]["misses"][-1] == record["metrics"]["misses"]
    assert len(record["curves"]["train"]["misses"]) == 2
    assert record["provenance"]["metrics"]["misses"]["distribution"] == "pairbench-shiny"
    assert "misses" in str(results)
    assert "misses_mean" in results.to_csv().splitlines()[0].split(",")
    assert invoke(["leaderboard", "--metric", "misses", "--format", "json"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)["results"]
    assert shown["summary"]["misses"]["mean"] == results[0].summary["misses"].mean


def test_results_are_ranked_and_compared_by_a_plugins_metric_in_its_direction(
    install_plugin: Install, store: Store
) -> None:
    install_plugin("shiny", SHINY)
    run("train.seed=0")
    run("train.learning_rate=0.5")
    means = [item.summary["misses"].mean for item in leaderboard(metric="misses")]
    assert means == sorted(means)


def test_suites_ablations_and_plots_know_a_plugins_metric(install_plugin: Install, tmp_path: Path) -> None:
    install_plugin("shiny", SHINY)
    file = tmp_path / "mine.toml"
    file.write_text('[[run]]\nname = "a"\nwords = ["encoder=mlp"]\npublished = { misses = 3.5 }\n')
    assert read_suite(file).entries[0].published["misses"].mean == 3.5
    parts = [word for word in WORDS if "train." in word]
    data = ["dataset.train_pairs=40", "dataset.validation_pairs=20", "dataset.test_pairs=20"]
    ablation = pairbench.ablate("encoder.dropout=[]", *parts, *data, metric="misses", workers=0)
    assert ablation.verdicts.keys() == set(ablation.names)
    assert "Effect of each ingredient: misses" in str(ablation)
    figure = against_cost(ablation.results, metric="misses")
    assert figure.axes[0].get_ylabel() == "misses, mean and 95% interval"


def test_a_metric_that_raises_or_is_not_finite_is_null_and_named_and_loses_no_round(install_plugin: Install) -> None:
    source = """
    import math
    import pairbench


    def bad(pairs):
        pairs.logits.zero_()
        raise SystemExit("no such figure")


    @pairbench.hookimpl
    def pairbench_metrics():
        return [
            pairbench.MetricSpec("bad", "It raises.", bad, each_epoch=True),
            pairbench.MetricSpec("endless", "It is not finite.", lambda pairs: math.inf),
            pairbench.MetricSpec("absent", "It does not exist.", lambda pairs: None),
        ]
    """
    install_plugin("tiny", RECIPES)
    expected = run()[0].records
    install_plugin("shaky", source)
    results = run(fresh=True)
    assert results.failed == 0
    for record, plain in zip(results[0].records, expected, strict=True):
        assert {name: record["metrics"][name] for name in ("bad", "endless", "absent")} == dict.fromkeys(
            ("bad", "endless", "absent")
        )
        assert {name: record["metrics"][name] for name in plain["metrics"]} == plain["metrics"]
    assert [note for note in results.notes if "is null" in note] == [
        "metric bad of pairbench-shaky is null: SystemExit: no such figure",
        "metric endless of pairbench-shaky is null: it gave inf",
    ]
    assert "bad: 2 rounds are left out of it" in str(results)


def test_a_worker_process_tells_the_same_note(install_plugin: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    source = SHINY.replace("return int(", "return {}['nothing'] or int(")
    file = install_plugin("shiny", source)
    monkeypatch.setenv("PYTHONPATH", f"{file.parent}{os.pathsep}{Path(__file__).parent}")
    results = pairbench.run(*WORDS, workers=1, timing=False)
    assert "metric misses of pairbench-shiny is null: KeyError: 'nothing'" in results.notes


def test_rounds_of_other_code_are_left_out_of_the_metric_and_counted(install_plugin: Install, store: Store) -> None:
    install_plugin("shiny", SHINY)
    run()
    assert leaderboard(metric="misses")[0].summary["misses"].rounds == 2
    install_plugin("shiny", SHINY.replace("answered wrongly", "that are answered wrongly"))
    (stale,) = leaderboard()
    assert "misses" not in stale.summary
    assert stale.summary["accuracy"].rounds == 2
    note = "misses: 2 rounds were measured by other code of pairbench-shiny, and left out of it"
    assert note in " ".join(str(leaderboard()).split())


def test_a_metric_that_came_later_is_missing_in_older_rounds_and_says_so(install_plugin: Install, store: Store) -> None:
    install_plugin("tiny", RECIPES)
    run()
    install_plugin("later", METRIC)
    with pytest.raises(SpecError, match=r"no round here has metric 'misses': it is newer than these rounds.*--fresh"):
        leaderboard(metric="misses")
    run("head.bias=false")
    shown = " ".join(str(leaderboard(metric="misses")).split())
    assert "misses: 2 rounds are older than this metric of pairbench-later, and without it" in shown
    run(fresh=True)
    assert "older than this metric" not in str(leaderboard(metric="misses"))


def test_a_metric_of_a_plugin_that_has_gone_is_shown_and_not_ranked_by(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_of("encoder=mlp")
    store.write(simulated_record(config, 0, {"accuracy": 0.5, "gone_<b>": 0.25}))
    assert pairbench.leaderboard()[0].summary["gone_<b>"].mean == 0.25
    results = pairbench.leaderboard()
    assert "gone <b> 0.2500" in " ".join(str(pairbench.Results(results.items, results.store)).split())
    assert "gone" not in str(results)
    assert '"gone_<b>_mean"' in results.to_csv() or "gone_<b>_mean" in results.to_csv()
    assert invoke(["leaderboard", "--metric", "gone_<b>"]) == 2
    assert "is not installed here, so it is not known whether high or low values are better" in capsys.readouterr().err


def test_two_plugins_that_claim_a_metric_are_both_named(
    install_plugin: Install, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    install_plugin("shiny", SHINY)
    install_plugin("glossy", METRIC)
    assert {"pairbench-shiny:misses", "pairbench-glossy:misses"} < set(known_metrics())
    results = run()
    assert results[0].summary["pairbench-glossy:misses"].mean == results[0].summary["pairbench-shiny:misses"].mean
    assert invoke(["leaderboard", "--metric", "misses"]) == 2
    message = "metric 'misses' is claimed by 2 plugins. Write pairbench-glossy:misses or pairbench-shiny:misses.\n"
    assert capsys.readouterr().err == message
    assert installed().conflicts() == [message.strip()]
    assert invoke(["leaderboard", "--metric", "pairbench-shiny:misses"]) == 0


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (
            'pairbench.MetricSpec("accuracy", "Mine.", misses)',
            "metric 'accuracy' is claimed by pairbench itself",
        ),
        ('pairbench.MetricSpec("validation_x", "Mine.", misses)', "metric name 'validation_x': expected one such as"),
        ('pairbench.MetricSpec("x", "Mine.", 3)', "metric x: compute is 3: expected a function or 'module:function'"),
        ('pairbench.MetricSpec("x", "Mine.", misses, needs="folds")', "metric x: needs is 'folds': expected a tuple"),
        ('pairbench.MetricSpec("x", "Mine.", misses, needs=("fold",))', "metric x needs 'fold': expected one of"),
        ('pairbench.MetricSpec("x", "Mine.", misses, unit="m")', "metric x: unit is 'm': expected 'percent' or ''"),
        ('*[pairbench.MetricSpec("x", "Mine.", misses)] * 2', "pairbench-shiny has metric 'x' twice"),
        ("3", "pairbench_metrics gave 3: expected MetricSpec values"),
    ],
)
def test_a_metric_that_cannot_be_is_refused_with_its_reason(install_plugin: Install, given: str, reason: str) -> None:
    head, _, _ = SHINY.partition("    return [")
    install_plugin("shiny", f"{head}    return [{given}]\n")
    (failure,) = installed().failures
    assert reason in failure.reason


def test_the_core_has_no_list_of_metrics_beside_its_specs() -> None:
    from pairbench.plugin.core_metrics import CORE

    assert [name for name, found in known_metrics().items() if not found.origin.plugin] == [s.name for s in CORE]
    assert all(spec_of(spec.name) is spec and spec.text.endswith(".") for spec in CORE)


def test_what_a_metric_needs_decides_where_it_is_computed(install_plugin: Install) -> None:
    install_plugin("shiny", SHINY.replace("each_epoch=True", 'needs=("verification",)'))
    assert "misses" not in run()[0].records[0]["metrics"]
    assert MetricSpec("x", "X.", lambda pairs: 1).title == "x"


def test_a_leaderboard_of_the_cores_figures_loads_no_plugin(
    install_plugin: Install, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(store, config_of("encoder=mlp"), (0.5, 0.6))
    install_plugin("torn", "raise OSError('torn in two')")
    assert invoke(["leaderboard"]) == 0
    assert installed.cache_info().currsize == 0


def test_metrics_are_listed_where_they_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["list", "metrics", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)["components"]
    assert [row["name"] for row in rows] == list(known_metrics())
    assert rows[0] == {
        "slot": "metric",
        "name": "accuracy",
        "summary": "Fraction of pairs answered correctly.",
        "distribution": "pairbench",
    }
