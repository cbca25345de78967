"""The command line: what each command prints, its exit code, and one line for every wrong input."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile
import pytest
import tiny
from conftest import Install, config_of, fill, simulated_record, tiny_config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pairbench
from pairbench.cli import app, invoke
from pairbench.plugin.components import INTERFACES
from pairbench.plugin.registry import Registry
from pairbench.store.store import Store

Cli = Callable[..., tuple[int, str, str]]
FAST = (*tiny.SPECS, "train.rounds=2", "train.epochs=1", "train.device=cpu")
HERE = ("--workers", "0", "--no-timing")


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """A function that runs a command line and gives its exit code, standard output and standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = invoke(list(arguments))
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def filled(store: Store) -> Store:
    """A store with two configs of three rounds each, one clearly better."""
    fill(store, config_of("encoder=cnn"), (0.91, 0.92, 0.93))
    fill(store, config_of("encoder=mlp"), (0.81, 0.82, 0.84), name="poor one")
    return store


# Wrong input.

NUMBERS = ",".join(map(str, range(1, 100)))
WRONG = {
    "no such command": ["rum"],
    "no such option": ["list", "--colour"],
    "no such option of the root": ["--colour", "list"],
    "an option without its value": ["run", "--suite"],
    "an option twice over": ["list", "encoder", "head"],
    "a format": ["list", "--format", "xml"],
    "a format in capitals": ["list", "--format", "JSON"],
    "an empty format": ["list", "--format", ""],
    "a slot": ["list", "encodr"],
    "an empty slot": ["list", ""],
    "show nothing": ["show"],
    "show unknown": ["show", "encoder=nope"],
    "show nonsense": ["show", "\x1b[2J"],
    "show one of two": ["show", "encoder=cnn", "nope"],
    "encoder": ["run", "encoder=deepcnn"],
    "encoder that is empty": ["run", "encoder="],
    "grid that is empty": ["run", "encoder=cnn,"],
    "grid that is all commas": ["run", "encoder=,,,"],
    "grid with twins": ["run", "encoder=cnn,cnn"],
    "grid too large": ["run", *(f"train.{name}=" + NUMBERS for name in ("epochs", "rounds", "seed"))],
    "the same config twice": ["run", "encoder=cnn", "train.rounds=1,2"],
    "key": ["run", "encodr=cnn"],
    "key twice": ["run", "encoder=cnn", "encoder=mlp"],
    "key without a value": ["run", "encoder"],
    "key that is empty": ["run", "=cnn"],
    "key with two dots": ["run", "encoder.a.b=1"],
    "word that is empty of sense": ["run", "encoder cnn"],
    "word of signs": ["run", "!@#$%^&*()"],
    "word of a megabyte": ["run", "x" * 1_000_000],
    "option": ["run", "encoder.kernel=3"],
    "option of none": ["run", "loss=cross_entropy", "loss.weights=[1]"],
    "type": ["run", "train.epochs=many"],
    "range": ["run", "train.epochs=0"],
    "range below": ["run", "train.learning_rate=-1"],
    "nan": ["run", "train.learning_rate=nan"],
    "infinity": ["run", "train.learning_rate=inf"],
    "choice": ["run", "train.normalize=percent"],
    "mapping": ["run", "train.optimizer_options=momentum"],
    "mapping with nan": ["run", "train.optimizer_options=[momentum=nan]"],
    "list": ["run", "encoder=cnn", "encoder.channels=[3,x]"],
    "bracket": ["run", "loss.weights=[1,2"],
    "quote": ["run", 'dataset.root="x'],
    "pairing": ["run", "pairing=triplets"],
    "options that clash": ["run", "train.tta=2"],
    "escape sequence": ["run", "encoder=\x1b]0;title\x07"],
    "newline": ["run", "encoder=a\nb"],
    "markup": ["run", "encoder=[/red]"],
    "bidi": ["run", "encoder=\u202eabc"],
    "surrogate": ["run", "encoder=\udcff"],
    "surrogate in an option": ["run", "train.epochs=\udcff"],
    "a dash for a word": ["run", "-"],
    "words after the end of options": ["run", "--", "--nope"],
    "suite": ["run", "--suite", "reprt"],
    "suite file": ["run", "--suite", "nowhere.toml"],
    "suite that is a folder": ["run", "--suite", "."],
    "suite entry": ["run", "--suite", "report", "--only", "Basline"],
    "suite entry that is empty": ["run", "--suite", "report", "--only", ","],
    "entry without a suite": ["run", "--only", "Baseline"],
    "suite with a wrong word": ["run", "--suite", "report", "train.epochs=many"],
    "workers": ["run", "--workers", "-1"],
    "workers by name": ["run", "--workers", "many"],
    "too many workers": ["run", "--workers", "100000"],
    "timeout": ["run", "--round-timeout", "0"],
    "timeout that is no number": ["run", "--round-timeout", "nan"],
    "timeout without end": ["run", "--round-timeout", "inf"],
    "store that is a file": ["run", "--store", __file__],
    "store of nobody": ["leaderboard", "--store", "~nobody-here/store"],
    "store that is a file, read": ["leaderboard", "--store", __file__],
    "metric": ["leaderboard", "--metric", "acuracy"],
    "compare nothing": ["compare"],
    "compare one": ["compare", "encoder=cnn"],
    "compare with itself": ["compare", "encoder=cnn", "encoder=cnn"],
    "compare with nobody": ["compare", "encoder=cnn", "nobody"],
    "compare a grid": ["compare", "encoder=cnn,mlp", "encoder=cnn"],
    "compare by an unknown metric": ["compare", "encoder=cnn", "encoder=mlp", "--metric", "x"],
    "time nothing": ["timing"],
    "time blanks": ["timing", " "],
    "time twins": ["timing", "encoder=cnn loss=aux", "encoder=cnn loss=aux"],
    "time an unknown": ["timing", "encoder=nope"],
    "too few repeats": ["timing", "encoder=cnn", "--repeats", "2"],
    "ablate nothing": ["ablate"],
    "ablate by an unknown metric": ["ablate", "encoder=nope"],
    "plot nobody": ["plot", "nobody"],
    "plugin": ["plugin"],
    "plugin nothing": ["plugin", "nwe"],
}  # fmt: skip


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("arguments", list(WRONG.values()), ids=list(WRONG))
def test_wrong_input_is_told_in_one_line_and_nothing_else(
    cli: Cli, arguments: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    code, out, err = cli(*arguments)
    assert (code, out) == (2, "")
    if arguments == ["plugin"]:
        # A group without a command answers with its help.
        assert err.startswith("Usage: pairbench plugin")
        return
    assert err.count("\n") == 1, err
    assert err.endswith("\n")
    assert err[:-1].isprintable(), err
    assert len(err) < 1200
    assert "Traceback" not in err
    assert "pairbench itself failed" not in err
    assert sorted(tmp_path.rglob("*")) == before


SIGNS = st.text(st.sampled_from("=,.[](){}\"'a1_ -\n\0\x1b\u202e\ud800é"), max_size=30)
ARGUMENTS = st.lists(
    SIGNS
    | st.text(max_size=20)
    | st.sampled_from(["encoder=cnn", "train.epochs=2", "loss.weights=[1]", "--suite", "report", "--only", "--", "-q"]),
    max_size=4,
)


@pytest.mark.usefixtures("filled")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["run", "show", "list", "compare", "timing", "leaderboard", "ablate", "doctor"]), ARGUMENTS)
def test_any_arguments_are_understood_or_refused_in_one_line(cli: Cli, command: str, arguments: list[str]) -> None:
    # This word is wrong wherever it stands, so that nothing is trained or timed.
    wrong = [] if command in ("show", "list", "compare") else ["encoder=nope"]
    code, out, err = cli(command, *arguments, *wrong)
    assert code in (0, 2), err
    if code == 2:
        assert out == ""
        assert err.count("\n") == 1
        assert err[:-1].isprintable()
    assert "pairbench itself failed" not in err


