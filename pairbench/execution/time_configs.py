"""The speed of configs side by side: ratios with intervals, from interleaved repeats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pairbench.config.run_config import RunConfig, resolve
from pairbench.config.spec import expand, parse, split_specs
from pairbench.errors import SpecError, WorkerError
from pairbench.execution.executors import execute
from pairbench.execution.plan import Job, planned_config
from pairbench.execution.runner import refuse_invalid
from pairbench.plugin.accelerator_choice import allowed
from pairbench.plugin.registry import installed
from pairbench.results.quantiles import median_interval
from pairbench.results.render import Document, Table, csv_lines
from pairbench.results.tables import count, rate, short_names
from pairbench.store.store import Store
from pairbench.text import unknown

MODES = ("eager", "channels_last", "bf16", "compiled", "compiled_bf16", "onnx")
FIGURES = ("training_pairs_per_second", "inference_pairs_per_second", "latency_ms")
TITLES = ("train pairs/s", "infer pairs/s", "ms, one pair")
SECONDS = 60.0
MOST_REPEATS = 200


def modes_of(text: str) -> tuple[str, ...]:
    """The modes that `text` names with commas between, "eager" first.

    Raises:
        SpecError: one is unknown.
    """
    named = [name.strip() for name in text.split(",") if name.strip()]
    known = (*MODES, *installed().accelerators)
    for name in named:
        if name not in known:
            raise unknown("mode", name, known)
    return tuple(dict.fromkeys(["eager", *named])) if named else ()


def side_by_side(
    specs: Sequence[str],
    *,
    repeats: int | None = None,
    modes: Sequence[str] = (),
    seconds: float = SECONDS,
    store: str | Path | None = None,
) -> dict[str, Any]:
    """The timings of the configs that `specs` name, and the ratio of each to the first.

    Args:
        specs: configs, each in words.
        repeats: how often each figure is taken; None takes as many as it needs for narrow intervals.
        modes: ways to answer that are timed besides, such as "onnx".
        seconds: how long repeats may take in all where their number is left open.
        store: where timings are kept.

    Raises:
        SpecError: a spec is wrong, or two are the same config.
        WorkerError: the timing could not be taken.
    """
    registry = installed()
    allowed(registry)
    configs: list[RunConfig] = []
    for words in split_specs(specs):
        configs += [resolve(settings, registry) for settings in expand(parse(words))]
    if not configs:
        raise SpecError('no spec: expected one or more, such as "encoder=cnn loss=aux".')
    planned = tuple(planned_config(str(config), config, config.data(), registry) for config in configs)
    if len({one.config_id for one in planned}) < len(planned):
        raise SpecError("the same config twice: nothing to compare. Name each config once.")
    place = str(Store(store).root.resolve())
    job = Job(
        planned,
        (),
        tuple(range(len(planned))),
        place,
        workers=1,
        repeats=MOST_REPEATS if repeats is None else repeats,
        modes=tuple(modes),
        timing_seconds=seconds if repeats is None else None,
    )
    timings: dict[int, dict[str, Any]] = {}
    events = []
    for event in execute(job):
        events.append(event)
        if event["event"] == "timing":
            timings[event["config_index"]] = event["timing"]
        elif event["event"] == "broken":
            raise WorkerError(f"{planned[event['config_index']].name} cannot be built: {event['error']['reason']}.")
    refuse_invalid(events, [one.name for one in planned])
    if len(timings) < len(planned):
        notes = [event["message"] for event in events if event["event"] == "note"]
        raise WorkerError("the timing was not taken" + (f" ({notes[0]})." if notes else "."))
    results = [{"name": m.name, "config_id": m.config_id, "timing": timings[i]} for i, m in enumerate(planned)]
    ratios = [
        {"first": planned[0].name, "second": planned[i].name, "figure": figure} | ratio(timings[0], timings[i], figure)
        for i in range(1, len(planned))
        for figure in FIGURES
    ]
    return {"schema": 1, "results": results, "ratios": ratios}


def ratio(first: dict[str, Any], second: dict[str, Any], figure: str) -> dict[str, Any]:
    """first / second in `figure`: the median over repeats that were taken side by side, its 95% interval, and whether
    the interval leaves 1 out."""
    pairs = zip(first[figure]["repeats"], second[figure]["repeats"], strict=True)
    low, middle, high = median_interval([a / b for a, b in pairs])
    return {"ratio": middle, "low": low, "high": high, "different": not low <= 1 <= high}


def document(value: dict[str, Any]) -> Document:
    """The timings, the modes where some were asked for, and the ratios where there are two configs or more."""
    names, shared = short_names([item["name"] for item in value["results"]])
    timings = [item["timing"] for item in value["results"]]
    notes = [f"all with {shared}"] if shared else []
    tables = [_speeds(names, timings, notes)]
    if any(timing["modes"] for timing in timings):
        tables.append(_modes(names, timings))
    if value["ratios"]:
        tables.append(_ratios(value["ratios"], names, [item["name"] for item in value["results"]]))
    return Document(tuple(tables))


def csv(value: dict[str, Any]) -> str:
    """One line for each figure of each config, mode and batch size, and for each ratio: low, median and high."""
    lines: list[list[Any]] = []
    for item in value["results"]:
        name, timing = item["name"], item["timing"]
        training = timing["training_pairs_per_second"]
        lines.append([name, "training", "pairs_per_second", training["batch_size"], *_range(training)])
        if timing["accelerated"]:
            training, by = timing["accelerated"]["training_pairs_per_second"], "+".join(timing["accelerated"]["by"])
            lines.append([name, f"training with {by}", "pairs_per_second", training["batch_size"], *_range(training)])
        lines += _answers(name, "", timing)
        lines.append([name, "", "encodings_per_second", None, *_range(timing["encodings_per_second"])])
        for mode, part in timing["modes"].items():
            if "left_out" not in part:
                lines += _answers(name, mode, part)
                lines.append([name, mode, "largest_difference", None, None, part["largest_difference"], None])
        for figure in ("peak_mib", "parameters", "flops_per_pair"):
            lines.append([name, "", figure, None, None, timing[figure], None])
        for part in ("training", "inference"):
            lines.append([name, part, "share_of_gemm_peak", None, None, timing["share_of_gemm_peak"][part], None])
    for item in value["ratios"]:
        name = f"{item['first']} / {item['second']}"
        lines.append([name, "", f"ratio of {item['figure']}", None, item["low"], item["ratio"], item["high"]])
    header = ["config", "mode", "figure", "batch_size", "low", "median", "high"]
    return "".join(csv_lines(header, lines))


def _answers(name: str, mode: str, timing: dict[str, Any]) -> list[list[Any]]:
    """The lines of inference in one mode, "" for the default."""
    lines: list[list[Any]] = [
        [name, mode or "inference", "pairs_per_second", int(size), *_range(part)]
        for size, part in timing["inference_by_batch"].items()
    ]
    latency = timing["latency_ms"]
    return lines + [
        [name, mode or "inference", f"latency_ms_{place}", 1, None, latency[place], None]
        for place in ("p50", "p95", "p99")
        if place in latency
    ]


def _range(part: dict[str, Any]) -> tuple[float, float, float]:
    return part["low"], part["median"], part["high"]


def _speeds(names: Sequence[str], timings: Sequence[dict[str, Any]], notes: Sequence[str]) -> Table:
    rows, faster = [], list(dict.fromkeys(name for timing in timings for name in timing["accelerated"].get("by", ())))
    for name, timing in zip(names, timings, strict=True):
        latency, by_batch = timing["latency_ms"], timing["inference_by_batch"]
        row = [name]
        for figure in ("training", "inference"):
            part = timing[f"{figure}_pairs_per_second"]
            row += [rate(timing, figure), f"{part['low']:,.0f} to {part['high']:,.0f}"]
            if figure == "training" and faster:
                row.append(rate(timing["accelerated"], "training") if timing["accelerated"] else "-")
        row += [f"{by_batch[size]['median']:,.0f}" if size in by_batch else "-" for size in ("1", "1024")]
        row += [f"{latency[name]:.3f}" for name in ("p50", "p95", "p99")]
        row += [f"{timing['encodings_per_second']['median']:,.0f}", f"{timing['peak_mib']:,.0f}"]
        row += [f"{timing['parameters']:,}", count(timing["flops_per_pair"])]
        row += [f"{100 * timing['share_of_gemm_peak'][part]:.1f}" for part in ("training", "inference")]
        rows.append(tuple(row))
    first = timings[0]
    where, peaks = first["environment"], first["gemm_gflops_per_second"]
    peak = ", ".join(f"{peaks[name]['high']:,.0f} in {name}" for name in ("fp32", "bf16"))
    if faster:
        notes = [*notes, f"accelerated: training with {', '.join(faster)}; all other figures are those of plain torch"]
    notes = [
        *notes,
        f"medians and quartiles of {len(first['latency_ms']['repeats'])} interleaved repeats; batches of "
        f"{first['training_pairs_per_second']['batch_size']} pairs in training and "
        f"{first['inference_pairs_per_second']['batch_size']} in inference; {where['device']}, "
        f"threads: {where['threads']}",
        f"matrix products reach {peak} (10^9 operations in a second), measured in turns with the rest",
    ]
    columns = (
        "config",
        "train pairs/s",
        "quartiles",
        *(["accelerated"] if faster else []),
        "infer pairs/s",
        "quartiles",
        "at 1",
        "at 1024",
        "ms, one pair",
        "p95",
        "p99",
        "encodings/s",
        "peak MiB",
        "parameters",
        "FLOP/pair",
        "train % of peak",
        "infer % of peak",
    )
    spare = (
        "train % of peak",
        "infer % of peak",
        "FLOP/pair",
        "parameters",
        "peak MiB",
        "encodings/s",
        "p99",
        "p95",
        "at 1",
        "at 1024",
        "quartiles",
    )
    return Table("Speed", columns, tuple(rows), 1, tuple(notes), spare)


def _modes(names: Sequence[str], timings: Sequence[dict[str, Any]]) -> Table:
    rows, notes = [], []
    for name, timing in zip(names, timings, strict=True):
        plain = timing["modes"].get("eager", {})
        for mode, part in timing["modes"].items():
            if "left_out" in part:
                notes.append(f"{name}: {mode} is left out: {part['left_out']}")
                continue
            row = [name, mode]
            for size in ("1", "64", "1024"):
                if size not in part["inference_by_batch"]:
                    row.append("-")
                    continue
                times = ""
                if mode != "eager" and "inference_by_batch" in plain:
                    ratio_to = _ratio_of(part["inference_by_batch"][size], plain["inference_by_batch"][size])[1]
                    times = f" {ratio_to:.1f}x"
                row.append(f"{part['inference_by_batch'][size]['median']:,.0f}{times}")
            row += [f"{part['largest_difference']:.1g}", *(f"{part['latency_ms'][p]:.3f}" for p in ("p50", "p95"))]
            rows.append(tuple(row))
    notes.insert(0, "pairs in a second at batches of 1, 64 and 1024, and how many times eager; of paired repeats")
    notes.insert(1, "differs: the largest difference of a logit from eager's, over 64 pairs")
    columns = ("config", "mode", "at 1", "at 64", "at 1024", "differs", "ms, one pair", "p95")
    return Table("Ways to answer", columns, tuple(rows), 2, tuple(notes), ("p95", "ms, one pair", "differs"))


def _ratio_of(first: dict[str, Any], second: dict[str, Any]) -> tuple[float, float, float]:
    return median_interval([a / b for a, b in zip(first["repeats"], second["repeats"], strict=True)])


def _ratios(ratios: Sequence[dict[str, Any]], names: Sequence[str], whole: Sequence[str]) -> Table:
    short = dict(zip(whole, names, strict=True))
    titles = dict(zip(FIGURES, TITLES, strict=True))
    rows = tuple(
        (
            short[item["second"]],
            titles[item["figure"]],
            f"{item['ratio']:.3f}",
            f"{item['low']:.3f} to {item['high']:.3f}",
            "different" if item["different"] else "not shown",
        )
        for item in ratios
    )
    columns = ("beside", "figure", "ratio", "95% interval", "difference")
    return Table(f"{names[0]}, divided by the others", columns, rows, 2)
