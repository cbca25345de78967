"""The source report as a plugin: its dataset, encoders, heads and losses, and its Table I as two suites."""

from __future__ import annotations

from pathlib import Path

import pairbench
from pairbench_report.dataset import MnistPairs
from pairbench_report.encoders import Cnn, DeepCnn, ElmanRnn, Mlp, PooledCnn
from pairbench_report.heads import ConcatLinear, ConcatMlp
from pairbench_report.losses import AuxClassification, CrossEntropy


@pairbench.hookimpl
def pairbench_components() -> list[type[pairbench.Component]]:
    """The components of the report."""
    return [
        MnistPairs,
        Mlp,
        Cnn,
        PooledCnn,
        ElmanRnn,
        DeepCnn,
        ConcatLinear,
        ConcatMlp,
        CrossEntropy,
        AuxClassification,
    ]


@pairbench.hookimpl
def pairbench_suites() -> list[Path]:
    """Table I, evaluated properly and as published."""
    return sorted((Path(__file__).parent / "suites").glob("*.toml"))
