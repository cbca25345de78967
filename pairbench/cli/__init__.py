"""The command line. Heavy modules are imported only when a command needs them, so that --help is instant."""

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
        False, "--no-plugins", help="Do not load third-party plugins; also accepted after the command."
    ),
) -> None:
    """Which neural network compares two images best, how fast, and is it really better than that one?"""


def main() -> None:
    """Run the command line. Exit codes: 0 done; 1 something ran and failed; 2 the input is wrong; 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        # Replace characters that the stream's encoding cannot represent, rather than fail.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    sys.exit(invoke(sys.argv[1:]))


def invoke(arguments: list[str]) -> int:
    """The exit code of the command line `arguments`; every error is one line on standard error."""
    try:
        with _plugins_as_asked(arguments) as rest:
            result = app(with_executor_options(rest), prog_name="pairbench", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:
        # The reader of our output, such as `head`, has closed the pipe; that is not an error.
        _close_output()
        return 1
    except Exception as error:  # noqa: BLE001 - every error becomes one line
        if "--traceback" in arguments:
            traceback.print_exc()
        if isinstance(error, OSError) and error.errno in _FULL:
            _close_output()
        return _explain(error)
    if result == INTERRUPTED:
        # Some versions of typer return this code on Ctrl-C without printing anything.
        return _interrupted()
    return result if isinstance(result, int) else 0


@contextlib.contextmanager
def _plugins_as_asked(arguments: list[str]) -> Generator[list[str]]:
    """The arguments without --no-plugins, which stays in effect while they run, also in worker processes."""
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


def with_executor_options(arguments: list[str]) -> list[str]:
    """The arguments with each `--executor.KEY VALUE` as `--executor-option KEY=VALUE`."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    found, rest = list[str](), iter(arguments[:end])
    for argument in rest:
        option = argument.removeprefix("--executor.")
        if option == argument:
            found.append(argument)
        else:
            found += ["--executor-option", option if "=" in option else f"{option}={next(rest, '')}"]
    return found + arguments[end:]


def _close_output() -> None:
    """Redirect standard output to the null device, so that Python's flush at exit does not fail again."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _explain(error: Exception) -> int:
    from pairbench.errors import InputError, PairbenchError
    from pairbench.text import one_line, printable

    kind = type(error).__name__
    if kind == "Abort":
        return _interrupted()
    if kind == "NoArgsIsHelpError":
        # Its message is the whole help text, which must keep its line breaks.
        return _say(str(error.format_message()), 2)  # type: ignore[attr-defined]
    if hasattr(error, "format_message"):
        text = one_line(error.format_message().replace("Value error, ", ""))
        return _say(f"{printable(text, 500).rstrip('.')}. See --help.", 2)
    if isinstance(error, InputError):
        return _say(printable(one_line(error), 1000), 2)
    if isinstance(error, PairbenchError):
        return _say(printable(one_line(error), 1000), 1)
    if isinstance(error, OSError) and error.errno in _FULL:
        return _say(f"{error.strerror}. Fix that and run the same command again; finished rounds are not lost.", 1)
    text = printable(one_line(f"{kind}: {error}"), 500)
    return _say(f"pairbench itself failed ({text}). Run again with --traceback and report what it prints.", 1)


def _interrupted() -> int:
    return _say("interrupted. Finished rounds are saved: run the same command again to continue.", INTERRUPTED)


def _say(line: str, code: int) -> int:
    print(line, file=sys.stderr)
    return code
