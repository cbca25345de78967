"""The plugins on the pages about events and trackers: short, and they do what their pages say."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import Install

import pairbench
from pairbench.plugin.registry import installed
from pairbench.testing import examine

DOCS = Path(__file__).parent.parent / "docs"
sys.path.insert(0, str(DOCS))

import refresh  # noqa: E402

WORDS = ("encoder=mlp", "dataset.train_pairs=20", "dataset.validation_pairs=10", "dataset.test_pairs=10")
WORDS += ("train.epochs=1", "train.rounds=2")


@pytest.fixture
def on_page(install_plugin: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugins of both pages, installed, in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    for page in ("events", "track"):
        project, source = files(page)
        ((name, module),) = project["entry-points"]["pairbench"].items()
        install_plugin(name, source, distribution=project["name"], version=project["version"], value=module)
    assert installed().failures == []


def text(page: str) -> str:
    return (DOCS / f"how-to/{page}.md").read_text()


def files(page: str) -> tuple[dict[str, dict[str, dict[str, str]]], str]:
    """The [project] table and the source of the plugin on a page."""
    found = {Path(block.file).suffix: block.body for block in refresh.marked(text(page))}
    return tomllib.loads(found[".toml"])["project"], found[".py"]


@pytest.mark.parametrize("page", ["events", "track"])
def test_the_plugin_of_a_page_is_short(page: str) -> None:
    blocks = [block.body for block in refresh.marked(text(page)) if block.mark == "file"]
    assert len([line for body in blocks for line in body.splitlines() if line.strip()]) < 30


@pytest.mark.usefixtures("on_page")
def test_the_event_plugin_of_its_page_keeps_a_log() -> None:
    (result,) = pairbench.run(*WORDS, workers=0, timing=False)
    lines = Path("pairbench.log").read_text().splitlines()
    assert re.fullmatch(r"\S+ trains 2 rounds of 1 configs", lines[0])
    told = [f" finished {record['metrics']['accuracy']}" for record in result.records]
    assert [line.partition(" ")[1] + line.partition(" ")[2] for line in lines[1:3]] == told
    assert all((Path("store") / f"{line.split()[0]}.json").is_file() for line in lines[1:3])
    assert re.fullmatch(r"\S+ is over after \d+ seconds", lines[3])


@pytest.mark.usefixtures("on_page")
def test_the_tracker_of_its_page_writes_a_line_for_each_round() -> None:
    results = pairbench.run(*WORDS, workers=0, timing=False, track="ledger")
    (file,) = Path.cwd().glob("ledger-*.csv")
    assert list(results.notes) == [f"tracked by ledger: {file.name}"]
    assert file.read_text().splitlines() == [
        f"{results[0].config_id},{record['round']},{record['metrics']['accuracy']}" for record in results[0].records
    ]


@pytest.mark.usefixtures("on_page")
def test_the_tracker_of_its_page_passes_the_conformance_kit() -> None:
    findings = list(examine(installed().find_tracker("ledger")))
    assert [finding for finding in findings if finding.result != "passed"] == []


def test_the_wrapper_of_its_page_hides_a_component(install_plugin: Install) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", text("events"), re.M | re.S)
    (source,) = [block for block in blocks if "wrapper=True" in block]
    assert "elman_rnn" in installed().names("encoder")
    install_plugin("hiding", source)
    assert installed().failures == []
    assert "elman_rnn" not in installed().names("encoder")
    assert "cnn" in installed().names("encoder")


def test_the_page_names_every_variable_that_the_trackers_read() -> None:
    read = set()
    for file in (DOCS.parent / "plugins/pairbench_trackers").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "os.environ.get":
                read.add(ast.literal_eval(node.args[0]))
    assert len(read) > 3
    assert all(f"`{name}" in text("track") for name in read)
