"""The conformance kit on metrics: the core's and the bundled ones pass, and each fault is found by its own rule."""

from __future__ import annotations

import importlib
import math
import random
from dataclasses import replace
from pathlib import Path

import pytest

from pairbench import MetricSpec, ScoredPairs
from pairbench.plugin.metrics import known_metrics
from pairbench.testing import CHECKS, conformance, examine

GOOD = MetricSpec("misses", "Pairs answered wrongly.", lambda pairs: int((pairs.answer != pairs.right).sum()))
GOOD = replace(GOOD, higher_is_better=False)

test_every_metric_that_is_bundled = conformance(*(found.spec for found in known_metrics().values()))


def changing(pairs: ScoredPairs) -> float:
    pairs.logits.mul_(2)
    return 1.0


FAULTS = {
    "metric_is_documented": replace(GOOD, text="misses"),
    "figures_are_finite": replace(GOOD, compute=lambda pairs: math.nan if pairs.positive.all() else 0.0),
    "figures_are_deterministic": replace(GOOD, compute=lambda _: random.random(), ranks=False),
    "pairs_may_come_in_any_order": replace(GOOD, compute=lambda pairs: float(pairs.score[0])),
    "answers_are_left_alone": replace(GOOD, compute=changing),
    "perfect_answers_are_not_worse": replace(GOOD, higher_is_better=True),
}


@pytest.mark.parametrize("check", FAULTS)
def test_a_faulty_metric_is_found_by_its_rule_alone(check: str) -> None:
    found = [finding for finding in examine(FAULTS[check]) if finding.result != "passed"]
    # What is drawn anew each time differs when it is shuffled too.
    also = ["pairs_may_come_in_any_order"] if check == "figures_are_deterministic" else []
    assert [finding.check for finding in found] == [check, *also]
    assert found[0].message.startswith(f"misses breaks '{check}'")


def test_each_rule_for_metrics_has_a_fault_that_it_finds() -> None:
    assert set(FAULTS) | {"metric_needs_no_torch"} == {check.name for check in CHECKS if "metric" in check.slots}


def test_a_metric_whose_module_imports_torch_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "heavy_metric.py").write_text("import torch\n\n\ndef one(pairs):\n    return 1.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = MetricSpec("one", "It is one.", importlib.import_module("heavy_metric").one)
    (found,) = (finding for finding in examine(spec) if finding.result != "passed")
    assert found.check == "metric_needs_no_torch"
    assert "importing heavy_metric imports torch at" in found.message
    assert {f.result for f in examine(replace(spec, compute="heavy_metric:one"))} == {"passed"}
