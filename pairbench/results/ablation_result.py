"""How much each ingredient of a config contributes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pairbench.results.ranking import Verdict, difference, verdict_dict, verdicts_on
from pairbench.results.results import Results


@dataclass(frozen=True)
class Ablation:
    """A config, its variants with one ingredient removed, and the verdict on whole - variant, corrected together.

    results: the whole config's result first, then the variants in the order of `names`.
    """

    names: tuple[str, ...]
    results: Results
    metric: str
    verdicts: dict[str, Verdict]

    def to_dict(self) -> dict[str, Any]:
        """This ablation as plain values."""
        whole = self.results[0]
        effects = [
            {"variant": name, **verdict_dict(whole, self.results[number], self.verdicts[name])}
            for number, name in enumerate(self.names, start=1)
            if name in self.verdicts
        ]
        return {"schema": 1, "metric": self.metric, "effects": effects, "results": self.results.to_dict()["results"]}

    def to_json(self) -> str:
        """This ablation as one JSON document."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    def __str__(self) -> str:
        from pairbench.results import render, tables

        return render.to_text(tables.of_ablation(self))


def ablation_of(names: Sequence[str], results: Results, metric: str) -> Ablation:
    """The effects found in `results`: the whole config first, then the variant without each of `names`."""
    found = {name: difference(results[0], results[number], metric) for number, name in enumerate(names, start=1)}
    return Ablation(tuple(names), results, metric, verdicts_on(found, metric))
