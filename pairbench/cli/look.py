"""Read-only commands: list, show, doctor."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pairbench.cli.output import Format, FormatOption, StoreOption, TracebackOption, aside, emit


def list_(
    slot: Annotated[
        str | None,
        typer.Argument(
            metavar="[SLOT|PATTERN]",
            help="dataset, encoder, head, loss, pairing or suite; all if omitted. With --encoder, part of "
            "the model names to list, or a pattern with * and ?.",
        ),
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="List the models of this encoder (timm or torchvision) instead.")
    ] = None,
    form: FormatOption = Format.table,
    traceback: TracebackOption = False,
) -> int:
    """List the installed components and suites, or the models of an encoder."""
    from pairbench.cli.catalogue import catalogue, catalogue_document, models, models_document
    from pairbench.plugin.registry import installed

    if encoder is not None:
        with aside():
            found = models(installed(), encoder, slot)
        emit(form, models_document(found), found)
        return 0
    value = catalogue(installed(), slot)
    emit(form, catalogue_document(value), value)
    return 0


def show(
    words: Annotated[
        list[str], typer.Argument(help="What to show: encoder=deep_cnn, head=..., train, or suite=report.")
    ],
    form: FormatOption = Format.table,
    traceback: TracebackOption = False,
) -> int:
    """Show what a component is and each of its options: type, range, default."""
    from pairbench.cli.catalogue import described, described_document
    from pairbench.plugin.registry import installed

    value = described(installed(), words)
    emit(form, described_document(value), value)
    return 0


def doctor(form: FormatOption = Format.table, store: StoreOption = None, traceback: TracebackOption = False) -> int:
    """Check versions, devices, plugins, data and the store; exit code 1 if something is broken."""
    from pairbench.cli.doctor import document, examine, healthy
    from pairbench.plugin.registry import installed
    from pairbench.store.store import Store

    with aside():
        findings: dict[str, Any] = examine(installed(), Store(store))
    emit(form, document(findings), findings)
    return 0 if healthy(findings) else 1
