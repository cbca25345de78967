"""The conformance kit over trackers: the bundled ones pass, and each fault is found by the rule that it breaks."""

from __future__ import annotations

import pytest
from conftest import Install

from pairbench.plugin.registry import installed
from pairbench.testing import conformance, examine
from pairbench.testing.installed import check_installed

BUNDLED = [tracker for tracker, origin in installed().tracker_origins.items() if origin.distribution == "pairbench"]

test_bundled_trackers = conformance(*BUNDLED)


def test_every_bundled_tracker_is_checked() -> None:
    assert {tracker.name for tracker in BUNDLED} == {"tensorboard", "mlflow", "wandb"}


SOURCE = """
import pairbench


class Mine(pairbench.Tracker):
    '''Does nothing.'''

    name = "mine"

    def run_started(self, run):
        pass

    {change}

@pairbench.hookimpl
def pairbench_trackers():
    return [Mine]
"""
RUN = "tracker_takes_a_whole_run"
STOP = "tracker_takes_a_run_that_stops"
EMPTY = "tracker_takes_a_run_without_rounds"


@pytest.mark.parametrize(
    ("change", "broken", "message"),
    [
        ("", [], ""),
        ("__doc__ = ''", ["tracker_is_documented"], "has no docstring"),
        ("packages = ('wave',)", ["tracker_is_documented"], "does not say how to get it"),
        ("import wave; packages = ('wave',); install = 'x'", ["importing_needs_no_package"], "imports wave"),
        ("def round_finished(self, finished): finished.record['metrics']['accuracy']", [RUN], "KeyError: 'accuracy'"),
        ("def close(self): raise OSError('torn')", [RUN, STOP, EMPTY], "failed in close"),
        ("def run_finished(self, finished): self.rounds.close()", [RUN, EMPTY], "has no attribute 'rounds'"),
    ],
)
def test_a_fault_is_found_by_its_rule_alone(
    install_plugin: Install, change: str, broken: list[str], message: str
) -> None:
    # Modules of different names, because the kit looks at each module once.
    install_plugin(f"mine_{len(change)}", SOURCE.format(change=change))
    findings = [finding for finding in examine(installed().find_tracker("mine")) if finding.result != "passed"]
    assert [(finding.check, finding.result) for finding in findings] == [(name, "failed") for name in broken]
    assert all(message in finding.message for finding in findings)


def test_a_tracker_whose_package_is_not_here_is_skipped(install_plugin: Install) -> None:
    install_plugin("mine", SOURCE.format(change="packages = ('not_there',); install = 'pip install it'"))
    found = {finding.check: finding.result for finding in examine(installed().find_tracker("mine"))}
    assert found[RUN] == found[STOP] == found[EMPTY] == "skipped"


def test_plugin_check_examines_trackers(install_plugin: Install) -> None:
    install_plugin("mine", SOURCE.format(change=""), distribution="acme-mine")
    results = check_installed(installed(), "mine")["results"]
    assert [(item["component"], item["distribution"], item["result"]) for item in results] == [
        ("tracker mine", "acme-mine", "passed")
    ] * 5


def test_an_event_of_the_simulated_run_reaches_the_tracker(install_plugin: Install) -> None:
    change = "def epoch_finished(self, epoch): raise ValueError(epoch.figures)"
    install_plugin("mine", SOURCE.format(change=change))
    (found, *_) = [finding for finding in examine(installed().find_tracker("mine")) if finding.result == "failed"]
    assert "train.total_loss" in found.message
