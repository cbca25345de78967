"""Commands that measure, and commands that read measurements: run, leaderboard, compare, timing."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pairbench.cli.output import Format, FormatOption, StoreOption, TracebackOption, aside, emit, emit_results, reading

Words = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="encoder=cnn,deep_cnn loss=aux train.epochs=20; commas make a grid."),
]
Specs = Annotated[
    list[str],
    typer.Argument(
        metavar="SPEC...", help='One quoted spec per config: "encoder=cnn loss=aux"; unquoted words apply to all.'
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(min=0, max=1024, help="Worker processes; 0 trains in this process. [default: one per core]"),
]
TrackOption = Annotated[
    list[str] | None,
    typer.Option(
        "--track",
        help="Log the run with a tracker: tensorboard, mlflow, wandb or that of a plugin. Repeatable, or with commas "
        "between. [default: $PAIRBENCH_TRACK]",
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Do not show progress.")]
MetricOption = Annotated[str, typer.Option("--metric", "-m", help="The metric to use, such as auc or loss.")]


def run(
    words: Words = None,
    suite: Annotated[
        str | None,
        typer.Option(help="A suite by name, or a TOML file; words override options of every entry."),
    ] = None,
    only: Annotated[str | None, typer.Option(help="Run only these entries of the suite, separated by commas.")] = None,
    store: StoreOption = None,
    form: FormatOption = Format.table,
    workers: WorkersOption = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Train again even if the round is in the store.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Retrain rounds that failed before.")] = False,
    keep_model: Annotated[
        bool, typer.Option("--keep-model", help="Save the trained model of each round next to its record.")
    ] = False,
    round_timeout: Annotated[
        float | None, typer.Option(min=0.001, help="Time limit of a round in seconds; a longer round counts as failed.")
    ] = None,
    memory_limit: Annotated[
        float | None,
        typer.Option(min=1, help="Memory limit of a worker in MiB. [default: most of the machine's memory]"),
    ] = None,
    timing: Annotated[bool, typer.Option("--timing/--no-timing", help="Measure speed after training.")] = True,
    track: TrackOption = None,
    quiet: QuietOption = False,
    traceback: TracebackOption = False,
) -> int:
    """Train and evaluate a combination, a grid or a suite; rounds already in the store are not trained again."""
    import pairbench
    from pairbench.cli.progress import display
    from pairbench.text import printable

    names = [name.strip() for name in only.split(",") if name.strip()] if only is not None else []
    if only is not None and not names:
        raise pairbench.SpecError("--only names no entry: expected NAME[,NAME].")
    with display(quiet=quiet) as progress, aside():
        results = pairbench.run(
            *(words or []),
            suite=suite,
            only=names,
            store=store,
            workers=workers,
            timing=timing,
            fresh=fresh,
            retry_failed=retry_failed,
            keep_models=keep_model,
            round_timeout=round_timeout,
            memory_limit=memory_limit,
            track=track,
            display=progress,
        )
    if quiet or form is not Format.table:
        # Skipped files must be reported even when nothing else is printed.
        for note in results.notes:
            print(printable(note, 1000), file=sys.stderr)
    emit_results(form, results)
    return 1 if results.failed else 0


def leaderboard(
    metric: MetricOption = "accuracy",
    failed: Annotated[bool, typer.Option("--failed", help="Show the failed rounds with their tracebacks.")] = False,
    store: StoreOption = None,
    form: FormatOption = Format.table,
    traceback: TracebackOption = False,
) -> int:
    """Rank everything in the store, and show which differences are statistically significant."""
    from pairbench.store.store import uncollected

    with uncollected():
        _rank(metric, failed, store, form)
    return 0


def _rank(metric: str, failed: bool, store: str | None, form: Format) -> None:
    """Print the ranking, or the failed rounds; the records that were read are freed on return."""
    import pairbench
    from pairbench.results import tables
    from pairbench.text import printable

    results = pairbench.leaderboard(store, metric, reading)
    if form is not Format.table:
        # Formats without notes must still report the files that were skipped.
        for path, reason in results.damaged.items():
            print(f"DAMAGED {printable(str(path))}: {reason}; skipped", file=sys.stderr)
    if failed:
        emit(form, tables.of_failures(results), tables.failures(results))
    else:
        emit_results(form, results)


def compare(
    specs: Annotated[
        list[str], typer.Argument(metavar="A B...", help="Each a name, a config_id, or a spec in quotes.")
    ],
    metric: MetricOption = "accuracy",
    store: StoreOption = None,
    form: FormatOption = Format.table,
    traceback: TracebackOption = False,
) -> int:
    """Test whether one stored result is really better than another; each is a spec, a name or a config_id."""
    import pairbench
    from pairbench.results import tables

    found = pairbench.compare(*specs, store=store, metric=metric)
    emit(form, tables.of_comparison(found), found.to_dict())
    return 0


def timing(
    specs: Specs,
    repeats: Annotated[
        int | None,
        typer.Option(
            min=3, max=1000, help="Interleaved repeats of each measurement. [default: until the intervals are narrow]"
        ),
    ] = None,
    modes: Annotated[
        str,
        typer.Option(
            help="Inference backends, comma-separated: eager,channels_last,bf16,compiled,compiled_bf16,onnx, or an "
            "accelerator such as batch_last."
        ),
    ] = "",
    seconds: Annotated[
        float,
        typer.Option(min=0.1, max=86400, help="Time limit in seconds for the repeats when --repeats is not given."),
    ] = 60.0,
    store: StoreOption = None,
    form: FormatOption = Format.table,
    traceback: TracebackOption = False,
) -> int:
    """Measure the speed of configs in interleaved runs, without training them."""
    from pairbench.execution.time_configs import csv, document, modes_of, side_by_side

    with aside():
        value = side_by_side(specs, repeats=repeats, modes=modes_of(modes), seconds=seconds, store=store)
    emit(form, document(value), value, csv(value) if form is Format.csv else None)
    return 0