def test_the_messages_are_worded_as_the_design_has_them(cli: Cli) -> None:
    assert cli("run", "encoder=deepcnn")[2].startswith("unknown encoder 'deepcnn'. Did you mean 'deep_cnn'")
    assert cli("run", "encoder=cnn", "encoder.channels=many")[2] == (
        "encoder.channels=many: expected a whole number of at least 1\n"
    )


def test_a_head_and_a_loss_that_do_not_fit_are_refused_before_anything_trains(cli: Cli, store: Store) -> None:
    code, out, err = cli("run", "encoder=cnn", "encoder.embedding_dim=64", "loss=aux", *HERE)
    assert (code, out) == (2, "")
    assert err == (
        "loss 'aux' uses each embedding as class logits, so its size must be 10, the number of classes, got 64. "
        "Set encoder.embedding_dim=10 or loss.classifier=linear.\n"
    )
    assert store.read().records == []


def test_no_command_at_all_prints_the_help(cli: Cli) -> None:
    code, out, err = cli()
    assert (code, out) == (2, "")
    assert "Usage: pairbench" in err
    assert "leaderboard" in err


def test_a_traceback_is_printed_on_request_and_the_line_still_comes_last(cli: Cli) -> None:
    code, out, err = cli("run", "encoder=nope", "--traceback")
    assert (code, out) == (2, "")
    assert err.startswith("Traceback (most recent call last):")
    assert err.splitlines()[-1].startswith("unknown encoder 'nope'.")


