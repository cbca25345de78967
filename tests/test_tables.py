"""Tables and their forms: what they show, and that no name in them can be anything but text."""

from __future__ import annotations

import io
import math
import re
from pathlib import Path
from typing import Any

import hostile
import pytest
from conftest import config_of, simulated_record

from pairbench.config.suite import Published
from pairbench.plugin.registry import installed
from pairbench.results import render, tables
from pairbench.results.comparison import comparison_of
from pairbench.results.render import Document, Table, to_csv, to_html, to_markdown, to_rich, to_text
from pairbench.results.results import Result, Results
from pairbench.results.statistics import Summary

TIMING = {
    "training_pairs_per_second": {"median": 12345.6, "low": 12000, "high": 13000, "batch_size": 64},
    "inference_pairs_per_second": {"median": 54321.0, "low": 50000, "high": 60000, "batch_size": 256},
    "latency_ms": {"p50": 0.61, "p95": 0.99},
    "environment": {"device": "cpu", "threads": 1},
}


def result(
    name: str = "mine",
    accuracies: tuple[float, ...] = (0.85, 0.86, 0.87),
    *words: str,
    failed: str = "",
    diverged: bool = False,
    **changes: Any,
) -> Result:
    """A result in memory; `failed` is the reason of a further round that failed."""
    config = config_of("encoder=cnn", "train.epochs=3", *words)
    records = [
        simulated_record(
            config, number, {"accuracy": value, "auc": value, "loss": 1 - value, "validation_accuracy": value - 0.01}
        )
        for number, value in enumerate(accuracies)
    ]
    if failed:
        error = {"reason": failed, "traceback": f"Traceback:\n  {failed}"}
        records.append(simulated_record(config, 90, {}, status="failed", cost={}, error=error))
    if diverged:
        records.append(simulated_record(config, 91, {}, status="diverged"))
    return Result(name, config.config_id, config.flat(), tuple(records), **changes)


def results(*items: Result, **changes: Any) -> Results:
    return Results(tuple(items), Path("store"), **changes)


def text(value: Results) -> str:
    return to_text(tables.of_results(value))


def test_one_config_is_a_table_of_its_figures_and_of_its_costs() -> None:
    shown = text(results(result(timing=TIMING)))
    for expected in (
        r"accuracy +86\.00 % +1\.00 +83\.52 to 88\.48 +85\.00 %",
        r"AUC +0\.8600 +0\.0100 +0\.8352 to 0\.8848 +-",
        r"3 rounds of 3 epochs",
        r"parameters +10",
        r"operations +100 FLOP",
        r"training speed +12,346 pairs/s",
        r"latency +0\.61 ms",
        r"records: store",
    ):
        assert re.search(expected, shown), expected


def test_one_round_shows_no_spread() -> None:
    assert re.search(r"accuracy +85\.00 % +- +- ", text(results(result("mine", (0.85,)))))


def test_several_configs_are_a_row_each() -> None:
    shown = text(results(result("first"), result("second", (0.5,), "train.seed=1")))
    assert re.search(r"first +86\.00 ± 1\.00 +0\.8600 ± 0\.0100", shown)
    assert re.search(r"second +50\.00 +0\.5000 ", shown)


def test_words_that_all_configs_share_stand_once() -> None:
    shown = text(results(result("encoder=cnn loss=aux"), result("encoder=mlp loss=aux", (0.5,))))
    assert "all with loss=aux" in shown
    assert re.search(r"^ *encoder=cnn +86", shown, re.MULTILINE)


def test_a_ranking_says_what_is_worse_than_the_best() -> None:
    good = result("good", (0.91, 0.92, 0.90, 0.93))
    poor = result("poor", (0.81, 0.83, 0.79, 0.84), "encoder.kernel_size=5")
    shown = text(results(good, poor, metric="accuracy"))
    assert re.search(r"good +best ", shown)
    assert re.search(r"poor +worse ", shown)


def test_results_on_other_data_are_ranked_apart() -> None:
    document = tables.of_results(results(result("a"), result("b", (0.5,), "dataset.size=28"), metric="accuracy"))
    assert [len(table.rows) for table in document.tables] == [1, 1]


def test_a_ranking_by_a_figure_that_no_table_has_puts_it_first() -> None:
    item = result()
    for record in item.records:
        record["metrics"]["total_loss"] = 1.25
    shown = text(results(item, result("b", (0.5,), "train.seed=1"), metric="total_loss"))
    assert re.search(r"config +vs\. best +total loss +accuracy %", shown)
    assert re.search(r"mine +best +1\.2500 ± 0\.0000", shown)
    assert re.search(r"b +unknown +- ", shown)


def test_a_narrow_ranking_keeps_the_figure_that_it_is_by() -> None:
    items = results(result("a"), result("b", (0.5, 0.6)), metric="auc")
    table = render.fitted(tables.of_results(items).tables[0], 40)
    assert "AUC" in table.columns
    assert "loss" not in table.columns


