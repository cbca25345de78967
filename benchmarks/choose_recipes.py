"""Choose among recipes by the validation split alone: `python benchmarks/choose_recipes.py [SUITE.toml] [WORD ...]`.

A run always scores its test split, so the candidates ask for a single test pair, and nothing here reads its figure.
The full MNIST has to be there: set PAIRBENCH_DATA, or add a word such as dataset.source=bundled.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pairbench
from pairbench.results.ranking import against_best, ranked
from pairbench.results.tables import mean_std

METRIC = "validation_accuracy"


def main(arguments: list[str]) -> None:
    """Run the candidates and print them, best first."""
    suite = next((word for word in arguments if word.endswith(".toml")), str(Path(__file__).parent / "candidates.toml"))
    words = [word for word in arguments if not word.endswith(".toml")]
    results = pairbench.run(*words, suite=suite, store="pairbench-results/candidates", timing=False)
    order = ranked(results.items, METRIC)
    for result, word in zip(order, against_best(order, METRIC), strict=True):
        seconds = result.cost["cpu_seconds"]
        print(
            f"{result.name:36} {mean_std(METRIC, result.summary.get(METRIC)):>16} % {seconds:7.1f} s {word or 'best'}"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
