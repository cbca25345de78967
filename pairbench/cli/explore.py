"""Commands that explain what was measured: ablate and plot."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pairbench.cli.measure import (
    ExecutorOption,
    ExecutorOptions,
    MetricOption,
    QuietOption,
    TrackOption,
    Words,
    WorkersOption,
)
from pairbench.cli.output import Format, FormatOption, StoreOption, TracebackOption, aside, emit


def ablate(
    words: Words = None,
    suite: Annotated[str | None, typer.Option(help="Use a config of this suite.")] = None,
    only: Annotated[str | None, typer.Option(help="The entry of the suite to use.")] = None,
    off: Annotated[
        list[str] | None,
        typer.Option(
            help='An extra variant: words that override the config, such as "loss=cross_entropy". Repeatable.'
        ),
    ] = None,
    metric: MetricOption = "accuracy",
    store: StoreOption = None,
    form: FormatOption = Format.table,
    workers: WorkersOption = None,
    executor: ExecutorOption = None,
    executor_options: ExecutorOptions = None,
    track: TrackOption = None,
    quiet: QuietOption = False,
    traceback: TracebackOption = False,
) -> int:
    """Turn off the ingredients of a config one at a time, and show the effect of each with an interval."""
    import pairbench
    from pairbench.cli.progress import display
    from pairbench.execution.executors import with_options
    from pairbench.results import tables

    with display(quiet=quiet) as progress, aside():
        found = pairbench.ablate(
            *(words or []),
            suite=suite,
            only=only,
            off=off or [],
            metric=metric,
            store=store,
            workers=workers,
            executor=with_options(executor, executor_options or []),
            track=track,
            display=progress,
        )
    emit(form, tables.of_ablation(found), found.to_dict())
    return 1 if found.results.failed else 0


def plot(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RESULT]...", help="Names, config_ids or specs. [default: all results]"),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write: .svg, .png or .pdf.")] = Path(
        "pairbench.svg"
    ),
    curves: Annotated[bool, typer.Option("--curves", help="Plot learning curves instead.")] = False,
    suite: Annotated[str | None, typer.Option(help="Only results of this suite.")] = None,
    metric: MetricOption = "accuracy",
    cost: Annotated[
        str, typer.Option(help="cpu_seconds, flops_per_pair, parameters, inference, training or latency.")
    ] = "cpu_seconds",
    store: StoreOption = None,
    traceback: TracebackOption = False,
) -> int:
    """Plot accuracy against cost, or learning curves, from stored results."""
    from pairbench.results.plots import against_cost, check_suffix, learning_curves, save
    from pairbench.results.query import chosen

    check_suffix(out)
    results = chosen(names or [], suite=suite, store=store)
    save(learning_curves(results.items) if curves else against_cost(results, metric=metric, cost=cost), out)
    print(out)
    return 0


def report(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RESULT]...", help="Names, config_ids or specs. [default: all results]"),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The HTML file to write.")] = Path("pairbench.html"),
    suite: Annotated[str | None, typer.Option(help="Only results of this suite.")] = None,
    metric: MetricOption = "accuracy",
    store: StoreOption = None,
    traceback: TracebackOption = False,
) -> int:
    """Write one HTML file with the ranking, the plots and the environments of the results."""
    from pairbench.results.html_report import write_page
    from pairbench.results.query import chosen

    write_page(chosen(names or [], suite=suite, store=store), out, metric)
    print(out)
    return 0
