"""Runs checks: as pytest cases, or one after the other without pytest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pairbench.config.spec import written
from pairbench.errors import DataError, PairbenchError, SpecError
from pairbench.plugin.accelerators import Accelerator
from pairbench.plugin.components import Component
from pairbench.plugin.metric_specs import MetricSpec
from pairbench.plugin.trackers import Tracker
from pairbench.testing.checks import Check, Subject, checks_for
from pairbench.text import unknown


class ConformanceError(PairbenchError, AssertionError):
    """A component violates a rule; the message says which, how, and what to change."""


@dataclass(frozen=True)
class Finding:
    """The finding of a check: result is "passed", "failed" or, if data is missing, "skipped"; message says why."""

    check: str
    result: str
    message: str = ""


def broken(what: str, fix: str) -> ConformanceError:
    """The error that says how a rule is violated, and what to change."""
    return ConformanceError(f"{what}. {fix}.")


def label(recipe: Subject) -> str:
    """A short label of the recipe: its name, and the options that are not at their defaults."""
    if isinstance(recipe, type | MetricSpec | Accelerator):
        return recipe.name
    options = []
    for name, info in type(recipe).model_fields.items():
        value = getattr(recipe, name)
        if info.is_required() or value != info.get_default(call_default_factory=True):
            options.append(f"{info.alias or name}={written(value)}")
    return f"{recipe.name}({','.join(options)})" if options else recipe.name


def run(check: Check, recipe: Subject) -> None:
    """Check `recipe`; any exception becomes a message about the rule.

    Raises:
        ConformanceError: it violates the rule.
        DataError: it is a dataset whose data is not available.
    """
    __tracebackhide__ = True
    try:
        check(recipe)
    except ConformanceError as error:
        raise ConformanceError(f"{label(recipe)} breaks '{check.name}': {error}") from error.__cause__
    except DataError:
        raise
    except Exception as error:
        raise ConformanceError(
            f"{label(recipe)} breaks '{check.name}' ({check.text}): it raised {type(error).__name__}: {error}"
        ) from error


def examine(recipe: Subject) -> Iterator[Finding]:
    """The finding of each check that applies to `recipe`, without pytest."""
    for check in checks_for(recipe):
        try:
            run(check, recipe)
        except ConformanceError as error:
            yield Finding(check.name, "failed", str(error))
        except DataError as error:
            yield Finding(check.name, "skipped", str(error))
        else:
            yield Finding(check.name, "passed")


def conformance(*recipes: Subject, expected_failures: Mapping[str, str] | None = None) -> Any:
    """A test function with one case for each of `recipes` and each check; assign it to a name that starts with test_.

    Args:
        recipes: the components with the options to check, metrics, accelerators, or classes of trackers.
        expected_failures: checks that are known to fail, each with the reason; the name of a check covers every
            recipe, the id of a case only that case. A case that is listed here but passes is a failure.

    Raises:
        SpecError: there is no recipe, or expected_failures names no check of these recipes.
    """
    import pytest

    if not recipes:
        raise SpecError("conformance() has no recipe to check. Give it one or more, such as conformance(Pooled()).")
    for recipe in recipes:
        tracker = isinstance(recipe, type) and issubclass(recipe, Tracker)
        if not tracker and not isinstance(recipe, Component | MetricSpec | Accelerator):
            raise SpecError(f"conformance() got {recipe!r}: expected recipes. Call the class, such as Pooled().")
    cases = [(recipe, check, f"{label(recipe)}-{check.name}") for recipe in recipes for check in checks_for(recipe)]
    known = {check.name for _, check, _ in cases} | {name for _, _, name in cases}
    expected = {
        name if name in known else name.replace(" ", "_"): reason for name, reason in (expected_failures or {}).items()
    }
    for name in expected:
        if name not in known:
            raise unknown("check in expected_failures", name, {check.name for _, check, _ in cases})

    def marks(check: Check, case: str) -> list[Any]:
        reason = expected.get(case, expected.get(check.name))
        return [] if reason is None else [pytest.mark.xfail(raises=ConformanceError, reason=reason, strict=True)]

    @pytest.mark.parametrize(
        ("recipe", "check"),
        [pytest.param(recipe, check, id=case, marks=marks(check, case)) for recipe, check, case in cases],
    )
    def test_conformance(recipe: Subject, check: Check) -> None:
        __tracebackhide__ = True
        try:
            run(check, recipe)
        except DataError as error:
            raise ConformanceError(
                f"{label(recipe)}: {error} Or give conformance() options whose data is available."
            ) from None

    return test_conformance
