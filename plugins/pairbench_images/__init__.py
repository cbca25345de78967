"""Pairs of the user's own images: listed in a CSV file, in class folders, or in the layouts of two 2AFC sets."""

from __future__ import annotations

import pairbench
from pairbench_images.csv_pairs import CsvPairs


@pairbench.hookimpl
def pairbench_components() -> list[type[pairbench.Component]]:
    """The parts of this plugin."""
    return [CsvPairs]