def test_figures_of_verification_stand_in_a_ranking_and_the_rest_beside_one_config() -> None:
    config = config_of("encoder=cnn")
    figures = {"accuracy": 0.9, "eer": 0.125, "tar_at_far_0.1": 0.75, "threshold": -1.5, "swap_consistency": 1.0}
    records = [simulated_record(config, number, figures) for number in range(2)]
    one = Result("a", config.config_id, config.flat(), records)
    assert re.search(r"EER +12\.50 %", text(results(one)))
    assert re.search(r"threshold +-1\.5000 +0\.0000", text(results(one)))
    assert re.search(r"swap consistency +100\.00 %", text(results(one)))
    ranking = tables.of_results(results(one, result("b"), metric="eer")).tables[0].columns
    assert "EER %" in ranking
    assert not {"threshold", "swap consistency %", "TAR at FAR 0.1 %"} & set(ranking)
    assert "swap consistency %" in tables.of_results(results(one, metric="swap_consistency")).tables[0].columns


def test_configs_with_and_without_a_timing_stand_in_one_table() -> None:
    shown = text(results(result("timed", timing=TIMING), result("untimed", (0.5,), "train.seed=1")))
    assert re.search(r"timed .*12,346 .*54,321 .*0\.61", shown)
    assert re.search(r"untimed .* - +- +-", shown)


def test_one_round_each_is_compared_without_a_p_value() -> None:
    first, second = result("first", (0.9,)), result("second", (0.8,), "encoder.kernel_size=5")
    shown = str(comparison_of(["first", "second"], results(first, second), "accuracy", installed()))
    assert re.search(r"first +unknown +second +\+10\.00 points +- +", shown)


def test_failed_and_diverged_rounds_are_counted_and_told() -> None:
    shown = text(results(result(failed="ValueError: boom", diverged=True), result("other", (0.5,))))
    assert "3 + 1 diverged + 1 failed" in shown
    assert "FAILED mine, round 90: ValueError: boom" in shown
    assert "DIVERGED mine: 1 of 5 rounds, excluded from the means" in shown
    assert "--retry-failed" in shown


def test_a_config_that_failed_in_every_round_has_a_row_without_figures() -> None:
    assert re.search(
        r"bad +0 \+ 1 failed|bad +- +.*0 \+ 1 failed", text(results(result("bad", (), failed="x"), result()))
    )
    assert "FAILED bad" in text(results(result("bad", (), failed="x")))


def test_damaged_files_are_named_up_to_five() -> None:
    damaged = {Path(f"store/{number}.json"): "not JSON" for number in range(7)}
    shown = text(results(result(), damaged=damaged))
    assert shown.count("not JSON; skipped") == 5
    assert "DAMAGED: 2 more files" in shown


def test_an_empty_store_says_how_to_fill_it() -> None:
    assert text(results()) == " No records in store. Train something first: pairbench run"


def test_published_figures_stand_beside_ours() -> None:
    shown = text(
        results(result(published={"accuracy": Published(0.86, 0.02, 10), "loss": Published(0.9)}, note="A remark."))
    )
    assert re.search(r"mine +accuracy % +86\.00 ± 1\.00 +86\.00 ± 2\.00 +agrees", shown)
    assert re.search(r"loss +0\.1400 ± 0\.0100 +0\.9000 +lower", shown)
    assert "mine: A remark." in shown


def test_the_failures_come_with_their_tracebacks() -> None:
    shown = to_text(tables.of_failures(results(result(failed="ValueError: boom"))))
    assert re.search(r"mine +90 +ValueError: boom", shown)
    assert "Traceback:" in shown
    assert "no round has failed" in to_text(tables.of_failures(results(result())))


def test_a_comparison_shows_difference_interval_and_verdict() -> None:
    good = result("good", (0.91, 0.92, 0.90, 0.93))
    poor = result("poor", (0.81, 0.83, 0.79, 0.84), "encoder.kernel_size=5")
    comparison = comparison_of(["good", "poor"], results(good, poor), "accuracy", installed())
    assert re.search(r"good +better +poor +\+9\.75 points +\+8\.23 to \+11\.27", str(comparison))


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (160_300, "160,300"), (999_999, "999,999"), (5.3e6, "5.30 M"), (2e9, "2.00 G"), (4e15, "4000.00 T")],
)
def test_large_numbers_have_a_metric_prefix(value: float, shown: str) -> None:
    assert tables.count(value) == shown


def test_figures_are_percent_or_plain_by_their_metric() -> None:
    summary = Summary(0.8577, 0.0077, 0.85, 0.86, 10)
    assert tables.mean_std("accuracy", summary) == "85.77 ± 0.77"
    assert tables.mean_std("validation_loss", summary) == "0.8577 ± 0.0077"
    assert tables.mean_std("accuracy", None) == "-"
    assert [tables.title(name) for name in ("f1", "validation_auc", "total_loss", "new_one")] == [
        "F1",
        "validation AUC",
        "total loss",
        "new one",
    ]


