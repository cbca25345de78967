"""Pairs drawn from the bundled digits and from the datasets of torchvision."""

from __future__ import annotations

from pathlib import Path

import pairbench
from pairbench_vision.digits import DigitPairs
from pairbench_vision.faces import LfwPairs
from pairbench_vision.labelled import TorchvisionPairs
from pairbench_vision.patches import OmniglotPairs, PhotoTourPairs


@pairbench.hookimpl
def pairbench_components() -> list[type[pairbench.Component]]:
    """The components of this plugin."""
    return [DigitPairs, TorchvisionPairs, LfwPairs, PhotoTourPairs, OmniglotPairs]


@pairbench.hookimpl
def pairbench_suites() -> list[Path]:
    """The suite `verification`."""
    return sorted((Path(__file__).parent / "suites").glob("*.toml"))
