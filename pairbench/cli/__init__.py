"""The command line. Nothing heavy is imported until a command needs it, so that --help answers at once."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
import traceback
from collections.abc import Generator

import typer

from pairbench.cli import explore, look, measure, plugin, use

INTERRUPTED = 130
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EIO}

app = typer.Typer(
    name="pairbench",
    help="Which neural network compares two images best, how fast, and is it really better than that one?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(measure.run)
app.command("list")(look.list_)
app.command("show")(look.show)
app.command("leaderboard")(measure.leaderboard)
app.command("compare")(measure.compare)
app.command("timing")(measure.timing)
app.command("ablate")(explore.ablate)
app.command("plot")(explore.plot)
app.command("report")(explore.report)
app.command("predict")(use.predict)
app.command("export")(use.export)
app.command("doctor")(look.doctor)
app.add_typer(plugin.app, name="plugin")


def _version(asked: bool) -> None:
    if asked:
        from pairbench import __version__

        print(f"pairbench {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(False, "--version", help="Print the version.", callback=_version, is_eager=True),
    no_plugins: bool = typer.Option(
        False, "--no-plugins", help="Leave third-party plugins out; may also stand after the command."
    ),
) -> None:
    """Which neural network compares two images best, how fast, and is it really better than that one?"""


def main() -> None:
    """Run the command line. Exit codes: 0 done; 1 something ran and failed; 2 the input is wrong; 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        # A stream that lacks a letter shows another in its place.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    sys.exit(invoke(sys.argv[1:]))


def invoke(arguments: list[str]) -> int:
    """The exit code of the command line `arguments`; every error is one line on standard error."""
    try:
        with _plugins_as_asked(arguments) as rest:
            result = app(rest, prog_name="pairbench", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:
        # Whoever read our output has gone, such as `head`; that is no fault.
        _close_output()
        return 1
    except Exception as error:  # noqa: BLE001 - whatever went wrong is told in one line
        if "--traceback" in arguments:
            traceback.print_exc()
        if isinstance(error, OSError) and error.errno in _FULL:
            _close_output()
        return _explain(error)
    if result == INTERRUPTED:
        # Some releases of typer turn Ctrl-C into this code themselves, without a word.
        return _interrupted()
    return result if isinstance(result, int) else 0


@contextlib.contextmanager
def _plugins_as_asked(arguments: list[str]) -> Generator[list[str]]:
    """The arguments without --no-plugins, which holds while they run, in worker processes too."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    if "--no-plugins" not in arguments[:end]:
        yield arguments
        return
    from pairbench.plugin.registry import installed
    from pairbench.plugin.selection import CHOICE

    before = os.environ.get(CHOICE)
    os.environ[CHOICE] = ""
    installed.cache_clear()
    try:
        yield [argument for argument in arguments[:end] if argument != "--no-plugins"] + arguments[end:]
    finally:
        installed.cache_clear()
        os.environ.pop(CHOICE)
        if before is not None:
            os.environ[CHOICE] = before


def _close_output() -> None:
    """Point standard output at nothing, so that Python does not fail once more when it flushes it at the end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _explain(error: Exception) -> int:
    from pairbench.errors import InputError, PairbenchError
    from pairbench.text import one_line, printable

    kind = type(error).__name__
    if kind == "Abort":
        return _interrupted()
    if kind == "NoArgsIsHelpError":
        # Its message is the whole help, whose lines must stay apart.
        return _say(str(error.format_message()), 2)  # type: ignore[attr-defined]
    if hasattr(error, "format_message"):
        text = " ".join(error.format_message().replace("Value error, ", "").split())
        return _say(f"{printable(text, 500).rstrip('.')}. See --help.", 2)
    if isinstance(error, InputError):
        return _say(printable(one_line(error), 1000), 2)
    if isinstance(error, PairbenchError):
        return _say(printable(one_line(error), 1000), 1)
    if isinstance(error, OSError) and error.errno in _FULL:
        return _say(f"{error.strerror}. Mend that and run the same command again; finished rounds are kept.", 1)
    text = printable(one_line(f"{kind}: {error}"), 500)
    return _say(f"pairbench itself failed ({text}). Run again with --traceback and report what it prints.", 1)


def _interrupted() -> int:
    return _say("interrupted. Finished rounds are kept: run the same command again to go on.", INTERRUPTED)


def _say(line: str, code: int) -> int:
    print(line, file=sys.stderr)
    return code
