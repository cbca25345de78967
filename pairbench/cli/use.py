"""Commands that use a saved model: predict and export."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pairbench.cli.measure import QuietOption
from pairbench.cli.output import Format, FormatOption, StoreOption, TracebackOption, aside, emit

if TYPE_CHECKING:
    from pairbench.model.predictor import Model

ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="A saved model: its file, CONFIG_ID[/ROUND] of the store, or a spec.")
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")]


class OnError(StrEnum):
    """What to do with a row whose image cannot be used."""

    stop = "raise"
    skip = "skip"


class Target(StrEnum):
    """The format that a model is exported to."""

    onnx = "onnx"
    torch_export = "torch_export"


def predict(
    model: ModelArgument,
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[IMAGE]...",
            help="Two images, or reference and two candidates; with --csv, words such as dataset.delimiter=semicolon "
            "for a list that is unlike the one that the model was trained on.",
        ),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            help="A CSV file of pairs, read as the model's dataset reads its own: columns first, second[, third], and "
            "paths relative to it, unless the model's dataset options say otherwise.",
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The CSV file to write.")] = None,
    on_error: Annotated[
        OnError, typer.Option("--on-error", help="Stop at a row with an unreadable image, or skip the row.")
    ] = (OnError.stop),
    device: DeviceOption = "auto",
    store: StoreOption = None,
    form: FormatOption = Format.table,
    quiet: QuietOption = False,
    traceback: TracebackOption = False,
) -> int:
    """Predict the answer to pairs of image files with a saved model, with probabilities."""
    from pairbench.config.run_config import changed_dataset
    from pairbench.errors import SpecError
    from pairbench.model import pair_tables
    from pairbench.model.predict_files import answered
    from pairbench.plugin.pair_list import PairList
    from pairbench.text import printable

    words = images or []
    if (table is None) != bool(words) and not (table is not None and all(map(_is_option, words))):
        raise SpecError("predict takes either images or a file of pairs: expected IMAGE IMAGE or --csv FILE.")
    if output is not None and not output.parent.is_dir():
        raise SpecError(f"--output {output}: there is no folder {output.parent}. Create it first.")
    with aside():
        found = _opened(model, store, device)
        if table is None:
            pairs, where = PairList((1,), (tuple(words),), (tuple(words),)), ""
        else:
            dataset = changed_dataset(found.config, words)
            pairs, where = dataset.pair_list(table), f"{printable(table.name, 60)}, row "
        said, skipped = answered(found, pairs, where, skip=on_error is OnError.skip, quiet=quiet)
    about = {key: found.description[key] for key in ("config_id", "round", "outcomes")}
    about["path"] = str(found.kept.path)
    text = pair_tables.to_csv(said, found.outcomes)
    if output is not None:
        pair_tables.write_whole(output, text.encode())
        print(output)
    else:
        document = pair_tables.document(said, found.outcomes, f"model {about['config_id']}/{about['round']}")
        if form is Format.csv:
            print(text, end="")
        else:
            emit(form, document, pair_tables.value(said, about, skipped))
    return 0


def _is_option(word: str) -> bool:
    return word.startswith("dataset.") and "=" in word


def _opened(handle: str, store: str | None, device: str) -> Model:
    """The model that `handle` names; prints its notes on standard error."""
    from pairbench.model.predictor import opened_model
    from pairbench.text import printable
    from pairbench.worker.devices import choose_device

    if device not in ("auto", "cpu", "cuda", "mps"):
        raise typer.BadParameter(f"{printable(device, 40)}: expected auto, cpu, cuda or mps", param_hint="--device")
    found = opened_model(handle, store, str(choose_device(device)))
    for note in found.kept.notes:
        print(note, file=sys.stderr)
    return found


def export(
    model: ModelArgument,
    to: Annotated[Target, typer.Option("--to", help="onnx, or torch_export (a .pt2 file of torch.export).")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The file to write.")] = None,
    table: Annotated[
        Path | None,
        typer.Option("--csv", help="Pairs to check with. [default: the test pairs of the model's dataset]"),
    ] = None,
    store: StoreOption = None,
    form: FormatOption = Format.table,
    traceback: TracebackOption = False,
) -> int:
    """Export a saved model to ONNX or torch.export, after checking its answers to real pairs against the original's."""
    from pairbench.model.export import exported
    from pairbench.results.render import Document, Table

    with aside():
        found = _opened(model, store, "cpu")
        report = exported(found, str(to), output, table)
    rows = tuple((name.replace("_", " "), str(item)) for name, item in report.items())
    emit(form, Document((Table("exported", ("what", "value"), rows, left=2),)), report)
    return 0
