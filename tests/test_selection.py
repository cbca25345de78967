"""Which installed plugins are let in: by PAIRBENCH_PLUGINS, by --no-plugins, and by the version that they need."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from conftest import Install

import pairbench
from pairbench.cli import invoke
from pairbench.config.run_config import resolve
from pairbench.config.spec import expand, parse
from pairbench.config.suite import find_suite
from pairbench.errors import SpecError
from pairbench.plugin.registry import installed, load
from pairbench.plugin.selection import CHOICE


def encoder(name: str, before: str = "") -> str:
    """The source of a plugin with one encoder."""
    return f'''
{before}
import pairbench

class Named(pairbench.Encoder):
    """Flattens."""

    name = "{name}"

    def build(self, image_shape):
        from torch import nn

        return nn.Flatten()

@pairbench.hookimpl
def pairbench_components():
    return [Named]
'''


@pytest.fixture
def three(install_plugin: Install) -> None:
    """Three third-party plugins, each with an encoder of its own name; the plugin c-c says so in Acme_C."""
    install_plugin("a", encoder("a"), distribution="acme-a")
    install_plugin("b", encoder("b"), distribution="acme-b")
    install_plugin("c-c", encoder("c"), distribution="Acme_C", value="c_plugin")


def third_party(choice: str | None, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The encoders of third parties that are let in."""
    if choice is not None:
        monkeypatch.setenv(CHOICE, choice)
    return {"a", "b", "c"} & set(load().names("encoder"))


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, {"a", "b", "c"}),
        ("", set()),
        (" , ", set()),
        ("a", {"a"}),
        ("acme-b", {"b"}),
        ("a, ACME_B", {"a", "b"}),
        ("c_c", {"c"}),
        ("acme.c", {"c"}),
        ("report", set()),
    ],
)
def test_the_environment_lets_in_plugins_and_distributions_by_name(
    monkeypatch: pytest.MonkeyPatch, choice: str | None, expected: set[str]
) -> None:
    assert third_party(choice, monkeypatch) == expected


@pytest.mark.usefixtures("three")
def test_bundled_plugins_always_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHOICE, "a")
    assert {"deep_cnn", "cnn", "a"} <= set(load().names("encoder"))


@pytest.mark.usefixtures("three")
def test_a_name_that_no_plugin_has_is_told_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHOICE, "acme-d")
    (failure,) = load().failures
    assert (failure.plugin, failure.distribution) == ("acme-d", CHOICE)
    assert failure.reason.startswith("no such plugin or distribution is installed. Did you mean 'acme-")


@pytest.mark.usefixtures("three")
def test_a_component_that_is_left_out_is_told_why_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHOICE, "")
    with pytest.raises(SpecError, match=r"Plugins left out by PAIRBENCH_PLUGINS or --no-plugins: c-c, a, b\.$"):
        load().find("encoder", "a")


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("arguments", [["--no-plugins", "list"], ["list", "--no-plugins"]])
def test_no_plugins_stands_before_or_after_the_command(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke([*arguments, "encoder", "--format", "json"]) == 0
    names = {item["name"] for item in json.loads(capsys.readouterr().out)["components"]}
    assert "cnn" in names
    assert not names & {"a", "b", "c"}


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("before", [None, "a"])
def test_no_plugins_holds_for_its_command_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], before: str | None
) -> None:
    if before is not None:
        monkeypatch.setenv(CHOICE, before)
    assert invoke(["show", "encoder=a", "--no-plugins"]) == 2
    assert os.environ.get(CHOICE) == before
    assert invoke(["show", "encoder=a"]) == 0
    assert "left out" in capsys.readouterr().err


def test_no_plugins_reaches_worker_processes(
    install_plugin: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "imported"
    file = install_plugin("a", encoder("a", before=f"open({str(trace)!r}, 'a').write('.')"))
    monkeypatch.setenv("PYTHONPATH", str(file.parent))
    words = ["encoder=mlp", "train.epochs=1", "train.rounds=1"]
    words += [f"dataset.{split}_pairs=10" for split in ("train", "validation", "test")]
    assert invoke(["run", *words, "--no-plugins", "--workers", "1", "--no-timing", "--quiet"]) == 0
    assert "accuracy" in capsys.readouterr().out
    assert not trace.exists()


@pytest.mark.usefixtures("three", "devices")
def test_doctor_shows_what_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["doctor", "--no-plugins", "--format", "json"]) == 0
    disabled = json.loads(capsys.readouterr().out)["disabled"]
    assert disabled == [
        {"plugin": "c-c", "distribution": "Acme_C"},
        {"plugin": "a", "distribution": "acme-a"},
        {"plugin": "b", "distribution": "acme-b"},
    ]


def require(file: Path, *requirements: str) -> None:
    """Let the plugin of `file` declare what it needs."""
    (metadata,) = file.parent.glob("*.dist-info/METADATA")
    with metadata.open("a") as text:
        text.writelines(f"Requires-Dist: {requirement}\n" for requirement in requirements)


@pytest.mark.parametrize(
    ("requirement", "reason"),
    [
        ("pairbench>=99", "it needs pairbench>=99, and this is pairbench "),
        ("PairBench (>=99)", "it needs pairbench>=99, and this is pairbench "),
        ("pairbench<0.0.1", "it needs pairbench<0.0.1, and this is pairbench "),
        ("pairbench>=99; python_version>='3'", "it needs pairbench>=99, and this is pairbench "),
        ("pairbench>>99", "its metadata says 'pairbench>>99', which is not a valid requirement. Reinstall it"),
    ],
)
def test_a_plugin_that_needs_another_pairbench_is_named_and_not_imported(
    install_plugin: Install, tmp_path: Path, requirement: str, reason: str
) -> None:
    trace = tmp_path / "imported"
    require(
        install_plugin("new", encoder("new", before=f"open({str(trace)!r}, 'a')"), distribution="acme"), requirement
    )
    (failure,) = installed().failures
    assert (failure.plugin, failure.distribution) == ("new", "acme")
    assert failure.reason.startswith(reason)
    assert "new" not in installed().names("encoder")
    assert "cnn" in installed().names("encoder")
    assert not trace.exists()


@pytest.mark.parametrize(
    "requirement",
    [
        "pairbench",
        "pairbench>=0.0.1",
        f"pairbench=={pairbench.__version__}",
        "pairbench>=99; python_version<'3'",
        "pairbench>=99; extra=='next'",
        "pairbench-other>=99",
        "torch>=99",
    ],
)
def test_a_plugin_that_fits_is_let_in(install_plugin: Install, requirement: str) -> None:
    require(install_plugin("old", encoder("old")), "pluggy", requirement)
    assert installed().failures == []
    assert "old" in installed().names("encoder")


def test_a_suite_means_the_components_that_it_came_with(install_plugin: Install) -> None:
    install_plugin("usurper", encoder("mlp"), distribution="usurper")
    suite = find_suite("report", installed())
    configs = [config for _, _, config in suite.configs([], installed())]
    assert {config.origins()["encoder"].distribution for config in configs} == {"pairbench"}
    (settings,) = expand(parse(["encoder=mlp"]))
    with pytest.raises(SpecError, match="claimed by 2 plugins"):
        resolve(settings)