def test_a_fault_of_pairbench_itself_is_called_that(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: Any, **_options: Any) -> None:
        raise KeyError("a\nb\x1b[2J")

    monkeypatch.setattr(pairbench, "leaderboard", broken)
    code, out, err = cli("leaderboard")
    assert (code, out) == (1, "")
    assert err == (
        "pairbench itself failed (KeyError: 'a\\nb\\x1b[2J'). Run again with --traceback and report what it prints.\n"
    )


def test_ctrl_c_is_no_fault_and_has_a_code_of_its_own(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_arguments: Any, **_options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pairbench, "run", interrupted)
    code, out, err = cli("run", "encoder=mlp")
    assert (code, out) == (130, "")
    assert err == "interrupted. Finished rounds are saved: run the same command again to continue.\n"


def test_a_store_that_cannot_be_written_stops_with_code_1(cli: Cli, store: Store, tiny_registry: Registry) -> None:
    store.root.mkdir()
    (store.root / tiny_config("train.epochs=1", "train.device=cpu").config_id).write_text("")
    code, out, err = cli("run", *FAST, *HERE, "--quiet")
    assert (code, out) == (1, "")
    assert err.startswith("cannot write to store ")
    assert err.count("\n") == 1


# Help and version.


def commands() -> list[str]:
    return [command.name or "" for command in app.registered_commands]


@pytest.mark.parametrize("command", commands())
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_command_has_a_help(cli: Cli, command: str, flag: str) -> None:
    code, out, err = cli(command, flag)
    assert (code, err) == (0, "")
    assert f"Usage: pairbench {command}" in out


def test_the_help_names_every_command(cli: Cli) -> None:
    code, out, err = cli("--help")
    assert (code, err) == (0, "")
    assert all(f"  {command} " in out for command in commands())


def test_the_version_is_that_of_the_package(cli: Cli) -> None:
    assert cli("--version") == (0, f"pairbench {pairbench.__version__}\n", "")


# Looking.


def check_form(form: str, out: str) -> Any:
    """Check that the output is in the form that was asked for; gives back the value of JSON and the rows of CSV."""
    match form:
        case "json":
            return hostile.check_json(out)
        case "csv":
            rows = hostile.check_csv(out)
            assert len(rows) > 1
            return rows
        case "markdown":
            assert "| --- |" in out
        case _:
            hostile.check_terminal(out)
    return None


FORMS = ["table", "json", "csv", "markdown"]


@pytest.mark.parametrize("form", FORMS)
def test_list_prints_every_form(cli: Cli, form: str) -> None:
    code, out, err = cli("list", "--format", form)
    assert (code, err) == (0, "")
    value = check_form(form, out)
    assert "deep_cnn" in out
    if form == "json":
        assert (value["schema"], value["failures"]) == (1, [])
        assert {item["slot"] for item in value["components"]} == {*INTERFACES, "pairing", "suite"}
        assert set(value["components"][0]) == {"slot", "name", "summary", "distribution"}


