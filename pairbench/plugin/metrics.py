"""The installed metrics, by their names in records.

Plugins cannot use the name of a core metric, so reading only core metrics loads no plugin.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from pairbench.plugin.core_metrics import CORE
from pairbench.plugin.metric_specs import VALIDATION, MetricSpec
from pairbench.plugin.registry import InstalledMetric, Origin, Registry, installed
from pairbench.text import printable

_CORE = {spec.name: spec for spec in CORE}


def known_metrics(registry: Registry | None = None) -> dict[str, InstalledMetric]:
    """Every metric by its name, the core's first; as `distribution:name` if several plugins use the same name."""
    found: dict[str, InstalledMetric] = {}
    for name, claims in (registry or installed()).metrics.items():
        for claim in claims:
            found[name if len(claims) == 1 else f"{claim.origin.distribution}:{name}"] = claim
    return found


def plain(metric: str) -> str:
    """The name of a metric without `validation_`."""
    return metric.removeprefix(VALIDATION)


def spec_of(metric: str) -> MetricSpec:
    """The metric named `metric` in records, with or without `validation_`.

    A metric that is not installed, such as that of a removed plugin, is shown as a plain number and never ranked by.
    """
    name = plain(metric)
    if name in _CORE:
        return _CORE[name]
    found = known_metrics().get(name)
    if found is not None:
        return found.spec
    # Names in records may be any text.
    title = printable(name.replace("_", " "), 60)
    return MetricSpec("unknown", "A metric that is not installed.", _uncomputed, title, ranks=False, aside=True)


def _uncomputed(_: object) -> None:
    return None


def origin_of(metric: str) -> Origin | None:
    """The origin of a plugin's metric; None for core metrics and for metrics that are not installed."""
    name = plain(metric)
    found = None if name in _CORE else known_metrics().get(name)
    return found.origin if found is not None else None


def ranks(metric: str) -> bool:
    """Whether results can be ranked by `metric`."""
    return spec_of(metric).ranks


def is_known(metric: str) -> bool:
    """Whether `metric` is installed."""
    return plain(metric) in _CORE or plain(metric) in known_metrics()


def in_order(names: Iterable[str]) -> list[str]:
    """`names` in table order: installed metrics first, then others."""
    given = dict.fromkeys(names)
    others = [name for name in given if name not in _CORE]
    known = [name for name in (known_metrics() if others else _CORE) if name in given]
    return [*known, *sorted(name for name in others if name not in known)]


def rankable(registry: Registry | None = None) -> list[str]:
    """The names that results can be ranked by, including `validation_` names."""
    names = [name for name, found in known_metrics(registry).items() if found.spec.ranks]
    return [*names, *(VALIDATION + name for name in names)]


def sources(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """The origins of the plugin metrics among `names`, which a record stores with their values."""
    found = {plain(name): origin_of(name) for name in names}
    return {name: asdict(origin) for name, origin in found.items() if origin is not None}
