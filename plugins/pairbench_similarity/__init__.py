"""Heads and losses for verification and preference."""

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
