"""Measures speed: warm-up, interleaved repeats, and medians with their spread."""

from __future__ import annotations

import datetime
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from pairbench.config.run_config import RunConfig
from pairbench.results.quantiles import median_interval, spread, tail
from pairbench.timing.backends import Unavailable, checked, mode_of
from pairbench.timing.harness import Subject
from pairbench.timing.peak_memory import forget_peak, peak_mib
from pairbench.training.complexity import count_flops

SCHEMA = 3
INFERENCE_BATCH = 64
LATENCY_CALLS = 30
FEWEST_REPEATS = 5
NARROW = 0.02
# A backward pass costs twice as much as a forward pass.
TRAINING_PASSES = 3


@dataclass(frozen=True)
class Effort:
    """How much a measurement costs.

    batches: the batch sizes of inference, INFERENCE_BATCH among them.
    repeat_seconds: how long one repeat of a call lasts.
    longest_call_seconds: a call that takes longer is left out after a run; `pairbench timing` waits ten times as long.
    peak_size: the side of the square matrices whose product shows the peak of the device.
    """

    batches: tuple[int, ...] = (1, INFERENCE_BATCH, 1024)
    repeat_seconds: float = 0.04
    longest_call_seconds: float = 1.0
    peak_size: int = 1024


FULL = Effort()


def measure(
    configs: Sequence[RunConfig],
    device: torch.device,
    environment: Mapping[str, Any],
    repeats: int,
    *,
    modes: Sequence[str] = (),
    seconds: float | None = None,
    effort: Effort = FULL,
) -> list[dict[str, Any]]:
    """The timing of each config; all calls take turns, in a new random order for each repeat.

    Args:
        configs: the configs to time.
        device: where they run.
        environment: the description of this machine in the timing.
        repeats: how often each call is timed; a maximum if `seconds` is given.
        modes: other ways of inference to time, such as "onnx".
        seconds: stop once every interval is narrow, or after this long.
        effort: the sizes of batches and repeats.
    """
    longest = effort.longest_call_seconds * (10 if seconds else 1)
    subjects = [_Timed(config, device, modes, longest, effort) for config in configs]
    peaks = {name: _peak_call(device, dtype, effort) for name, dtype in _PEAKS.items()}
    calls = [call for subject in subjects for call in subject.calls.values()] + list(peaks.values())
    for call in peaks.values():
        call.warm_up()
    order, started = random.Random(0), time.monotonic()
    for done in range(repeats):
        if seconds is not None and done >= FEWEST_REPEATS and _enough(calls, time.monotonic() - started, seconds):
            break
        order.shuffle(calls)
        for call in calls:
            call.repeat()
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    peak = {name: call.rates() for name, call in peaks.items()}
    return [subject.result(created, environment, peak) for subject in subjects]


def _enough(calls: Sequence[_Call], spent: float, seconds: float) -> bool:
    """Whether every interval is narrow, or the time is up."""
    if spent > seconds:
        return True
    for call in calls:
        low, middle, high = median_interval(call.seconds)
        if high - low > 2 * NARROW * middle or len(call.seconds) < 2 * FEWEST_REPEATS:
            return False
    return True


@dataclass
class _Call:
    """One call that is timed: the function, how much work it does, and the seconds of each repeat."""

    run: Callable[[], object]
    work: float
    before: Callable[[], object]
    synchronise: Callable[[], object]
    effort: Effort
    singly: bool = False
    steps: int = 1
    seconds: list[float] = field(default_factory=list)
    each: list[float] = field(default_factory=list)

    def warm_up(self) -> float:
        """Warm up, choose how many calls are in a repeat, and return the seconds of one call."""
        self.before()
        first = self._timed(1)
        quick = first < self.effort.longest_call_seconds
        if quick:
            self.run()
        once = min(self._timed(1) for _ in range(3 if quick else 1))
        self.steps = max(1, round(self.effort.repeat_seconds / once))
        if self.singly:
            self.steps = min(LATENCY_CALLS, self.steps)
        return once

    def repeat(self) -> None:
        """One repeat: a call to warm up after other calls, then the timed ones."""
        self.before()
        if self.steps > 1:
            self.run()
        if self.singly:
            calls = [self._timed(1) for _ in range(self.steps)]
            self.each += calls
            self.seconds.append(statistics.median(calls))
        else:
            self.seconds.append(self._timed(self.steps) / self.steps)

    def rates(self) -> dict[str, Any]:
        """Work per second: median, quartiles, 95% interval of the median, and every repeat."""
        return spread([self.work / item for item in self.seconds])

    def _timed(self, calls: int) -> float:
        self.synchronise()
        started = time.perf_counter()
        for _ in range(calls):
            self.run()
        self.synchronise()
        return time.perf_counter() - started


