"""Plots of results as SVG, PNG or PDF: accuracy against cost, and learning curves."""

from __future__ import annotations

import io
import statistics
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairbench.errors import SpecError
from pairbench.plugin.metrics import spec_of
from pairbench.results.results import Result, Results
from pairbench.results.tables import short_names, title
from pairbench.text import printable, unknown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".svg", ".png", ".pdf")
COSTS: dict[str, tuple[str, Callable[[Result], float | None]]] = {
    "cpu_seconds": ("CPU seconds per round", lambda result: result.cost.get("cpu_seconds")),
    "flops_per_pair": ("floating-point operations per pair", lambda result: result.cost.get("flops_per_pair")),
    "parameters": ("parameters", lambda result: result.cost.get("parameters")),
    "inference": ("pairs per second in inference", lambda result: _speed(result, "inference")),
    "training": ("pairs per second in training", lambda result: _speed(result, "training")),
    "latency": ("milliseconds for one pair", lambda result: (result.timing or {}).get("latency_ms", {}).get("p50")),
}


def _speed(result: Result, figure: str) -> float | None:
    found: dict[str, Any] = (result.timing or {}).get(f"{figure}_pairs_per_second", {})
    return found.get("median")


def against_cost(results: Results, *, metric: str = "accuracy", cost: str = "cpu_seconds") -> Figure:
    """The mean of `metric`, with its 95% interval, against `cost` for each result.

    Raises:
        SpecError: the cost is unknown, or no result has both.
    """
    if cost not in COSTS:
        raise unknown("cost", cost, COSTS)
    label, read = COSTS[cost]
    metrics = {name for item in results for name in item.summary}
    if metrics and metric not in metrics:
        raise unknown("metric", metric, metrics)
    points = [(item, item.summary[metric], read(item)) for item in results if metric in item.summary]
    found = [(item, summary, spent) for item, summary, spent in points if spent is not None]
    if not found:
        raise SpecError(
            f"nothing to draw: no result has both {printable(metric, 40)} and {cost}. Train something first."
        )
    from matplotlib.ticker import LogLocator, NullLocator

    figure = _figure()
    axes = figure.subplots()
    scale = 100 if spec_of(metric).percent else 1
    names, _ = short_names([item.name for item, _, _ in found])
    for number, (_, summary, spent) in enumerate(found):
        low, high = (summary.mean if bound is None else bound for bound in (summary.low, summary.high))
        spread = [[scale * (summary.mean - low)], [scale * (high - summary.mean)]]
        color = f"C{number % 10}"
        axes.errorbar([spent], [scale * summary.mean], yerr=spread, fmt="o", capsize=3, color=color)
        axes.annotate(
            _plain(names[number]),
            (spent, scale * summary.mean),
            xytext=(6, 4),
            textcoords="offset points",
            fontsize=8,
            color=color,
        )
    axes.set_xscale("log")
    axes.margins(x=0.25)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel(label)
    axes.set_ylabel(f"{title(metric)}{' (%)' if scale == 100 else ''}, mean and 95% interval")
    axes.grid(alpha=0.3)
    return figure


def learning_curves(results: Sequence[Result]) -> Figure:
    """Accuracy, class accuracy, loss and AUC over the epochs, the mean of all rounds of each result.

    The figures of the source report's Figure 8. Training figures are measured in training mode, during the epoch.

    Raises:
        SpecError: no result has curves.
    """
    drawn = [result for result in results if any(record["curves"].get("test") for record in result.finished)]
    if not drawn:
        raise SpecError("nothing to draw: no finished round has curves. Train with train.evaluate_every=1.")
    figure = _figure()
    grid = figure.subplots(2, 2)
    names, _ = short_names([result.name for result in drawn])
    for axes, metric in zip(grid.flat, ("accuracy", "class_accuracy", "total_loss", "auc"), strict=True):
        for number, result in enumerate(drawn):
            for split, style in (("train", ":"), ("test", "-")):
                means = _mean_curve(result, split, metric)
                if means:
                    step = result.config["train.evaluate_every"] if split == "test" else 1
                    epochs = range(step, step * len(means) + 1, step)
                    name = f"{_plain(names[number], 40)}, {split}"
                    axes.plot(epochs, means, style, color=f"C{number % 10}", label=name)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_title(title(metric), fontsize=10)
        axes.grid(alpha=0.3)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", fontsize=7, ncols=2)
    return figure


def _mean_curve(result: Result, split: str, metric: str) -> list[float]:
    curves = [record["curves"].get(split, {}).get(metric) or [] for record in result.finished]
    columns = zip(*(curve for curve in curves if curve), strict=False)
    return [statistics.fmean(values) for values in columns if None not in values]


def _plain(name: str, limit: int = 60) -> str:
    """A name escaped so that matplotlib does not parse it as math."""
    return printable(name, limit).replace("$", r"\$")


def _figure() -> Figure:
    # Created without pyplot, which would look for a display.
    from matplotlib.figure import Figure

    return Figure(figsize=(8, 5.5), layout="constrained")


def check_suffix(path: Path) -> None:
    """Refuse a file name whose suffix is not a supported image format.

    Raises:
        SpecError: the suffix is none of SUFFIXES.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise SpecError(f"{printable(str(path), 80)}: expected a name that ends in {', '.join(SUFFIXES)}.")


def save(figure: Figure, path: Path) -> None:
    """Write `figure` to `path`, in the format of its suffix.

    Raises:
        SpecError: the suffix is unknown, or the file cannot be written.
    """
    check_suffix(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _draw(figure, path, dpi=150)
    except OSError as error:
        raise SpecError(
            f"cannot write {printable(str(path), 80)}: {error.strerror or error}. Choose another file."
        ) from error


def as_svg(figure: Figure) -> str:
    """`figure` as an SVG element for an HTML page."""
    out = io.StringIO()
    _draw(figure, out, format="svg")
    text = out.getvalue()
    return text[text.index("<svg") :]


def _draw(figure: Figure, out: Path | io.StringIO, **options: Any) -> None:
    with warnings.catch_warnings():
        # A name may use glyphs missing from the font, which are drawn as boxes, or be too wide for any layout.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        warnings.filterwarnings("ignore", "constrained_layout not applied")
        figure.savefig(out, **options)
