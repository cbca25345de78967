"""Plugins that `pairbench plugin new` writes, and what `pairbench plugin check` says of those that are installed."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Install

from pairbench.cli import invoke
from pairbench.cli.scaffold import LONGEST_NAME
from pairbench.plugin.components import INTERFACES
from pairbench.testing import examine

ALL_SLOTS = [word for slot in (*INTERFACES, "accelerator", "metric", "tracker") for word in ("--slot", slot)]


def new(folder: Path, name: str, *options: str) -> Path:
    assert invoke(["plugin", "new", name, "--dir", str(folder), *options]) == 0
    return folder / name


def python(*arguments: str, folder: Path, path: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


def test_a_new_plugin_says_which_files_it_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = new(tmp_path, "shiny")
    files = ["README.md", "pairbench_shiny/__init__.py", "pairbench_shiny/encoder.py", "pyproject.toml"]
    assert capsys.readouterr().out.splitlines() == [str(root / f) for f in [*files, "tests/test_conformance.py"]]


def test_a_slot_that_stands_twice_is_written_once(tmp_path: Path) -> None:
    root = new(tmp_path, "shiny", "--slot", "head", "--slot", "head")
    assert {file.name for file in (root / "pairbench_shiny").iterdir()} == {"__init__.py", "head.py"}


@pytest.mark.parametrize("name", ["a", "x" * LONGEST_NAME, "two_words"])
def test_a_new_plugin_is_clean_under_ruff(tmp_path: Path, name: str) -> None:
    root = new(tmp_path, name, *ALL_SLOTS)
    for command in (["check", "--no-cache", "."], ["format", "--no-cache", "--diff", "."]):
        done = python("-m", "ruff", *command, folder=root, path=root)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_slot_of_a_new_plugin_keeps_every_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(new(tmp_path, "four_slots", *ALL_SLOTS)))
    plugin = importlib.import_module("pairbench_four_slots")
    components, (tracker,) = plugin.pairbench_components(), plugin.pairbench_trackers()
    assert [component.slot for component in components] == list(INTERFACES)
    metrics = plugin.pairbench_metrics()
    assert [metric.name for metric in metrics] == ["four_slots"]
    recipes = [*(component() for component in components), *metrics, *plugin.pairbench_accelerators(), tracker]
    findings = [finding for recipe in recipes for finding in examine(recipe)]
    assert [finding for finding in findings if finding.result != "passed"] == []


def test_a_new_plugin_installs_passes_its_tests_and_trains(tmp_path: Path) -> None:
    slots = [word for slot in ("encoder", "loss", "metric") for word in ("--slot", slot)]
    root, target = new(tmp_path, "shiny", *slots), tmp_path / "site"
    pip = ("-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    done = python(*pip, "--target", str(target), str(root), folder=tmp_path, path=tmp_path)
    assert done.returncode == 0, done.stderr
    tests = python("-m", "pytest", "-q", "-p", "no:cacheprovider", folder=root, path=target)
    assert tests.returncode == 0, tests.stdout + tests.stderr
    assert " passed" in tests.stdout
    code = "import sys; from pairbench.cli import invoke; sys.exit(invoke(sys.argv[1:]))"
    words = ["encoder=shiny", "loss=shiny", "dataset.train_pairs=20", "dataset.validation_pairs=10"]
    words += ["dataset.test_pairs=10", "train.epochs=1", "train.rounds=1"]
    options = ["--format", "json", "--no-timing", "--workers", "1", "--store", str(tmp_path / "records")]
    run = python("-c", code, "run", *words, *options, folder=tmp_path, path=target)
    assert run.returncode == 0, run.stderr
    (result,) = json.loads(run.stdout)["results"]
    assert result["summary"]["accuracy"]["rounds"] == 1
    assert result["rounds"][0]["provenance"]["code"]["encoder"]["distribution"] == "pairbench-shiny"
    assert "shiny" in result["rounds"][0]["metrics"]


def test_a_new_tracker_alone_passes_its_tests_and_logs_a_run(tmp_path: Path) -> None:
    root = new(tmp_path, "ledger", "--slot", "tracker")
    assert "pairbench_components" not in (root / "pairbench_ledger/__init__.py").read_text()
    target = tmp_path / "site"
    pip = ("-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    done = python(*pip, "--target", str(target), str(root), folder=tmp_path, path=tmp_path)
    assert done.returncode == 0, done.stderr
    tests = python("-m", "pytest", "-q", "-p", "no:cacheprovider", folder=root, path=target)
    assert tests.returncode == 0, tests.stdout + tests.stderr
    words = ["encoder=mlp", "dataset.train_pairs=20", "dataset.validation_pairs=10", "dataset.test_pairs=10"]
    options = ["train.epochs=1", "train.rounds=1", "--no-timing", "--workers", "0", "--track", "ledger"]
    run = python("-m", "pairbench", "run", *words, *options, folder=tmp_path, path=target)
    assert run.returncode == 0, run.stderr
    (file,) = tmp_path.glob("ledger-*.csv")
    assert [line.split(",")[1:3] for line in file.read_text().splitlines()[1:]] == [["0", "finished"]]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "plugin name '': expected an identifier of lower-case letters"),
        ("my-net", "such as 'my_net'."),
        ("MyNet", "such as 'my_net'."),
        ("9lives", "such as 'lives'."),
        ("class", "such as 'class_net'."),
        ("../escape", "such as 'escape'."),
        ("x" * (LONGEST_NAME + 1), f"at most {LONGEST_NAME} characters long"),
        ("cnn", "encoder 'cnn' exists already, in pairbench. Choose another name."),
        ("report", "a package called pairbench_report is installed already."),
    ],
)
def test_a_bad_name_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, message: str) -> None:
    assert invoke(["plugin", "new", name, "--dir", str(tmp_path / "new")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "new").exists()


def test_a_taken_folder_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "shiny").mkdir()
    assert invoke(["plugin", "new", "shiny", "--dir", str(tmp_path)]) == 2
    assert "exists already. Choose another name or another --dir." in capsys.readouterr().err
    assert list((tmp_path / "shiny").iterdir()) == []


def test_an_unknown_slot_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["plugin", "new", "shiny", "--dir", str(tmp_path), "--slot", "encodr"]) == 2
    assert capsys.readouterr().err == "unknown slot 'encodr'. Did you mean 'encoder'?\n"


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert invoke(["plugin", "new", "shiny", "--dir", str(tmp_path / "file")]) == 2
    assert "cannot be written: Not a directory. Choose another --dir." in capsys.readouterr().err


def test_check_counts_what_an_installed_plugin_keeps(
    install_plugin: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install_plugin("tidy", "import pairbench\nfrom faulty import Unused\n" + hook("Unused", "Needy") + NEEDY)
    assert invoke(["plugin", "check", "pairbench_tidy", "--format", "json"]) == 1
    results = json.loads(capsys.readouterr().out)["results"]
    bad = [(item["component"], item["check"], item["result"]) for item in results if item["result"] != "passed"]
    assert bad == [
        ("encoder=needy", "has_defaults", "skipped"),
        ("encoder=unused", "gradients_reach_every_parameter", "failed"),
    ]


def test_check_passes_where_every_rule_is_kept(install_plugin: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install_plugin("tidy", "from tiny import TinyEncoder\nimport pairbench\n" + hook("TinyEncoder"))
    assert invoke(["plugin", "check", "tidy"]) == 0
    assert "all checks passed" in capsys.readouterr().out


def test_check_names_a_plugin_that_cannot_be_loaded(
    install_plugin: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install_plugin("torn", "raise OSError('torn in two')")
    assert invoke(["plugin", "check", "torn"]) == 1
    out = capsys.readouterr().out
    assert "OSError: torn in two" in out
    assert "problems found, see above" in out


def test_check_offers_the_nearest_plugin(install_plugin: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install_plugin("tidy", "")
    assert invoke(["plugin", "check", "tidyy"]) == 2
    assert capsys.readouterr().err == "unknown plugin or distribution 'tidyy'. Did you mean 'tidy'?\n"


def test_check_says_that_a_plugin_is_left_out(install_plugin: Install, capsys: pytest.CaptureFixture[str]) -> None:
    install_plugin("tidy", "")
    assert invoke(["plugin", "check", "tidy", "--no-plugins"]) == 2
    assert "plugin 'tidy' is excluded by PAIRBENCH_PLUGINS or --no-plugins." in capsys.readouterr().err


def hook(*names: str) -> str:
    return f"@pairbench.hookimpl\ndef pairbench_components():\n    return [{', '.join(names)}]\n"


NEEDY = '''
class Needy(pairbench.Encoder):
    """An encoder that has to be told its size.

    size: the size.
    """

    name = "needy"
    size: int

    def build(self, image_shape):
        raise NotImplementedError
'''
