"""The speed of configs side by side: ratios with intervals, from interleaved repeats."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pairbench.config import RunConfig, resolve
from pairbench.errors import SpecError, WorkerError
from pairbench.executors import execute
from pairbench.plan import Job, Member
from pairbench.record import Context
from pairbench.registry import installed
from pairbench.render import Document, Table
from pairbench.runner import refuse_invalid
from pairbench.spec import expand, parse, split_specs
from pairbench.store import Store
from pairbench.tables import rate, short_names

FIGURES = ("training_pairs_per_second", "inference_pairs_per_second", "latency_ms")


def side_by_side(specs: Sequence[str], *, repeats: int = 21, store: str | Path | None = None) -> dict[str, Any]:
    """The timings of the configs that `specs` name, and the ratio of each to the first.

    Raises:
        SpecError: a spec is wrong, or two are the same config.
        WorkerError: the timing could not be taken.
    """
    registry = installed()
    configs: list[RunConfig] = []
    for words in split_specs(specs):
        configs += [resolve(settings, registry) for settings in expand(parse(words))]
    if not configs:
        raise SpecError('no spec: expected one or more, such as "encoder=cnn loss=aux".')
    members = tuple(Member(str(config), config, Context("", {})) for config in configs)
    if len({member.config.config_id for member in members}) < len(members):
        raise SpecError("the same config twice: nothing to compare. Name each config once.")
    place = str(Store(store).root.resolve())
    job = Job(members, (), tuple(range(len(members))), place, workers=1, repeats=repeats)
    timings: dict[int, dict[str, Any]] = {}
    events = []
    for event in execute(job):
        events.append(event)
        if event["event"] == "timing":
            timings[event["member"]] = event["timing"]
        elif event["event"] == "broken":
            raise WorkerError(f"{members[event['member']].name} cannot be built: {event['error']['reason']}.")
    refuse_invalid(events, [member.name for member in members])
    if len(timings) < len(members):
        notes = [event["message"] for event in events if event["event"] == "note"]
        raise WorkerError("the timing was not taken" + (f" ({notes[0]})." if notes else "."))
    results = [{"name": m.name, "config_id": m.config.config_id, "timing": timings[i]} for i, m in enumerate(members)]
    ratios = [
        {"first": members[0].name, "second": members[i].name, "figure": figure} | ratio(timings[0], timings[i], figure)
        for i in range(1, len(members))
        for figure in FIGURES
    ]
    return {"schema": 1, "results": results, "ratios": ratios}


def ratio(first: dict[str, Any], second: dict[str, Any], figure: str) -> dict[str, Any]:
    """first / second in `figure`: the median over repeats that were taken side by side, its 95% interval, and whether
    the interval leaves 1 out."""
    pairs = zip(first[figure]["repeats"], second[figure]["repeats"], strict=True)
    low, middle, high = median_interval([a / b for a, b in pairs])
    return {"ratio": middle, "low": low, "high": high, "different": not low <= 1 <= high}


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The median and its distribution-free 95% interval, from order statistics; the whole range for few values."""
    ordered, count = sorted(values), len(values)
    rank, below = 0, 0.0
    # The interval from the k-th smallest to the k-th largest misses the median with twice this binomial tail.
    while rank < count // 2 and 2 * (below + math.comb(count, rank) / 2**count) <= 0.05:
        below += math.comb(count, rank) / 2**count
        rank += 1
    cut = max(rank - 1, 0)
    return ordered[cut], statistics.median(ordered), ordered[-1 - cut]


def document(value: dict[str, Any]) -> Document:
    """The timings, and the ratios where there are two configs or more, as tables."""
    rows = []
    names, shared = short_names([item["name"] for item in value["results"]])
    for name, item in zip(names, value["results"], strict=True):
        timing = item["timing"]
        latency = timing["latency_ms"]
        row = [name]
        for figure in ("training", "inference"):
            part = timing[f"{figure}_pairs_per_second"]
            row += [rate(timing, figure), f"{part['low']:,.0f} to {part['high']:,.0f}"]
        rows.append((*row, f"{latency['p50']:.3f}", f"{latency['p95']:.3f}"))
    first = value["results"][0]["timing"]
    sizes = [first[name]["batch_size"] for name in FIGURES[:2]]
    where = first["environment"]
    notes = [f"all with {shared}"] if shared else []
    notes += [
        f"medians and quartiles of {len(first['latency_ms']['repeats'])} interleaved repeats; "
        f"batches of {sizes[0]} pairs in training and {sizes[1]} in inference; "
        f"{where['device']}, threads: {where['threads']}"
    ]
    columns = ("config", "train pairs/s", "quartiles", "infer pairs/s", "quartiles", "ms for one pair", "p95")
    tables = [Table("Speed", columns, tuple(rows), 1, tuple(notes), ("p95", "quartiles"))]
    if value["ratios"]:
        short = {item["name"]: name for item, name in zip(value["results"], names, strict=True)}
        ratios = tuple(
            (
                short[item["first"]],
                short[item["second"]],
                item["figure"].replace("_", " "),
                f"{item['ratio']:.3f}",
                f"{item['low']:.3f} to {item['high']:.3f}",
                "different" if item["different"] else "no difference shown",
            )
            for item in value["ratios"]
        )
        heads = ("first", "second", "figure", "first / second", "95% interval", "verdict")
        tables.append(Table("Side by side", heads, ratios, 3))
    return Document(tuple(tables))
