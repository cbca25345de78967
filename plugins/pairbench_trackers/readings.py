"""What the trackers write, read from the events: options as plain values, curves as points, figures by name."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import pairbench


def plain_options(options: Mapping[str, Any]) -> dict[str, bool | int | float | str]:
    """Every option as a value that any tracker takes; lists and mappings become JSON, and None becomes "none"."""
    return {key: _plain(value) for key, value in options.items()}


def _plain(value: Any) -> bool | int | float | str:
    if value is None:
        return "none"
    return value if isinstance(value, bool | int | float | str) else json.dumps(value)


def live_figures(epoch: pairbench.EpochFinished) -> dict[str, float]:
    """The figures of an epoch as it ends, by names that are not those of the whole curves."""
    return {f"live.{name}": value for name, value in epoch.figures.items() if math.isfinite(value)}


def curves(record: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, float]]]:
    """(epoch, figures) for each epoch of a record that has any, by names such as "train.loss"."""
    every = record["config"].get("train.evaluate_every") or 1
    points: dict[int, dict[str, float]] = {}
    for split, found in record["curves"].items():
        stride = 1 if split == "train" else every
        for metric, values in found.items():
            for place, value in enumerate(values, start=1):
                if _is_figure(value):
                    points.setdefault(place * stride, {})[f"{split}.{metric}"] = value
    yield from sorted(points.items())


def round_figures(record: Mapping[str, Any]) -> dict[str, float]:
    """The final figures of a round by their names, and its cost by names such as "cost.train_seconds"."""
    figures = {name: value for name, value in record["metrics"].items() if _is_figure(value)}
    return figures | {f"cost.{name}": value for name, value in record["cost"].items() if _is_figure(value)}


def config_figures(config: pairbench.ConfigFinished) -> dict[str, float]:
    """What a config came to over its rounds: "accuracy.mean", ".std", ".low" and ".high", counts, cost and speed."""
    figures: dict[str, Any] = {f"rounds.{status}": count for status, count in config.rounds.items()}
    for metric, summary in config.summary.items():
        figures |= {f"{metric}.{name}": value for name, value in summary.items()}
    figures |= {f"cost.{name}": value for name, value in config.cost.items()}
    for name, value in (config.timing or {}).items():
        if isinstance(value, Mapping):
            figures |= {f"timing.{name}.{key}": value[key] for key in ("median", "p50") if key in value}
    return {name: value for name, value in figures.items() if _is_figure(value)}


def _is_figure(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
