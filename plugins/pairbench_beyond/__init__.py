"""Beyond the source report: a head that compares posteriors, wider and residual networks, and recipes for accuracy."""

from __future__ import annotations

from pathlib import Path

import pairbench
from pairbench_beyond.encoders import ResidualCnn, WideCnn
from pairbench_beyond.heads import Posterior


@pairbench.hookimpl
def pairbench_components() -> list[type[pairbench.Component]]:
    """The components that go beyond the report."""
    return [WideCnn, ResidualCnn, Posterior]


@pairbench.hookimpl
def pairbench_suites() -> list[Path]:
    """The recipes, compared with the report's best model."""
    return sorted((Path(__file__).parent / "suites").glob("*.toml"))
