"""Promise 8: a plugin that exits or hangs while it is imported is named and skipped."""

from __future__ import annotations

import pytest
from conftest import Install

from pairbench import SpecError
from pairbench.plugin import registry as registry_room


def test_a_plugin_that_exits_at_once_while_it_is_imported_is_named(install_plugin: Install) -> None:
    install_plugin("leaving", "import os\nos._exit(3)\n")
    (failure,) = registry_room.installed().failures
    assert (failure.plugin, failure.reason) == ("leaving", "it called os._exit(3) while it was imported")


@pytest.mark.parametrize("body", ["import time\ntime.sleep(600)\n", "while True:\n    pass\n"], ids=["sleeps", "loops"])
def test_a_plugin_that_hangs_while_it_is_imported_is_named(
    install_plugin: Install, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    monkeypatch.setenv("PAIRBENCH_IMPORT_SECONDS", "0.5")
    install_plugin("hanging", body)
    (failure,) = registry_room.installed().failures
    assert (failure.plugin, failure.reason) == ("hanging", "its import took more than 0.5 s")
    assert registry_room.installed().names("encoder")


def test_a_wrong_limit_for_imports_is_refused(install_plugin: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAIRBENCH_IMPORT_SECONDS", "soon")
    install_plugin("some", "import pairbench\n")
    with pytest.raises(SpecError, match="PAIRBENCH_IMPORT_SECONDS=soon: expected a number of seconds above 0"):
        registry_room.installed()


def test_a_child_that_a_plugin_forks_while_it_is_imported_may_exit(install_plugin: Install) -> None:
    source = "import os\npid = os.fork()\nif pid == 0:\n    os._exit(7)\nassert os.waitpid(pid, 0)[1] == 7 << 8\n"
    install_plugin("forking", source)
    assert registry_room.installed().failures == []
