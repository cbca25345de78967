"""Results, comparisons, ablations and failures as tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pairbench.config.run_config import canonical
from pairbench.config.spec import split_words
from pairbench.plugin.metric_specs import ALWAYS
from pairbench.plugin.metrics import in_order, plain, spec_of
from pairbench.results.ablation_result import Ablation
from pairbench.results.comparison import Verdicts
from pairbench.results.metric_notes import notes_on_metrics
from pairbench.results.ranking import against_best, agreement, comparable_key
from pairbench.results.render import Document, Table, csv_lines
from pairbench.results.results import Result, Results
from pairbench.results.statistics import Summary

# Nobody reads more rows of a ranking than this.
LONGEST = 200
# What a ranking does without in a narrow terminal, the first to go first; then metrics and the id, by priority.
_SPARE_COSTS = ("FLOP/pair", "train pairs/s", "ms/pair", "parameters", "infer pairs/s", "CPU s/round")
_ID_PRIORITY = 55
_PARTS = ("mean", "std", "low", "high", "rounds")
_SPEEDS = ("training_pairs_per_second", "inference_pairs_per_second")


def of_results(results: Results) -> Document:
    """One config as a table of its metrics; several as a table of configs for each dataset."""
    if not results.items:
        return Document((), (f"No records in {results.store}. Train something first: pairbench run",))
    if results.metric is None and len(results) == 1 and not results[0].published:
        tables: list[Table] = [_single(results[0]), _cost(results[0])]
    elif results.metric is None:
        tables = [_many(results.items, None)]
        if any(item.published for item in results):
            tables.append(_beside_published(results.items))
    else:
        groups: dict[str, list[Result]] = {}
        for item in results:
            groups.setdefault(comparable_key(item), []).append(item)
        tables = [_many(group, results.metric) for group in groups.values()]
    return Document(tuple(tables), tuple(_notes(results)))


def failures(results: Results) -> dict[str, Any]:
    """The failed rounds with their tracebacks, as plain values."""
    found = [
        {"name": item.name, "config_id": item.config_id, "round": record["round"], **record.get("error", {})}
        for item in results
        for record in item.failed
    ]
    return {"schema": 1, "failures": found}


def of_failures(results: Results) -> Document:
    """The failed rounds with their tracebacks."""
    found = failures(results)["failures"]
    rows = tuple((item["name"], str(item["round"]), item["reason"], item["config_id"]) for item in found)
    notes = [
        line for item in found for line in (f"{item['name']}, round {item['round']}:", *item["traceback"].splitlines())
    ]
    return Document(
        (Table("Failed rounds", ("config", "round", "reason", "config_id"), rows, 4),),
        tuple(notes or ["no round has failed"]),
    )


def of_comparison(comparison: Verdicts) -> Document:
    """One row for each pair of results."""
    names, shared = short_names([result.name for result in comparison.results])
    rows = []
    for (i, j), verdict in comparison.verdicts.items():
        value = verdict.difference
        scale, unit = (100, " points") if spec_of(comparison.metric).percent else (1, "")
        interval = (
            "" if value.low is None or value.high is None else f"{value.low * scale:+.2f} to {value.high * scale:+.2f}"
        )
        rows.append(
            (
                names[i],
                verdict.word,
                names[j],
                f"{value.mean * scale:+.2f}{unit}",
                interval,
                _p(value.p),
                _p(verdict.corrected),
                f"{value.rounds} {value.test}",
            )
        )
    columns = ("first", "is", "second", "difference", "95% interval", "p", "p (Holm)", "rounds")
    notes = [f"all with {shared}"] if shared else []
    notes.append("better or worse: Holm-corrected p-value of at most 0.05; otherwise a tie.")
    return Document(
        (Table(f"{title(comparison.metric)}, first - second", columns, tuple(rows), 3, tuple(notes), ("p",)),)
    )


def of_ablation(ablation: Ablation) -> Document:
    """One row for each ingredient: the metric without it, and its effect."""
    metric, whole = ablation.metric, ablation.results[0]
    scale, unit = (100, " points") if spec_of(metric).percent else (1, "")
    rows = [("whole", mean_std(metric, whole.summary.get(metric)), "", "", "", "", _rounds(whole))]
    for place, name in enumerate(ablation.names, start=1):
        result, verdict = ablation.results[place], ablation.verdicts.get(name)
        row = [name, mean_std(metric, result.summary.get(metric))]
        if verdict is None:
            row += ["-", "-", "-", "unknown"]
        else:
            value = verdict.difference
            known = value.low is not None and value.high is not None
            interval = f"{(value.low or 0) * scale:+.2f} to {(value.high or 0) * scale:+.2f}" if known else "-"
            effect = {"better": "helps", "worse": "harms", "tie": "no effect shown"}.get(verdict.word, verdict.word)
            row += [f"{value.mean * scale:+.2f}{unit}", interval, _p(verdict.corrected), effect]
        rows.append((*row, _rounds(result)))  # type: ignore[arg-type]
    columns = ("variant", title(metric), "effect", "95% interval", "p (Holm)", "removed", "rounds")
    note = "effect: the whole config minus the variant, paired by round; all rows are corrected together"
    return Document(
        (Table(f"Effect of each ingredient: {title(metric)}", columns, tuple(rows), 1, (note,)),),
        tuple(_notes(ablation.results)),
    )


def title(metric: str) -> str:
    """The name of a metric as a table shows it."""
    named = spec_of(metric).title
    return f"validation {named}" if plain(metric) != metric else named


def number(metric: str, value: float | None) -> str:
    """A value of `metric` as a table shows it: percent for shares, else a plain number."""
    if value is None:
        return "-"
    return f"{100 * value:.2f}" if spec_of(metric).percent else f"{value:.4f}"


def mean_std(metric: str, summary: Summary | None) -> str:
    """ "85.77 ± 0.77", or "-"."""
    if summary is None:
        return "-"
    spread = "" if summary.std is None else f" ± {number(metric, summary.std)}"
    return number(metric, summary.mean) + spread


def count(value: float) -> str:
    """A large number with a metric prefix: 160300 -> "160,300", 5_300_000 -> "5.30 M"."""
    for size, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if value >= size:
            return f"{value / size:.2f} {prefix}"
    return f"{value:,.0f}"


def _single(result: Result) -> Table:
    rows = []
    for metric in in_order(name for name in result.summary if plain(name) == name):
        summary = result.summary.get(metric)
        if summary is None or (metric == "total_loss" and summary == result.summary.get("loss")):
            continue
        validation = result.summary.get(f"validation_{metric}")
        interval = "-" if summary.low is None else f"{number(metric, summary.low)} to {number(metric, summary.high)}"
        unit = " %" if spec_of(metric).percent else ""
        rows.append(
            (
                title(metric),
                number(metric, summary.mean) + unit,
                number(metric, summary.std),
                interval,
                number(metric, validation.mean if validation else None) + unit,
            )
        )
    columns = ("test figure", "mean", "std", "95% interval", "validation")
    return Table(result.name, columns, tuple(rows), 1, (_rounds_note(result),), ("validation", "std"))


def _rounds_note(result: Result) -> str:
    rounds, epochs = len(result.finished), result.config["train.epochs"]
    return (
        f"{rounds} round{'s' * (rounds != 1)} of {epochs} epoch{'s' * (epochs != 1)}, each with data and weights of "
        "its own; figures are from the last epoch; the test set was not used for any choice"
    )


def _cost(result: Result) -> Table:
    """The cost of one config: size, operations, time, speed."""
    cost, timing = result.cost, result.timing
    rows = []
    if cost:
        rows += [
            ("parameters", f"{cost['parameters']:,}", ""),
            (
                "operations",
                f"{count(cost['flops_per_pair'])}{' ' * (cost['flops_per_pair'] < 1e6)}FLOP",
                "per pair",
            ),
            ("training", f"{cost['cpu_seconds']:.1f} s", "CPU time per round, median"),
        ]
    if timing:
        latency = timing["latency_ms"]
        faster = timing.get("accelerated") or {}
        speeds = [("training speed", timing, "training")]
        speeds += [(f"with {', '.join(faster['by'])}", faster, "training")] if faster else []
        for title, speed, figure in [*speeds, ("inference speed", timing, "inference")]:
            part = speed[f"{figure}_pairs_per_second"]
            rows.append(
                (title, f"{rate(speed, figure)} pairs/s", f"batches of {part['batch_size']}, {_quartiles(part)}")
            )
        rows.append(("latency", f"{latency['p50']:.2f} ms", f"one pair, median; 95th percentile {latency['p95']:.2f}"))
    where = timing["environment"] if timing else {}
    note = (
        (
            f"speed in plain torch on {where['device']}, {where['threads']} thread(s), "
            "measured with nothing else running",
        )
        if timing
        else ()
    )
    return Table("", ("cost", "", ""), tuple(rows), 1, note)


def _quartiles(part: dict[str, Any]) -> str:
    return f"quartiles {part['low']:,.0f} to {part['high']:,.0f}"


def rate(timing: dict[str, Any], figure: str) -> str:
    """The median rate of a timing, such as "12,345"."""
    return f"{timing[f'{figure}_pairs_per_second']['median']:,.0f}"


def _many(items: Sequence[Result], metric: str | None) -> Table:
    known = {name for item in items for name in item.metrics}
    metrics = [name for name in in_order(known) if plain(name) == name and not spec_of(name).aside]
    if metric is not None and metric not in metrics and metric in known:
        metrics.insert(0, metric)
    timed = any(item.timing for item in items)
    words = against_best(items, metric) if metric is not None else []
    columns = ["config", *(["vs. best"] if metric is not None and len(items) > 1 else [])]
    columns += [_heading(name) for name in metrics]
    columns += [
        "rounds",
        "parameters",
        "FLOP/pair",
        "CPU s/round",
        *(["train pairs/s", "infer pairs/s", "ms/pair"] if timed else []),
    ]
    if metric is not None:
        columns.append("config_id")
    rows = []
    shown = items if metric is None else items[:LONGEST]
    names, shared = short_names([item.name for item in shown])
    for place, item in enumerate(shown):
        row = [names[place]]
        if metric is not None and len(items) > 1:
            row.append(words[place] if place else "best" if item.summary_of(metric) else "-")
        row += [mean_std(name, item.summary_of(name)) for name in metrics]
        row.append(_rounds(item))
        cost = item.cost
        row += (
            [f"{cost['parameters']:,}", count(cost["flops_per_pair"]), f"{cost['cpu_seconds']:.1f}"]
            if cost
            else ["-"] * 3
        )
        if timed:
            row += _speeds(item.timing)
        if metric is not None:
            row.append(item.config_id)
        rows.append(tuple(row))
    notes = ["mean ± standard deviation over the rounds"]
    if len(shown) < len(items):
        notes.insert(0, f"the first {len(shown)} of {len(items):,} configs; --format csv and json have all")
    if shared:
        notes.insert(0, f"all with {shared}")
    if metric is not None and len(items) > 1:
        notes.append(
            f"vs. best by {title(metric)}: worse only if the paired, Holm-corrected test is significant (p <= 0.05)"
        )
    return Table(
        _dataset_title(items[0]),
        tuple(columns),
        tuple(rows),
        1 + (metric is not None and len(items) > 1),
        tuple(notes),
        # The column ranked by is never hidden, however narrow the terminal.
        _spare(name for name in metrics if name != metric),
    )


def _spare(metrics: Iterable[str]) -> tuple[str, ...]:
    """The columns that a narrow terminal leaves out, the first to go first; `metrics` are those that may."""
    found = [(spec.priority, _heading(name)) for name in metrics if (spec := spec_of(name)).priority < ALWAYS]
    return (*_SPARE_COSTS, *(column for _, column in sorted([*found, (_ID_PRIORITY, "config_id")])))


def _heading(metric: str) -> str:
    """The title of a column of `metric`."""
    return title(metric) + (" %" if spec_of(metric).percent else "")


def short_names(names: Sequence[str]) -> tuple[list[str], str]:
    """The names without the number of rounds and the words common to all of them, and those common words.

    Names that are not specs stay unchanged.
    """
    words = [split_words(name) for name in names]
    if len(names) < 2 or not all("=" in word for name in words for word in name):
        return list(names), ""
    words = [[word for word in name if not word.startswith("train.rounds=")] for name in words]
    shared = [word for word in words[0] if all(word in name for name in words)]
    short = [" ".join(word for word in name if word not in shared) for name in words]
    return [name or " ".join(shared) for name in short], " ".join(shared)


def _speeds(timing: dict[str, Any] | None) -> list[str]:
    if not timing:
        return ["-", "-", "-"]
    return [rate(timing, "training"), rate(timing, "inference"), f"{timing['latency_ms']['p50']:.2f}"]


def _rounds(item: Result) -> str:
    parts = [str(len(item.finished))]
    if item.diverged:
        parts.append(f"{len(item.diverged)} diverged")
    if item.failed:
        parts.append(f"{len(item.failed)} failed")
    return " + ".join(parts)


def _dataset_title(item: Result) -> str:
    words = [str(item.config.get("dataset", ""))]
    words += [
        f"{key.split('.')[1]}={item.config[key]}"
        for key in item.config
        if key.startswith("dataset.") and item.config[key] is not None
    ]
    return " ".join(words)


def _beside_published(items: Sequence[Result]) -> Table:
    rows = []
    for item in items:
        for place, (metric, published) in enumerate(item.published.items()):
            ours = item.summary.get(metric)
            other = Summary(published.mean, published.std, None, None, published.rounds or 1)
            unit = " %" if spec_of(metric).percent else ""
            rows.append(
                (
                    "" if place else item.name,
                    title(metric) + unit,
                    mean_std(metric, ours),
                    mean_std(metric, other),
                    agreement(ours, published) if ours else "-",
                )
            )
    notes = [
        "agrees: Welch's test finds no difference from the published mean at the 5% level; "
        "unclear: too few rounds to tell"
    ]
    notes += [f"{item.name}: {item.note}" for item in items if item.note]
    return Table(
        "Compared with published figures",
        ("config", "figure", "here", "published", "verdict"),
        tuple(rows),
        2,
        tuple(notes),
    )


def _notes(results: Results) -> list[str]:
    notes = []
    for item in results:
        for record in item.failed[:3]:
            notes.append(f"FAILED {item.name}, round {record['round']}: {record.get('error', {}).get('reason', '')}")
        if item.diverged:
            notes.append(
                f"DIVERGED {item.name}: {len(item.diverged)} of {len(item.records)} rounds, excluded from the means"
            )
    if results.failed:
        notes.append("Failed rounds are stored with their traceback; retrain them with --retry-failed")
    notes += [f"DAMAGED {path}: {reason}; skipped" for path, reason in list(results.damaged.items())[:5]]
    if results.damaged:
        notes.append("To set damaged files aside and retrain their rounds, run the original command again")
    if len(results.damaged) > 5:
        notes.append(f"DAMAGED: {len(results.damaged) - 5} more files")
    return [*notes, *notes_on_metrics(results.items), *results.notes, f"records: {results.store}"]


def _p(value: float | None) -> str:
    if value is None:
        return "-"
    return "<0.0001" if value < 0.0001 else f"{value:.4f}"


def results_csv(results: Results) -> Iterator[str]:
    """A header, then one line for each config, with every figure as a plain number."""
    metrics = list(dict.fromkeys(name for item in results for name in item.metrics))
    header = ["name", "config_id", *(f"{metric}_{part}" for metric in metrics for part in _PARTS)]
    header += [
        "finished",
        "diverged",
        "failed",
        "parameters",
        "flops_per_pair",
        "train_seconds",
        "cpu_seconds",
        *_SPEEDS,
    ]
    header += ["latency_ms_p50", "latency_ms_p95", "config"]
    return csv_lines(header, (_csv_row(item, metrics) for item in results))


def _csv_row(item: Result, metrics: Sequence[str]) -> list[Any]:
    row: list[Any] = [item.name, item.config_id]
    for metric in metrics:
        summary = item.summary.get(metric)
        row += [getattr(summary, part) if summary else None for part in _PARTS]
    row += [len(item.finished), len(item.diverged), len(item.failed)]
    row += [item.cost.get(name) for name in ("parameters", "flops_per_pair", "train_seconds", "cpu_seconds")]
    timing = item.timing or {}
    row += [timing.get(name, {}).get("median") for name in _SPEEDS]
    row += [timing.get("latency_ms", {}).get(name) for name in ("p50", "p95")]
    return [*row, canonical(item.config)]
