"""Heads, losses and metrics for verification and preference."""

from __future__ import annotations

import pairbench
from pairbench_similarity import heads, losses, metric


@pairbench.hookimpl
def pairbench_components() -> list[type[pairbench.Component]]:
    """The components of this plugin."""
    return [
        heads.Cosine,
        heads.Distance,
        heads.AbsoluteDifference,
        losses.Contrastive,
        losses.Margin,
        losses.Triplet,
        metric.Metric,
    ]


@pairbench.hookimpl
def pairbench_metrics() -> list[pairbench.MetricSpec]:
    """The metrics of this plugin."""
    return [
        pairbench.MetricSpec(
            "average_precision",
            "Mean precision over the pairs that are the same, each at its own score.",
            "pairbench_similarity.figures:average_precision",
            unit="percent",
            needs=("verification",),
            aside=True,
        ),
        pairbench.MetricSpec(
            "d_prime",
            "Distance between the mean scores of same and different pairs, over their root mean variance.",
            "pairbench_similarity.figures:d_prime",
            "d'",
            needs=("verification",),
            aside=True,
        ),
    ]