def test_the_csv_has_plain_numbers_and_a_line_for_each_config() -> None:
    rows = hostile.check_csv(results(result(timing=TIMING), result("other", (), failed="x")).to_csv())
    first, second = (dict(zip(rows[0], row, strict=True)) for row in rows[1:])
    assert float(first["accuracy_mean"]) == pytest.approx(0.86)
    assert (first["finished"], first["failed"], first["accuracy_rounds"]) == ("3", "0", "3")
    assert (first["training_pairs_per_second"], first["latency_ms_p50"]) == ("12345.6", "0.61")
    assert (second["accuracy_mean"], second["failed"], second["parameters"]) == ("", "1", "")


def test_a_narrow_terminal_leaves_out_spare_columns_and_says_so() -> None:
    table = Table("t", ("name", "a", "b"), (("x", "1" * 30, "2" * 30),), 1, spare=("b", "a"))
    assert render.fitted(table, 200) == table
    narrow = render.fitted(table, 60)
    assert narrow.columns == ("name", "a")
    assert narrow.rows == (("x", "1" * 30),)
    assert "columns hidden, terminal too narrow: b" in narrow.notes[-1]


# Hostile names.


def everywhere(name: str) -> Document:
    """A document with `name` in every place that text can stand in."""
    rows = ((name, "1.0", name), (name, name, "-"))
    return Document((Table(name, ("config", name, "x"), rows, 1, (name, f"a {name}")),), (name, f"FAILED {name}"))


@pytest.fixture(params=list(hostile.NAMES))
def name(request: pytest.FixtureRequest) -> str:
    return hostile.NAMES[request.param]


def test_a_hostile_name_is_plain_text_in_a_terminal(name: str) -> None:
    hostile.check_terminal(to_text(everywhere(name)))


def test_a_hostile_name_brings_no_colour_or_command_of_its_own_to_a_terminal(name: str) -> None:
    from rich.console import Console

    console = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=120)
    console.print(to_rich(everywhere(name), 120))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    hostile.check_terminal(plain)
    assert set(re.findall(r"\x1b\[[0-9;]*m", shown)) <= {"\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[0m", "\x1b[1;2m"}


def test_a_hostile_name_is_plain_text_in_markdown(name: str) -> None:
    hostile.check_markdown(to_markdown(everywhere(name)), [3, 3, 3])


def test_a_hostile_name_is_plain_text_in_html(name: str) -> None:
    hostile.check_html(to_html(everywhere(name)))


def test_a_hostile_name_is_no_formula_in_csv(name: str) -> None:
    rows = hostile.check_csv(to_csv(everywhere(name)))
    assert len(rows) == 3


def test_a_hostile_name_is_plain_text_in_all_forms_of_results(name: str) -> None:
    hostile_result = result(
        name,
        failed=name or "x",
        diverged=True,
        published={"accuracy": Published(0.5)},
        note=name,
    )
    value = results(hostile_result, result("other"), damaged={Path("a") / name.replace("\0", ""): name}, notes=(name,))
    hostile.check_terminal(str(value))
    hostile.check_csv(value.to_csv())
    hostile.check_html(value._repr_html_())
    document = tables.of_results(value)
    hostile.check_markdown(
        value.to_markdown(), [len(table.columns) for table in document.tables for _ in range(len(table.rows) + 1)]
    )
    assert hostile.check_json(value.to_json())["results"][0]["name"] == name


def test_markdown_shows_a_name_as_it_is() -> None:
    for name in ("encoder.channels=[3,6,12]", "deep_cnn", "a|b", "x*y", "a\\|b", "__init__", "<b>", "50% ~ $5"):
        shown = hostile.shown_in_markdown(to_markdown(everywhere(name)))
        assert shown.count(name) == 10, shown
    assert "deep_cnn" in to_markdown(everywhere("deep_cnn"))


def test_a_document_without_titles_or_tables_is_still_markdown() -> None:
    hostile.check_markdown(to_markdown(Document((Table("", ("a",), (("1",),)),), ("note",))), [1, 1])
    assert to_markdown(Document((), ("note",))) == "- note"
    assert to_csv(Document((), ("note",))) == "\n"


def test_numbers_stay_numbers_in_csv() -> None:
    cells = ("-5", "+1.5", "-1e-05", "1e5", "-", "-x", "+1+1")
    assert to_csv(Document((Table("", ("a",) * 7, (cells,)),))) == "a,a,a,a,a,a,a\n-5,+1.5,-1e-05,1e5,-,'-x,'+1+1\n"


def test_figures_that_are_not_finite_never_reach_a_table() -> None:
    item = result("mine", (0.5, math.nan, math.inf))
    assert item.summary["accuracy"].mean == 0.5
    assert "nan" not in text(results(item, result()))


def test_words_that_all_specs_share_are_told_once_and_the_number_of_rounds_not_at_all() -> None:
    names = ["encoder=mlp loss=aux train.rounds=5", "encoder=cnn loss=aux"]
    assert tables.short_names(names) == (["encoder=mlp", "encoder=cnn"], "loss=aux")


def test_names_that_are_no_specs_stay_whole() -> None:
    assert tables.short_names(["Best Model", "encoder=cnn"]) == (["Best Model", "encoder=cnn"], "")
