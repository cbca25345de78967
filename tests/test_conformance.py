"""The conformance kit: good components pass, and each fault is found by the rule that it breaks and by no other."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import tiny
from faulty import FAULTS, Branching, Centred, Refusing

import pairbench
from pairbench.plugin.components import INTERFACES
from pairbench.testing import CHECKS, ConformanceError, checks_for, conformance, examine, label
from pairbench.testing.kit import run
from pairbench.testing.network_checks import networks, pools, shapes

# The rooms of the kit, with torch: pytester would load them anew for each test.
LOADED = (networks, pools, shapes)
pytest_plugins = ["pytester"]

test_tiny_recipes_pass = conformance(
    tiny.TinyPairs(),
    tiny.TinyEncoder(),
    tiny.TinyEncoder(embedding_dim=7),
    tiny.TinyHead(bias=False),
)

test_a_loss_with_two_known_faults_passes_else = conformance(
    tiny.TinyLoss(),
    tiny.TinyLoss(weight=2.0, style="7", label="a, b", weights=(1.0, 0.5)),
    expected_failures={
        "total_and_terms_have_their_shape": "it knows no soft targets",
        "stacked_rounds_equal_separate_ones": "build makes its class anew",
    },
)


@pytest.mark.parametrize(("recipe", "check", "message"), [pytest.param(*fault, id=fault[0].name) for fault in FAULTS])
def test_a_fault_is_found_by_its_rule_alone(recipe: pairbench.Component, check: str, message: str) -> None:
    failed = [finding for finding in examine(recipe) if finding.result != "passed"]
    assert [finding.check for finding in failed] == [check]
    assert failed[0].message.startswith(f"{label(recipe)} breaks '{check}'")
    assert message in failed[0].message


def test_a_module_that_imports_torch_is_found_with_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = '''
import pairbench
import torch
from torch import nn


class Heavy(pairbench.Encoder):
    """An encoder that imports torch at once."""

    name = "heavy"

    def build(self, image_shape):
        return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * image_shape[0], 10))
'''
    (tmp_path / "heavy_plugin.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    recipe = importlib.import_module("heavy_plugin").Heavy()
    failed = [finding for finding in examine(recipe) if finding.result != "passed"]
    assert [finding.check for finding in failed] == ["importing_needs_no_torch"]
    assert f"imports torch at {tmp_path / 'heavy_plugin.py'}:3. Move that import into `build`" in failed[0].message


def test_each_rule_has_a_fault_that_it_finds() -> None:
    found = {check for _, check, _ in FAULTS} | {"importing_needs_no_torch"}
    # Those of metrics, accelerators, executors and trackers are in files of their own.
    assert found == {check.name for check in CHECKS if set(check.slots) & set(INTERFACES)}


def test_a_component_that_serves_nothing_is_told_its_own_reason() -> None:
    messages = {finding.message for finding in examine(Refusing()) if finding.result == "failed"}
    assert all("encoder 'refusing' serves nothing. Use another." in message for message in messages)
    assert messages


def test_each_slot_has_checks_of_its_own() -> None:
    names = {
        recipe.slot: {check.name for check in checks_for(recipe)}
        for recipe in (tiny.TinyPairs(), tiny.TinyEncoder(), tiny.TinyHead(), tiny.TinyLoss())
    }
    assert "splits_share_no_image" in names["dataset"]
    assert "embeddings_have_their_shape" in names["encoder"]
    assert "logits_have_their_shape" in names["head"]
    assert "a_right_answer_costs_less" in names["loss"]
    assert all("options_survive_text" in found for found in names.values())


def test_what_a_component_raises_is_told_as_a_broken_rule() -> None:
    class Raising(pairbench.Encoder):
        """An encoder that cannot be built."""

        name = "raising"

        def build(self, image_shape: tuple[int, int, int]) -> None:  # type: ignore[override]
            raise KeyError("weights")

    check = next(check for check in CHECKS if check.name == "gradients_reach_every_parameter")
    with pytest.raises(ConformanceError, match=r"raising breaks 'gradients_reach.*it raised KeyError: 'weights'"):
        run(check, Raising())


def test_missing_data_is_skipped_outside_pytest_and_fails_inside() -> None:
    class Elsewhere(pairbench.PairDataset):
        """Data that is not here."""

        name = "elsewhere"

        @property
        def task(self) -> pairbench.PairTask:
            return tiny.TinyPairs().task

        def load(self, split: pairbench.interfaces.Split, *, rounds: int, seed: int) -> pairbench.PairPool:
            raise pairbench.DataError("no data. Download it.")

    results = {finding.check: finding.result for finding in examine(Elsewhere())}
    assert results["splits_share_no_image"] == "skipped"
    function = conformance(Elsewhere())
    check = next(check for check in CHECKS if check.name == "splits_share_no_image")
    with pytest.raises(ConformanceError, match=r"elsewhere: no data. Download it. Or give"):
        function(Elsewhere(), check)


def test_expected_failures_name_the_nearest_check() -> None:
    with pytest.raises(pairbench.SpecError, match=r"unknown check in expected_failures 'stacked_rounds'. Did you mean"):
        conformance(Branching(), expected_failures={"stacked_rounds": "it branches"})


def test_a_class_in_place_of_a_recipe_is_refused() -> None:
    with pytest.raises(pairbench.SpecError, match=r"expected recipes. Call the class"):
        conformance(Branching)  # type: ignore[arg-type]


def test_no_recipe_is_refused() -> None:
    with pytest.raises(pairbench.SpecError, match="has no recipe to check"):
        conformance()


def test_pytest_collects_a_case_for_each_recipe_and_check(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pairbench.testing
        from faulty import Branching
        from tiny import TinyEncoder
        test_kit = pairbench.testing.conformance(TinyEncoder(), TinyEncoder(embedding_dim=32))
        test_known = pairbench.testing.conformance(
            Branching(), expected_failures={"stacked rounds equal separate ones": "it branches"}
        )
        """
    )
    result = pytester.runpytest("-v", "-p", "no:cacheprovider")
    count = len(checks_for(tiny.TinyEncoder()))
    result.assert_outcomes(passed=3 * count - 1, xfailed=1)
    result.stdout.fnmatch_lines(["*::test_kit[[]tiny_encoder(embedding_dim=32)-gradients_reach_every_parameter[]]*"])


def test_an_expected_failure_that_passes_is_a_failure(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pairbench.testing
        from faulty import Centred
        test_kit = pairbench.testing.conformance(Centred(), expected_failures={"recipe_is_a_value": "not true"})
        """
    )
    result = pytester.runpytest("-p", "no:cacheprovider", "-k", "recipe_is_a_value or neighbours")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*XPASS(strict)*not true*"])
    result.stdout.fnmatch_lines(["*Compute no batch statistics in eval mode*"])
    assert label(Centred()) == "centred"