class _Timed:
    """One config and all its calls."""

    def __init__(
        self, config: RunConfig, device: torch.device, modes: Sequence[str], longest: float, effort: Effort
    ) -> None:
        self.config, self.effort = config, effort
        self.subject = subject = Subject(config, device)
        self.batch_size = config.train.batch_size
        self.calls: dict[str, _Call] = {}
        self.left_out: dict[str, str] = {}
        self.differences: dict[str, float] = {}
        training = subject.batch(self.batch_size)
        forget_peak()
        self._add("training", lambda: subject.train(training), self.batch_size, longest, training=True)
        self.peak_mib = peak_mib()
        self.accelerators = subject.accelerators()
        if self.accelerators:
            run = partial(subject.train, training)
            self._add("accelerated training", run, self.batch_size, longest, training=True, accelerators=True)
        batches = {size: subject.batch(size) for size in effort.batches}
        for size, batch in batches.items():
            self._add(f"inference {size}", partial(subject.infer, batch), size, longest, singly=size == 1)
        encoded = batches[INFERENCE_BATCH]
        views = encoded.images.shape[1]
        encodings = INFERENCE_BATCH * (1 if config.pairing == "two_channel" else views)
        self._add("encoding", lambda: subject.encode(encoded), encodings, longest)
        subject.ready(training=False)
        for mode in modes:
            try:
                answer = mode_of(mode, subject.model, encoded.images)
                self.differences[mode] = checked(mode, answer, subject.model, encoded.images)
                for size, batch in batches.items():
                    if f"inference {size}" in self.calls:
                        self._add(
                            f"{mode} {size}",
                            partial(subject.repeated, partial(answer, batch.images)),
                            size,
                            longest,
                            singly=size == 1,
                        )
            except Unavailable as reason:
                self.left_out[mode] = str(reason)

    def _add(
        self,
        name: str,
        run: Callable[[], object],
        work: float,
        longest: float,
        *,
        training: bool = False,
        singly: bool = False,
        accelerators: bool = False,
    ) -> None:
        """Add `run` to the calls, unless a smaller batch shows that it would take too long."""
        smaller = self.calls.get("inference 64")
        if smaller is not None and work > INFERENCE_BATCH and name.startswith("inference"):
            smaller.before()
            if smaller._timed(1) * work / smaller.work > longest:
                return
        subject = self.subject
        before = partial(subject.ready, training, accelerators=accelerators)
        call = _Call(run, work, before, subject.synchronise, self.effort, singly)
        call.warm_up()
        self.calls[name] = call

    def result(self, created: str, environment: Mapping[str, Any], peak: Mapping[str, Any]) -> dict[str, Any]:
        """The timing as plain values."""
        # Floating-point operations can only be counted in torch's own layers.
        self.subject.ready(training=False)
        rates = {name: call.rates() for name, call in self.calls.items()}
        training = rates["training"] | {"batch_size": self.batch_size}
        inference = {
            str(size): rates[f"inference {size}"] | {"batch_size": size}
            for size in self.effort.batches
            if f"inference {size}" in rates
        }
        flops = self.subject.passes * count_flops(self.subject.model, self.config)
        best = peak["fp32"]["high"] * 1e9
        return {
            "schema": SCHEMA,
            "config_id": self.config.config_id,
            "created": created,
            "training_pairs_per_second": training,
            "accelerated": self._accelerated(rates),
            "inference_pairs_per_second": inference[str(INFERENCE_BATCH)],
            "inference_by_batch": inference,
            "encodings_per_second": rates["encoding"] | {"batch_size": INFERENCE_BATCH},
            "latency_ms": _latency(self.calls["inference 1"]),
            "modes": {mode: self._mode(mode, rates) for mode in [*self.differences, *self.left_out]},
            "parameters": self.config.train.members * sum(p.numel() for p in self.subject.model.parameters()),
            "flops_per_pair": flops,
            "peak_mib": round(self.peak_mib, 1),
            "gemm_gflops_per_second": dict(peak),
            "share_of_gemm_peak": {
                "training": TRAINING_PASSES * count_flops(self.subject.model, self.config) * training["median"] / best,
                "inference": max(flops * part["median"] / best for part in inference.values()),
            },
            "environment": dict(environment),
        }

    def _accelerated(self, rates: Mapping[str, Any]) -> dict[str, Any]:
        """The accelerators that rounds are trained with, and the speed of training with them; empty for none."""
        if not self.accelerators:
            return {}
        training = rates["accelerated training"] | {"batch_size": self.batch_size}
        return {"by": self.accelerators, "training_pairs_per_second": training}

    def _mode(self, mode: str, rates: Mapping[str, Any]) -> dict[str, Any]:
        if mode in self.left_out:
            return {"left_out": self.left_out[mode]}
        by_batch = {
            str(size): rates[f"{mode} {size}"] | {"batch_size": size}
            for size in self.effort.batches
            if f"{mode} {size}" in rates
        }
        return {
            "largest_difference": self.differences[mode],
            "inference_by_batch": by_batch,
            "latency_ms": _latency(self.calls[f"{mode} 1"]),
        }


def _latency(call: _Call) -> dict[str, Any]:
    """Milliseconds of one pair: the percentiles of all calls, and the median of each repeat."""
    calls = [1000 * item for item in call.each]
    return tail(calls) | {"calls": len(calls), "batch_size": 1, "repeats": [1000 * item for item in call.seconds]}


_PEAKS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def _peak_call(device: torch.device, dtype: torch.dtype, effort: Effort) -> _Call:
    """A matrix product large enough to reach the peak of the device; its work is in 10^9 operations."""
    size = effort.peak_size * (4 if device.type == "cuda" else 1)
    first, second = (torch.rand(size, size, device=device, dtype=dtype) for _ in range(2))

    def synchronise() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        elif device.type == "mps":
            torch.mps.synchronize()

    return _Call(lambda: first @ second, 2 * size**3 / 1e9, lambda: None, synchronise, effort)
