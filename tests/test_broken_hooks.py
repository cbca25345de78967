"""Plugins whose event hooks fail: the run goes on, and they are named once."""

from __future__ import annotations

import pytest
import tiny
from conftest import Install

import pairbench

WORDS = (*tiny.SPECS, "train.epochs=2", "train.rounds=2")
SOURCE = """
import sys
import pairbench

@pairbench.hookimpl
def {hook}({argument}):
    {body}
"""


@pytest.fixture
def failing(install_plugin: Install) -> Install:
    """Installs the plugin `failing` with one hook."""

    def install(hook: str, argument: str, body: str) -> None:
        install_plugin("tiny", "from tiny import *\nfrom tiny import pairbench_components\n")
        install_plugin("failing", SOURCE.format(hook=hook, argument=argument, body=body), distribution="acme")

    return install


@pytest.mark.parametrize(
    ("hook", "argument"),
    [
        ("pairbench_run_started", "run"),
        ("pairbench_epoch_finished", "epoch"),
        ("pairbench_round_finished", "record"),
        ("pairbench_run_finished", "results"),
    ],
)
def test_a_hook_that_exits_is_named_once_and_the_run_goes_on(failing: Install, hook: str, argument: str) -> None:
    failing(hook, argument, "sys.exit('enough')")
    results = pairbench.run(*WORDS, workers=0, timing=False)
    assert results[0].summary["accuracy"].rounds == 2
    assert list(results.notes) == [f"plugin acme:failing failed in {hook} (failing_plugin.py:7): SystemExit: enough"]


def test_ctrl_c_in_a_hook_stops_the_run(failing: Install) -> None:
    failing("pairbench_round_finished", "record", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        pairbench.run(*WORDS, workers=0, timing=False)
