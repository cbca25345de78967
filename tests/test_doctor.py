"""What `doctor` finds: versions, devices, plugins, data, store."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import hostile
import pytest
from conftest import Install, config_of, fill, simulated_record

from pairbench.cli import doctor
from pairbench.environment import PACKAGES
from pairbench.plugin.registry import Registry, installed
from pairbench.results.render import to_markdown, to_text
from pairbench.store.store import Store


def shown(findings: dict[str, Any]) -> str:
    text = to_text(doctor.document(findings), 300)
    hostile.check_terminal(text)
    return text


@pytest.mark.usefixtures("devices")
def test_a_sound_installation_is_well(store: Store) -> None:
    fill(store, config_of("encoder=cnn"), (0.5, 0.6))
    store.write(simulated_record(config_of("encoder=mlp"), 0, {}, status="diverged"))
    findings = doctor.examine(installed(), store)
    assert doctor.healthy(findings)
    assert findings["store"]["records"] == {"finished": 2, "diverged": 1, "failed": 0}
    assert {"python", "system", "processor", "cores", *PACKAGES} <= set(findings["machine"])
    # Nothing that has to be downloaded is looked for.
    assert {item["dataset"]: item["state"] for item in findings["data"]} == {
        "digit_pairs": "found",
        "mnist_pairs": "found",
    }
    text = shown(findings)
    assert "no problems found" in text
    assert "2 finished, 1 diverged, 0 failed" in text
    assert "A [bold]card[/bold]" in text


@pytest.mark.usefixtures("devices")
def test_damaged_records_are_named(store: Store) -> None:
    fill(store, config_of("encoder=cnn"), (0.5,))
    path = next(store.root.rglob("*.json"))
    path.write_text("{")
    findings = doctor.examine(installed(), store)
    assert not doctor.healthy(findings)
    assert findings["store"]["damaged"] == {str(path): "not JSON"}
    assert "DAMAGED" in shown(findings)
    assert "problems found, see above" in shown(findings)


DATASET = '''
import pairbench

class Lost(pairbench.PairDataset):
    """Pairs that are not there."""

    name = "lost"

    @property
    def task(self):
        return pairbench.PairTask("ordering", (1, 4, 4))

    def load(self, split, *, rounds, seed):
        raise NotImplementedError

    def digest(self):
        raise ERROR

@pairbench.hookimpl
def pairbench_components():
    return [Lost]
'''


@pytest.mark.usefixtures("devices")
@pytest.mark.parametrize(
    ("error", "state", "healthy"),
    [
        ("pairbench.DataError('Not here. Set dataset.root.')", "Not here. Set dataset.root.", True),
        ("KeyError('[/red]\\x1b[2J')", "FAILED KeyError: ", False),
    ],
)
def test_data_that_is_missing_is_no_fault_and_a_plugin_that_fails_to_look_is(
    store: Store, install_plugin: Install, error: str, state: str, healthy: bool
) -> None:
    install_plugin("lost", DATASET.replace("ERROR", error))
    findings = doctor.examine(installed(), store)
    (found,) = [item for item in findings["data"] if item["dataset"] == "lost"]
    assert found["state"].startswith(state)
    assert doctor.healthy(findings) is healthy
    hostile.check_markdown(
        to_markdown(doctor.document(findings)),
        [len(table.columns) for table in doctor.document(findings).tables for _ in range(len(table.rows) + 1)],
    )
    assert state[:20] in shown(findings)


@pytest.mark.usefixtures("devices")
def test_a_plugin_without_components_is_listed_too(store: Store, install_plugin: Install) -> None:
    install_plugin("silent", "import pairbench\n", distribution="acme-silent", version="3.1")
    findings = doctor.examine(installed(), store)
    found = {"plugin": "silent", "distribution": "acme-silent", "version": "3.1", "components": [], "others": []}
    assert found in findings["plugins"]
    assert "acme-silent 3.1" in shown(findings)


def answer(**changes: Any) -> Any:
    """A subprocess.run that gives a fixed answer."""

    def run(command: list[str], **_options: Any) -> subprocess.CompletedProcess[str]:
        assert command[0] == sys.executable
        return subprocess.CompletedProcess(command, **({"returncode": 0, "stdout": "", "stderr": ""} | changes))

    return run


def timeout(command: list[str], **_options: Any) -> None:
    raise subprocess.TimeoutExpired(command, 120)


def gone(_command: list[str], **_options: Any) -> None:
    raise OSError("no more processes")


@pytest.mark.parametrize(
    ("run", "error"),
    [
        (answer(returncode=1, stderr="Traceback\nImportError: libtorch is broken"), "ImportError: libtorch is broken"),
        (answer(returncode=-11), "exit code -11"),
        (answer(stdout=""), "list index out of range"),
        (answer(stdout="hello"), "Expecting value"),
        (timeout, "timed out after 120 seconds"),
        (gone, "no more processes"),
    ],
)
def test_torch_that_does_not_start_is_a_finding_and_no_crash(
    store: Store, monkeypatch: pytest.MonkeyPatch, tiny_registry: Registry, run: Any, error: str
) -> None:
    monkeypatch.setattr(subprocess, "run", run)
    findings = doctor.examine(tiny_registry, store)
    assert error in findings["devices"]["error"]
    assert not doctor.healthy(findings)
    assert "FAILED devices: " in shown(findings)


def test_the_devices_are_the_last_line_that_torch_prints(
    store: Store, monkeypatch: pytest.MonkeyPatch, tiny_registry: Registry
) -> None:
    monkeypatch.setattr(subprocess, "run", answer(stdout='a warning\n{"cpu": ["cpu"], "cuda": [], "mps": []}\n'))
    assert doctor.examine(tiny_registry, store)["devices"] == {"cpu": ["cpu"], "cuda": [], "mps": []}
