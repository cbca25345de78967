"""What many tests share: a store of their own, recipes that train in no time, plugins that exist for one test."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import tiny
from hypothesis import settings
from shared import RUN_FOLDER

from pairbench.config.run_config import RunConfig, resolve
from pairbench.config.spec import expand, parse
from pairbench.plugin import registry as registry_room
from pairbench.plugin.registry import Registry
from pairbench.store.record import Context, make_record
from pairbench.store.store import Store

# Equal runs find equal examples; `--hypothesis-profile=fuzz` looks further.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("fuzz", deadline=None, max_examples=5000)
settings.load_profile("same")

Install = Callable[..., Path]
PROMISES = Path(__file__).parent / "promises"


def pytest_configure(config: pytest.Config) -> None:
    """Give all processes of a test run one folder for what they share."""
    if not hasattr(config, "workerinput"):
        folder = tempfile.mkdtemp(prefix="pairbench-tests-")
        os.environ[RUN_FOLDER] = folder
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Attacks on the promises are for whoever changes the code: a newcomer's run leaves them out."""
    for item in items:
        if item.path.is_relative_to(PROMISES) and item.get_closest_marker("slow") is None:
            item.add_marker(pytest.mark.attack)


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's store or cache, and tables are as wide everywhere."""
    monkeypatch.setenv("PAIRBENCH_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("PAIRBENCH_CACHE", str(tmp_path / "cache"))
    for name in ("COLUMNS", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "PAIRBENCH_PLUGINS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """The store that commands use where no other is named; its folder is not there yet."""
    return Store(tmp_path / "store")


@pytest.fixture
def install_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """A function that installs a plugin for this test: files on a path, and a distribution that names an entry point.

    `install_plugin("shiny", "import pairbench ...")` writes the module `shiny_plugin` and gives back its file.
    """
    before = set(sys.modules)
    folders: list[Path] = []

    def install(
        name: str,
        source: str,
        *,
        distribution: str | None = None,
        version: str = "1.0",
        value: str | None = None,
        files: Mapping[str, str] | None = None,
    ) -> Path:
        folder = tmp_path / f"plugin-{len(folders)}"
        folders.append(folder)
        module = value or f"{name}_plugin"
        told = distribution or f"pairbench-{name}"
        info = folder / f"{told.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {told}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[pairbench]\n{name} = {module}\n")
        file = folder / f"{module.partition(':')[0]}.py"
        file.write_text(textwrap.dedent(source))
        for path, text in (files or {}).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(textwrap.dedent(text))
        monkeypatch.syspath_prepend(str(folder))
        forget()
        return file

    def forget() -> None:
        importlib.invalidate_caches()
        registry_room.installed.cache_clear()
        registry_room.source_hash.cache_clear()
        for module in set(sys.modules) - before:
            file = getattr(sys.modules[module], "__file__", None)
            if file and any(folder in Path(file).parents for folder in folders):
                del sys.modules[module]

    yield install
    monkeypatch.undo()
    forget()


@pytest.fixture
def tiny_registry(install_plugin: Install, tmp_path: Path) -> Registry:
    """The registry of this process, the recipes of tests/tiny.py in it as plugin `tiny`."""
    install_plugin("tiny", "from tiny import *\nfrom tiny import pairbench_components\n")
    return registry_room.installed()


DEVICES = {"cpu": ["cpu"], "cuda": ["A [bold]card[/bold]"], "mps": []}


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`doctor` asks an interpreter that answers at once, without torch, that there are the DEVICES."""
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho '{json.dumps(DEVICES)}'\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))


Make = Callable[..., Any]


def config_of(*words: str) -> RunConfig:
    """The one config that `words` ask for."""
    (settings,) = expand(parse(words))
    return resolve(settings)


def tiny_config(*words: str) -> RunConfig:
    """The tiny recipes as a config, with `words` besides; `tiny_registry` has to be there."""
    return config_of(*tiny.SPECS, *words)


def simulated_record(
    config: RunConfig, number: int, metrics: Mapping[str, Any] | None = None, **changes: Any
) -> dict[str, Any]:
    """A record as training would have written it, with the given figures and no training."""
    given: dict[str, Any] = {
        "context": Context("data", {"core": {"distribution": "pairbench", "version": "0", "source": ""}}),
        "status": "finished",
        "name": str(config),
        "suite": None,
        "cost": {"parameters": 10, "flops_per_pair": 100, "train_seconds": 0.5, "cpu_seconds": 0.4, "peak_mib": 1.0},
        "environment": {"python": "3"},
        "metrics": {"accuracy": 0.5} if metrics is None else metrics,
    }
    context = changes.pop("context", given.pop("context"))
    return make_record(config, number, context, **given | changes)


def fill(store: Store, config: RunConfig, accuracies: Sequence[float], **changes: Any) -> None:
    """Write a finished round for each of `accuracies`."""
    for number, accuracy in enumerate(accuracies):
        store.write(simulated_record(config, number, {"accuracy": accuracy, "loss": 1 - accuracy}, **changes))
