"""Two or more stored results side by side, each found by its spec, its name or its config_id."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pairbench.config.run_config import known_id, resolve
from pairbench.config.spec import expand, parse, split_words
from pairbench.errors import SpecError
from pairbench.plugin.registry import Registry
from pairbench.results.ranking import Verdict, check_metric, comparable_key, verdict_dict, verdicts
from pairbench.results.results import Result, Results
from pairbench.text import did_you_mean, printable, quoted


@dataclass(frozen=True)
class Verdicts:
    """The verdict on every pair of some results, corrected together."""

    results: tuple[Result, ...]
    metric: str
    verdicts: dict[tuple[int, int], Verdict]

    def to_dict(self) -> dict[str, Any]:
        """This comparison as plain values."""
        found = [verdict_dict(self.results[i], self.results[j], v) for (i, j), v in self.verdicts.items()]
        return {"schema": 1, "metric": self.metric, "comparisons": found}

    def to_json(self) -> str:
        """This comparison as one JSON document."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    def __str__(self) -> str:
        from pairbench.results import render, tables

        return render.to_text(tables.of_comparison(self))


def comparison_of(names: Sequence[str], results: Results, metric: str, registry: Registry) -> Verdicts:
    """The comparison of the results that `names` name.

    Raises:
        SpecError: a name matches no result or several, there are fewer than two, or their tasks differ.
    """
    chosen = [find(name, results, registry) for name in names]
    if len({id(result) for result in chosen}) < 2 or len({id(result) for result in chosen}) < len(chosen):
        raise SpecError(
            "nothing to compare: expected two different results. Name each once, by spec, name or config_id."
        )
    for result in chosen[1:]:
        if comparable_key(result) != comparable_key(chosen[0]):
            raise SpecError(
                f"{quoted(chosen[0].name)} and {quoted(result.name)} cannot be compared: their dataset options or "
                "data differ. Run both with the same dataset options."
            )
    metrics = {name for result in chosen for name in result.summary}
    check_metric(metric, metrics)
    for result in chosen:
        if metric not in result.summary:
            raise SpecError(
                f"{quoted(result.name)} has no {printable(metric, 40)} in any round: nothing to compare. "
                "See: pairbench leaderboard --failed"
            )
    return Verdicts(tuple(chosen), metric, verdicts(chosen, metric))


def data_of(result: Result) -> set[str]:
    """The digests of the data that the rounds of a result saw."""
    return {str(record["provenance"]["data"]) for record in result.records}


def find(name: str, results: Results, registry: Registry) -> Result:
    """The result that `name` (a spec, a name or a config_id) names.

    Raises:
        SpecError: there is none, or more than one.
    """
    found = [result for result in results if name in (result.name, result.config_id)]
    if not found and len(name) >= 4:
        found = [result for result in results if result.config_id.startswith(name)]
    if not found and "=" in name:
        configs = [resolve(settings, registry) for settings in expand(parse(split_words(name)))]
        if len(configs) > 1:
            raise SpecError(
                f"{quoted(name)} is a grid of {len(configs)} configs: expected one. Name each config separately."
            )
        config_id = known_id(configs[0], f"the result {quoted(name)}")
        found = [result for result in results if result.config_id == config_id]
        if not found:
            raise SpecError(
                f"{quoted(name)} is not in store {printable(str(results.store))}. "
                f"Run it first: pairbench run {printable(name, 200)}"
            )
    if not found:
        names = [result.name for result in results]
        if not names:
            raise SpecError(
                f"no records in store {printable(str(results.store))}. Train something first: pairbench run"
            )
        raise SpecError(
            f"no result called {quoted(name)} in store {printable(str(results.store))}.{did_you_mean(name, names)}"
        )
    if len(digests := {str(data) for result in found for data in data_of(result)}) > 1:
        raise SpecError(
            f"{quoted(name)} names results on other data: {' and '.join(sorted(digests))} (provenance.data of the "
            "records). Keep each in a store of its own, and name it with --store."
        )
    if len({result.config_id for result in found}) > 1:
        ids = " or ".join(result.config_id for result in found[:4])
        raise SpecError(f"{quoted(name)} matches {len(found)} results. Use a config_id: {ids}.")
    # Earlier versions of the code or data may have left older results of this config; use the newest.
    return max(found, key=lambda result: max(str(r["provenance"]["created"]) for r in result.records))
