"""Commands for plugin authors: plugin new, plugin check."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pairbench.cli.output import Format, FormatOption, TracebackOption, aside, emit

app = typer.Typer(
    help="Create a new plugin, or check installed ones.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="The plugin's name, such as small_cnn; also the name of its components.")],
    slot: Annotated[
        list[str] | None,
        typer.Option(
            "--slot",
            help="dataset, encoder, head, loss, metric or tracker; may stand several times. [default: encoder]",
        ),
    ] = None,
    folder: Annotated[Path, typer.Option("--dir", help="Where to create the plugin's folder.")] = Path(),
    traceback: TracebackOption = False,
) -> int:
    """Create a complete plugin that installs and passes its tests: a package with one component per slot."""
    from pairbench.cli.scaffold import new_plugin
    from pairbench.plugin.registry import installed

    files = new_plugin(name, slot or ["encoder"], folder, installed())
    for file in files:
        print(file)
    print(f"\nNext: cd {folder / name} && pip install -e '.[dev]' && pytest", file=sys.stderr)
    return 0


@app.command("check")
def check(
    distribution: Annotated[
        str | None, typer.Argument(metavar="[DIST]", help="A distribution or a plugin. [default: all]")
    ] = None,
    form: FormatOption = Format.table,
    traceback: TracebackOption = False,
) -> int:
    """Run the conformance kit over installed components; exit code 1 if a check fails."""
    from pairbench.plugin.registry import installed
    from pairbench.testing.installed import check_installed, document, passed

    def tell(component: str) -> None:
        if sys.stderr.isatty():
            print(f"checking {component}", file=sys.stderr)

    with aside():
        value = check_installed(installed(), distribution, tell)
    emit(form, document(value), value)
    return 0 if passed(value) else 1
