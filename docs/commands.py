"""The command line as typer knows it, and its reference page."""

from __future__ import annotations

import copy
import inspect
import re
import typing
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import texts
from words import sentence, table


def commands() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Each command's words and the function behind it."""
    from pairbench.cli import app

    def walk(group: Any, words: str) -> Iterator[tuple[str, Callable[..., Any]]]:
        for command in group.registered_commands:
            yield f"{words}{command.name or command.callback.__name__.strip('_')}", command.callback
        for inner in group.registered_groups:
            yield from walk(inner.typer_instance, f"{words}{inner.name or inner.typer_instance.info.name} ")

    yield "", app.registered_callback.callback
    yield from walk(app, "")


def parameters(function: Callable[..., Any]) -> Iterator[tuple[str, Any, Any, Any]]:
    """Each parameter of a command: its name, its type, what typer knows of it, and its default."""
    hints = typing.get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        annotation, default = hints[name], parameter.default
        kind, *extra = typing.get_args(annotation) if hasattr(annotation, "__metadata__") else (annotation, default)
        info = next(item for item in extra if hasattr(item, "param_decls"))
        if default is info:
            default = info.default
        elif isinstance(info.default, str):  # inside Annotated the first spelling stands where a default would
            info = replaced(info)
        yield name, kind, info, default


def replaced(info: Any) -> Any:
    """`info` with all its spellings in param_decls."""
    changed = copy.copy(info)
    changed.param_decls = (info.default, *(info.param_decls or ()))
    return changed


def spellings(name: str, kind: Any, info: Any) -> list[str]:
    """How an option is written on the command line."""
    declared = [part for text in info.param_decls or () for part in text.split("/") if part.startswith("-")]
    plain = f"--{name.replace('_', '-')}"
    return declared or ([plain, f"--no-{plain[2:]}"] if kind is bool else [plain])


def expects(kind: Any, info: Any) -> str:
    """What an option takes, in a word or two."""
    plain = next((item for item in typing.get_args(kind) if item is not type(None)), kind)
    if typing.get_origin(plain) is list or typing.get_origin(kind) is list:
        return "words"
    if isinstance(plain, type) and issubclass(plain, Enum):
        return ", ".join(f"`{item.value}`" for item in plain)
    if plain is bool:
        return "nothing"
    name = {int: "a whole number", float: "a number", str: "text", Path: "a path"}[plain]
    least = [] if info.min is None else [f"at least {info.min:g}"]
    most = [] if info.max is None else [f"at most {info.max:g}"]
    return " of ".join([name, *[" and ".join([*least, *most])] * bool(least or most)])


def shown_default(default: Any) -> str:
    """The default of an option as a reader would write it."""
    value = default.value if isinstance(default, Enum) else default
    return "" if value is None or value is ... or value is inspect.Parameter.empty else f"`{value}`"


def page() -> str:
    """Every command with its arguments and options."""
    from typer.models import ArgumentInfo

    parts = [texts.COMMAND_LINE]
    for words, function in commands():
        arguments, options = [], []
        called = f"pairbench {words}".strip()
        usage = f"{called} [OPTIONS]" + " COMMAND" * (not words)
        for name, kind, info, default in parameters(function):
            if getattr(info, "hidden", False):
                continue
            text = sentence(re.sub(r"\s*\[default: .*?\]", "", info.help or ""), f"{name} of {called}")
            told = re.search(r"\[default: (.*?)\]", info.help or "")
            if isinstance(info, ArgumentInfo):
                required = default in (..., inspect.Parameter.empty)
                shown = info.metavar or (name.upper() if required else f"[{name.upper()}]")
                usage += f" {shown}"
                arguments.append([f"`{shown}`", text])
                continue
            written = ", ".join(f"`{item}`" for item in spellings(name, kind, info))
            value = told[1] if told else shown_default(default)
            takes = "" if kind is bool else expects(kind, info) + f"; default {value}" * bool(value)
            takes = "on by default" if kind is bool and default else takes
            options.append(f"- **{written}**: {text}" + (f" *{sentence(takes, name)}*" if takes else ""))
        summary = sentence(inspect.cleandoc(function.__doc__ or "").split("\n\n")[0], called)
        parts.append(f"## `{words or called}`\n\n{summary}\n\n```text\n{usage}\n```")
        parts += [table(["argument", "what it is"], arguments)] * bool(arguments)
        parts += ["\n".join(options)] * bool(options)
    return "\n\n".join(parts)
