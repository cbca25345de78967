"""Speed as a measurement: warm-up, interleaved repeats, medians with their spread, nothing else running."""

from __future__ import annotations

import datetime
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from pairbench.config import RunConfig
from pairbench.subject import Subject

SECONDS_PER_REPEAT = 0.04
INFERENCE_BATCH = 256
LATENCY_CALLS = 30


def measure(
    configs: Sequence[RunConfig], device: torch.device, environment: Mapping[str, Any], repeats: int
) -> list[dict[str, Any]]:
    """The timing of each config; the configs take turns, in an order drawn anew for each repeat.

    Figures: training_pairs_per_second and inference_pairs_per_second (median, low and high quartile, all repeats) and
    latency_ms (p50, p95) of one pair.
    """
    subjects = [_Timed(config, device) for config in configs]
    turns = [(subject, figure) for subject in subjects for figure in subject.calls]
    for subject, figure in turns:
        subject.warm_up(figure)
    order = random.Random(0)
    for _ in range(repeats):
        order.shuffle(turns)
        for subject, figure in turns:
            subject.repeat(figure)
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return [subject.result(created, environment) for subject in subjects]


class _Timed:
    """One config that is being timed, with what each of its figures calls."""

    def __init__(self, config: RunConfig, device: torch.device) -> None:
        self.config = config
        self.subject = subject = Subject(config, device)
        self.sizes = {"training": config.train.batch_size, "inference": INFERENCE_BATCH, "latency": 1}
        training, inference, one = (subject.batch(size) for size in self.sizes.values())
        self.calls: dict[str, Callable[[], object]] = {
            "training": lambda: subject.train(training),
            "inference": lambda: subject.infer(inference),
            "latency": lambda: subject.infer(one),
        }
        self.steps: dict[str, int] = {}
        self.seconds: dict[str, list[float]] = {figure: [] for figure in self.calls}
        self.all_calls: list[float] = []

    def warm_up(self, figure: str) -> None:
        """Call until it is warm, and choose how many calls make a repeat."""
        self.subject.model.train(figure == "training")
        for _ in range(3):
            self.calls[figure]()
        once = min(self._timed(figure, 1) for _ in range(3))
        self.steps[figure] = LATENCY_CALLS if figure == "latency" else max(1, round(SECONDS_PER_REPEAT / once))

    def repeat(self, figure: str) -> None:
        """One repeat: a warm call after the change of model, then the timed ones."""
        self.subject.model.train(figure == "training")
        self.calls[figure]()
        if figure == "latency":
            calls = [self._timed(figure, 1) for _ in range(self.steps[figure])]
            self.all_calls += calls
            self.seconds[figure].append(statistics.median(calls))
        else:
            self.seconds[figure].append(self._timed(figure, self.steps[figure]) / self.steps[figure])

    def result(self, created: str, environment: Mapping[str, Any]) -> dict[str, Any]:
        """The timing as plain values."""
        rates = {
            f"{figure}_pairs_per_second": _spread([self.sizes[figure] / item for item in self.seconds[figure]])
            | {"batch_size": self.sizes[figure]}
            for figure in ("training", "inference")
        }
        calls = sorted(1000 * item for item in self.all_calls)
        latency = {
            "p50": _quantile(calls, 0.5),
            "p95": _quantile(calls, 0.95),
            "calls": len(calls),
            "batch_size": 1,
            "repeats": [1000 * item for item in self.seconds["latency"]],
        }
        return {
            "schema": 1,
            "config_id": self.config.config_id,
            "created": created,
            **rates,
            "latency_ms": latency,
            "environment": dict(environment),
        }

    def _timed(self, figure: str, calls: int) -> float:
        self.subject.synchronise()
        started = time.perf_counter()
        for _ in range(calls):
            self.calls[figure]()
        self.subject.synchronise()
        return time.perf_counter() - started


def _spread(values: list[float]) -> dict[str, Any]:
    ordered = sorted(values)
    return {
        "median": statistics.median(ordered),
        "low": _quantile(ordered, 0.25),
        "high": _quantile(ordered, 0.75),
        "repeats": values,
    }


def _quantile(ordered: Sequence[float], share: float) -> float:
    """The quantile of sorted values, interpolated."""
    at = share * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])
