"""Pairs of the user's own image files."""

from __future__ import annotations

import pairbench


@pairbench.hookimpl
def pairbench_components() -> list[type[pairbench.Component]]:
    """The parts of this plugin."""
    return []
