"""Pairs of the user's own images: listed in a CSV file, in class folders, or in the layouts of two 2AFC sets."""

from __future__ import annotations

import pairbench
from pairbench_images.bapps import Bapps
from pairbench_images.csv_pairs import CsvPairs
from pairbench_images.image_folder import ImageFolder
from pairbench_images.nights import Nights


@pairbench.hookimpl
def pairbench_components() -> list[type[pairbench.Component]]:
    """The components of this plugin."""
    return [CsvPairs, ImageFolder, Bapps, Nights]
