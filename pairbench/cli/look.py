"""Commands that only look: list, show, doctor."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pairbench.cli.output import Format, FormatOption, StoreOption, TracebackOption, aside, emit


def list_(
    slot: Annotated[
        str | None,
        typer.Argument(help="dataset, encoder, head, loss, pairing or suite; all where none is named."),
    ] = None,
    form: FormatOption = Format.table,
    traceback: TracebackOption = False,
) -> int:
    """List the installed components and suites."""
    from pairbench.catalogue import catalogue, catalogue_document
    from pairbench.registry import installed

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
    from pairbench.catalogue import described, described_document
    from pairbench.registry import installed

    value = described(installed(), words)
    emit(form, described_document(value), value)
    return 0


def doctor(form: FormatOption = Format.table, store: StoreOption = None, traceback: TracebackOption = False) -> int:
    """Check versions, devices, plugins, data and the store; exit code 1 where something is broken."""
    from pairbench.doctor import document, examine, healthy
    from pairbench.registry import installed
    from pairbench.store import Store

    with aside():
        findings: dict[str, Any] = examine(installed(), Store(store))
    emit(form, document(findings), findings)
    return 0 if healthy(findings) else 1
