"""The conformance kit for installed components: what `pairbench plugin check` prints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pairbench.errors import SpecError
from pairbench.plugin.components import Component
from pairbench.plugin.metrics import known_metrics
from pairbench.plugin.registry import Installed, Registry
from pairbench.plugin.selection import normal
from pairbench.results.render import Document, Table
from pairbench.testing.checks import Subject
from pairbench.testing.kit import examine
from pairbench.text import one_line, quoted, unknown

Told = Callable[[str], None]


def check_installed(registry: Registry, wanted: str | None = None, tell: Told = lambda _: None) -> dict[str, Any]:
    """What every check finds of every component, at its default options, and every metric of what is `wanted`.

    Args:
        registry: what is installed.
        wanted: a plugin or a distribution; None means all.
        tell: called with each component before it is checked.

    Raises:
        SpecError: there is no such plugin.
    """
    _refuse_unknown(registry, wanted)
    results = [
        _row(f"plugin {failure.plugin}", failure.distribution, "can_be_loaded", "failed", failure.reason)
        for failure in registry.failures
        if _is_wanted(wanted, failure.plugin, failure.distribution)
    ]
    for slot, known in registry.components.items():
        for name, claims in sorted(known.items()):
            for claim in claims:
                if _is_wanted(wanted, claim.origin.plugin, claim.origin.distribution):
                    tell(f"{slot}={name}")
                    results += _examined(f"{slot}={name}", claim)
    for name, metric in known_metrics(registry).items():
        if metric.origin.plugin and _is_wanted(wanted, metric.origin.plugin, metric.origin.distribution):
            tell(f"metric {name}")
            results += _findings(f"metric {name}", metric.origin.distribution, metric.spec)
    for name, item in sorted(registry.accelerators.items()):
        if _is_wanted(wanted, item.origin.plugin, item.origin.distribution):
            tell(f"accelerator {name}")
            results += _findings(f"accelerator {name}", item.origin.distribution, item.accelerator)
    for name, trackers in sorted(registry.trackers.items()):
        for distribution, tracker in trackers.items():
            if _is_wanted(wanted, registry.tracker_origins[tracker].plugin, distribution):
                tell(f"tracker {name}")
                results += _findings(f"tracker {name}", distribution, tracker)
    return {"schema": 1, "results": results}


def passed(value: dict[str, Any]) -> bool:
    """Whether all checks passed."""
    return all(item["result"] != "failed" for item in value["results"])


def document(value: dict[str, Any]) -> Document:
    """The findings as a table of components and a table of what to change."""
    counts: dict[tuple[str, str], list[str]] = {}
    for item in value["results"]:
        counts.setdefault((item["component"], item["distribution"]), []).append(item["result"])
    rows = [
        (component, distribution, *(str(found.count(kind)) for kind in ("passed", "failed", "skipped")))
        for (component, distribution), found in counts.items()
    ]
    tables = [Table("Conformance", ("component", "from", "passed", "failed", "skipped"), tuple(rows), 2)]
    told = tuple(
        (item["component"], item["check"], item["result"], item["message"])
        for item in value["results"]
        if item["result"] != "passed"
    )
    if told:
        tables.append(Table("What to change", ("component", "check", "result", "why"), told, 4))
    return Document(tuple(tables), ("all checks passed" if passed(value) else "problems found, see above",))


def _refuse_unknown(registry: Registry, wanted: str | None) -> None:
    if wanted is None:
        return
    found = [(origin.plugin, origin.distribution) for origin in registry.plugins]
    found += [(failure.plugin, failure.distribution) for failure in registry.failures]
    if any(_is_wanted(wanted, *names) for names in registry.disabled):
        raise SpecError(f"plugin {quoted(wanted)} is excluded by PAIRBENCH_PLUGINS or --no-plugins. Enable it.")
    if not any(_is_wanted(wanted, *names) for names in found):
        raise unknown("plugin or distribution", wanted, {name for names in found for name in names})


def _is_wanted(wanted: str | None, plugin: str, distribution: str) -> bool:
    return wanted is None or normal(wanted) in (normal(plugin), normal(distribution))


def _examined(component: str, claim: Installed) -> list[dict[str, str]]:
    kind, distribution = claim.component, claim.origin.distribution
    needed = [option for option, field in kind.option_fields().items() if field.is_required()]
    if needed:
        why = f"it needs {', '.join(needed)}: check it in a test, by conformance({kind.__name__}(...))"
        return [_row(component, distribution, "has_defaults", "skipped", why)]
    try:
        recipe: Component = kind()
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything
        why = f"its defaults are rejected by its own validators ({type(error).__name__}: {error})"
        return [_row(component, distribution, "has_defaults", "failed", why)]
    return _findings(component, distribution, recipe)


def _findings(name: str, distribution: str, recipe: Subject) -> list[dict[str, str]]:
    return [_row(name, distribution, finding.check, finding.result, finding.message) for finding in examine(recipe)]


def _row(component: str, distribution: str, check: str, result: str, message: str) -> dict[str, str]:
    return {
        "component": component,
        "distribution": distribution,
        "check": check,
        "result": result,
        "message": one_line(message),
    }