@pytest.mark.parametrize("form", FORMS)
def test_show_prints_every_form(cli: Cli, form: str) -> None:
    code, out, err = cli("show", "encoder=deep_cnn", "-f", form)
    assert (code, err) == (0, "")
    value = check_form(form, out)
    assert "batch_norm" in out
    if form == "json":
        assert [item["name"] for item in value["shown"]] == ["deep_cnn"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.usefixtures("devices")
def test_doctor_prints_every_form(cli: Cli, form: str) -> None:
    code, out, err = cli("doctor", "--format", form)
    assert (code, err) == (0, "")
    value = check_form(form, out)
    if form == "json":
        assert {"machine", "devices", "plugins", "failures", "data", "store"} <= set(value)


def test_doctor_asks_torch_for_the_devices(cli: Cli) -> None:
    code, out, _ = cli("doctor", "--format", "json")
    assert code == 0
    assert hostile.check_json(out)["devices"]["cpu"] == ["cpu"]


@pytest.mark.usefixtures("devices")
def test_doctor_ends_with_1_where_something_is_broken(cli: Cli, filled: Store) -> None:
    next(filled.root.rglob("*.json")).write_text("{")
    code, out, _ = cli("doctor")
    assert code == 1
    assert "problems found, see above" in out


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("form", FORMS)
def test_leaderboard_prints_every_form(cli: Cli, form: str) -> None:
    code, out, err = cli("leaderboard", "--format", form)
    assert (code, err) == (0, "")
    value = check_form(form, out)
    assert out.index("encoder=cnn") < out.index("poor one")
    if form == "json":
        contract(value)
        assert [item["name"] for item in value["results"]][1] == "poor one"
    if form == "csv":
        assert [row[0] for row in value] == ["name", str(config_of("encoder=cnn")), "poor one"]


@pytest.mark.parametrize("form", FORMS)
def test_an_empty_store_is_no_error_in_any_form(cli: Cli, form: str) -> None:
    code, out, err = cli("leaderboard", "--format", form)
    assert (code, err) == (0, "")
    if form == "json":
        assert hostile.check_json(out) == {"schema": 1, "results": []}
    elif form != "csv":
        assert "Train something first: pairbench run" in out


@pytest.mark.usefixtures("filled")
def test_a_leaderboard_can_be_by_another_metric(cli: Cli) -> None:
    code, out, _ = cli("leaderboard", "--metric", "loss", "--format", "json")
    assert code == 0
    assert [item["summary"]["loss"]["mean"] for item in hostile.check_json(out)["results"]] == pytest.approx(
        [0.08, 0.5300 / 3]
    )


def test_the_failed_rounds_can_be_shown_with_their_tracebacks(cli: Cli, store: Store) -> None:
    error = {"reason": "ValueError: boom", "traceback": "Traceback\n  line 1\nValueError: boom"}
    store.write(simulated_record(config_of("encoder=cnn"), 3, {}, status="failed", cost={}, error=error))
    code, out, err = cli("leaderboard", "--failed", "--format", "json")
    assert (code, err) == (0, "")
    (failure,) = hostile.check_json(out)["failures"]
    assert (failure["round"], failure["reason"], failure["traceback"]) == (3, error["reason"], error["traceback"])
    assert "line 1" in cli("leaderboard", "--failed")[1]


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("form", FORMS)
def test_compare_prints_every_form(cli: Cli, form: str) -> None:
    code, out, err = cli("compare", "encoder=cnn loss=aux", "poor one", "--format", form)
    assert (code, err) == (0, "")
    value = check_form(form, out)
    assert "better" in out
    if form == "json":
        (found,) = value["comparisons"]
        assert {
            "first",
            "second",
            "metric",
            "difference",
            "low",
            "high",
            "p",
            "p_corrected",
            "rounds",
            "test",
            "verdict",
        } == set(found)


def test_a_damaged_record_is_named_below_the_table(cli: Cli, filled: Store) -> None:
    path = next(filled.root.rglob("*.json"))
    path.write_text("{")
    code, out, err = cli("leaderboard")
    assert (code, err) == (0, "")
    assert "not JSON; skipped" in out
    hostile.check_json(cli("leaderboard", "--format", "json")[1])


# Running.


def contract(value: Any) -> None:
    """Check the form that run and leaderboard promise."""
    assert set(value) == {"schema", "results"}
    assert value["schema"] == 1
    for item in value["results"]:
        assert {"name", "config_id", "config", "summary", "rounds", "timing"} <= set(item)
        assert item["config"]["train.epochs"] >= 1
        for summary in item["summary"].values():
            assert set(summary) == {"mean", "std", "low", "high", "rounds"}
        assert 0 <= item["summary"]["accuracy"]["mean"] <= 1
        for record in item["rounds"]:
            assert {"schema", "config", "config_id", "round", "seed", "status"} <= set(record)
            assert {"metrics", "curves", "cost", "environment", "provenance"} <= set(record)


@pytest.mark.usefixtures("tiny_registry")
@pytest.mark.parametrize("form", FORMS)
def test_run_trains_and_prints_every_form(cli: Cli, store: Store, form: str) -> None:
    code, out, err = cli("run", *FAST, *HERE, "--format", form)
    assert code == 0
    assert err.splitlines()[0] == "training 2 rounds of 1 config in this process"
    assert [line[:5] for line in err.splitlines()[1:]] == ["[1/2]", "[2/2]"]
    value = check_form(form, out)
    assert len(store.read().records) == 2
    if form == "json":
        contract(value)
        (item,) = value["results"]
        assert {"accuracy", "f1", "auc", "loss"} <= set(item["summary"])
        assert item["config"] == tiny_config("train.rounds=2", "train.epochs=1", "train.device=cpu").flat()
        assert [record["round"] for record in item["rounds"]] == [0, 1]
        assert item["timing"] is None


@pytest.mark.usefixtures("tiny_registry")
def test_the_same_command_again_trains_nothing_and_prints_the_same(cli: Cli) -> None:
    first = cli("run", *FAST, *HERE, "--format", "json")
    second = cli("run", *FAST, *HERE, "--format", "json")
    assert second == (0, first[1], "")


@pytest.mark.usefixtures("tiny_registry")
def test_quiet_leaves_standard_error_empty(cli: Cli) -> None:
    assert cli("run", *FAST, *HERE, "--quiet")[2] == ""


@pytest.mark.usefixtures("tiny_registry")
def test_fresh_trains_again_and_keeps_what_was_there(cli: Cli, store: Store) -> None:
    cli("run", *FAST, *HERE)
    code, _, err = cli("run", *FAST, *HERE, "--fresh")
    assert code == 0
    assert "[2/2]" in err
    assert len(list(store.root.rglob("*.superseded-*"))) == 2
    assert len(store.read().records) == 2


@pytest.mark.usefixtures("tiny_registry")
def test_a_grid_has_a_result_for_each_point(cli: Cli) -> None:
    code, out, _ = cli("run", *FAST, "pairing=siamese,pseudo_siamese", "train.seed=1,2", *HERE, "--format", "csv")
    assert code == 0
    names = [row["name"] for row in csv.DictReader(io.StringIO(out))]
    assert len(set(names)) == 4


@pytest.mark.usefixtures("tiny_registry")
def test_a_suite_of_the_users_own_can_be_run_in_part_with_other_words(cli: Cli, tmp_path: Path) -> None:
    words = ", ".join(f'"{word}"' for word in tiny.SPECS)
    (tmp_path / "mine.toml").write_text(
        f'words = [{words}]\n[[run]]\nname = "A"\n[[run]]\nname = "B [/red]"\nwords = ["head.bias=false"]\n'
        "published = { accuracy = 0.5 }\n"
    )
    arguments = ["run", "--suite", str(tmp_path / "mine.toml"), "train.epochs=1", "train.rounds=1", *HERE, "--quiet"]
    code, out, _ = cli(*arguments, "--only", "b [/red]", "--format", "json")
    assert code == 0
    (item,) = hostile.check_json(out)["results"]
    assert (item["name"], item["published"]["accuracy"]["mean"]) == ("B [/red]", 0.5)
    assert item["rounds"][0]["provenance"]["suite"] == "mine"
    code, out, _ = cli(*arguments)
    assert code == 0
    assert "B [/red]" in out
    assert "Compared with published figures" in out


BROKEN = '''
import pairbench

class Broken(pairbench.Encoder):
    """Prints, and fails while it trains."""

    name = "broken"
    message: str = "boom"

    def build(self, image_shape):
        from torch import nn

        message = self.message

        class Network(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = nn.LazyLinear(3)

            def forward(self, images):
                print("NOISE")
                if self.training:
                    raise ValueError(message)
                return self.layer(images.flatten(1))

        return Network()

@pairbench.hookimpl
def pairbench_components():
    return [Broken]
'''


@pytest.fixture
def broken(tiny_registry: Registry, install_plugin: Install) -> tuple[str, ...]:
    """Words with an encoder that fails in every round, and prints besides."""
    install_plugin("broken", BROKEN)
    return ("encoder=broken", *(word for word in FAST if not word.startswith("encoder")))


@pytest.mark.parametrize("form", FORMS)
def test_rounds_that_fail_give_code_1_and_are_told(cli: Cli, broken: tuple[str, ...], form: str) -> None:
    code, out, err = cli("run", *broken, *HERE, "--format", form)
    assert code == 1
    assert "NOISE" in err
    assert "NOISE" not in out
    value = check_form(form, out)
    if form == "json":
        (item,) = value["results"]
        assert [record["status"] for record in item["rounds"]] == ["failed", "failed"]
        assert {record["error"]["reason"] for record in item["rounds"]} == {"ValueError: boom"}
        assert item["summary"] == {}
    elif form != "csv":
        assert "ValueError: boom" in out


def test_failed_rounds_are_trained_again_only_on_request(cli: Cli, broken: tuple[str, ...], store: Store) -> None:
    cli("run", *broken, *HERE)
    assert cli("run", *broken, *HERE)[2] == ""
    assert len(store.read().records) == 2
    code, _, err = cli("run", *broken, *HERE, "--retry-failed")
    assert code == 1
    assert "[2/2]" in err
    assert len(store.read().records) == 4


def test_one_config_that_fails_does_not_stop_the_others(cli: Cli, broken: tuple[str, ...]) -> None:
    words = [word for word in broken if not word.startswith("encoder")]
    code, out, _ = cli("run", "encoder=broken,tiny_encoder", *words, *HERE, "--format", "json")
    assert code == 1
    statuses = [[record["status"] for record in item["rounds"]] for item in hostile.check_json(out)["results"]]
    assert statuses == [["failed"] * 2, ["finished"] * 2]


@pytest.mark.parametrize(
    "key", ["rich markup", "escapes", "html", "bidi", "ten kilobytes", "markdown image", "newlines"]
)
def test_a_hostile_reason_is_inert_in_every_form(cli: Cli, broken: tuple[str, ...], key: str) -> None:
    from pairbench.config.spec import written

    word = f"encoder.message={written(hostile.NAMES[key], quote=True)}"
    code, _, err = cli("run", *broken, word, *HERE)
    assert code == 1
    hostile.check_terminal(err)
    for form in FORMS:
        _, out, _ = cli("run", *broken, word, *HERE, "--format", form)
        check_form(form, out)
        check_form("json" if form == "json" else "table", cli("leaderboard", "--failed", "--format", form)[1])


# The ways out.


def in_shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What a shell makes of a command line, `pairbench` being the one of this interpreter."""
    line = f'pairbench() {{ "{sys.executable}" -m pairbench "$@"; }}; {command}'
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=os.environ | environment)


def test_a_reader_that_goes_early_is_no_fault() -> None:
    done = in_shell("pairbench list | true; pairbench list --format json | head -n 1")
    assert (done.stdout, done.stderr) == ("{\n", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_output_that_cannot_be_written_ends_in_one_line() -> None:
    done = in_shell("pairbench list > /dev/full")
    assert done.returncode == 1
    assert done.stderr.startswith("No space left on device.")
    assert done.stderr.count("\n") == 1


def test_a_closed_output_is_no_crash() -> None:
    done = in_shell("pairbench list --format csv >&- && pairbench list >&-")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_terminal_without_all_letters_still_gets_a_table(store: Store) -> None:
    fill(store, config_of("encoder=cnn"), (0.5, 0.6), name="\u6570 \u00b1")
    done = in_shell("pairbench leaderboard", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()
    assert "0.5500" in done.stdout or "55.00" in done.stdout
