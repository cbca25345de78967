"""Conversion of a spec's text into the typed options of a component, with readable errors."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar, Union

from annotated_types import Ge, Gt, Le, Lt
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from pairbench.config.spec import literal, unquoted, written
from pairbench.errors import SpecError
from pairbench.plugin.components import Options
from pairbench.text import one_line, printable, unknown

Model = TypeVar("Model", bound=Options)
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "none"}


def read(model: type[Model], owner: str, settings: Mapping[str, str]) -> Model:
    """`model` with the options that `settings` gives as text; `owner` is the slot, for messages.

    Raises:
        SpecError: an option is unknown, missing, of the wrong type or out of range.
    """
    fields = model.option_fields()
    for option in settings:
        if option not in fields:
            what = f"option of {owner}"
            if not fields:
                raise SpecError(f"unknown {what} '{printable(option, 60)}'. It has no options.")
            raise unknown(what, option, fields)
    values = {}
    for option, text in settings.items():
        try:
            values[option] = _value(fields[option], text)
        except SpecError as error:
            raise SpecError(f"{owner}.{option}={error}") from None
    return validated(model, owner, values, settings)


def validated(
    model: type[Model], owner: str, values: Mapping[str, Any], settings: Mapping[str, str] | None = None
) -> Model:
    """`model` with typed `values`, or a readable error.

    Raises:
        SpecError: an option is unknown, missing, of the wrong type or out of range.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise SpecError(_message(model, owner, error, settings or {})) from None


def expected(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """What a value of this type must be, in words: "a whole number of at least 1"."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        inner = [part for item in arguments[1:] for part in _constraints(item)]
        return expected(arguments[0], [*inner, *metadata])
    if origin in (Union, types.UnionType):
        return " or ".join(expected(item) for item in sorted(arguments, key=lambda item: item is not type(None)))
    if origin is Literal:
        names = [written(value) for value in arguments]
        return names[0] if len(names) == 1 else "one of " + ", ".join(names)
    if origin in (tuple, list):
        return f"a list, each item {expected(arguments[0])}"
    if origin is dict:
        return f"a mapping such as [name=value], each value {expected(arguments[1])}"
    return _WORDS.get(annotation, getattr(annotation, "__name__", str(annotation))) + _range(metadata)


def field_expected(field: FieldInfo) -> str:
    """What a value of this option must be, in words."""
    return expected(field.annotation, field.metadata)


def _constraints(item: Any) -> list[Any]:
    return list(item.metadata) if isinstance(item, FieldInfo) else [item]


def _range(metadata: Iterable[Any]) -> str:
    limits = []
    for item in metadata:
        match item:
            case Ge():
                limits.append(f"of at least {item.ge}")
            case Gt():
                limits.append(f"above {item.gt}")
            case Le():
                limits.append(f"of at most {item.le}")
            case Lt():
                limits.append(f"below {item.lt}")
            case _:
                pass
    return " " + " and ".join(limits) if limits else ""


def _leaves(annotation: Any) -> list[Any]:
    """The types and literal values that a single value may take, looking through Annotated and unions."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _leaves(arguments[0])
    if origin in (Union, types.UnionType):
        return [leaf for item in arguments for leaf in _leaves(item)]
    return [annotation]


def written_option(field: FieldInfo, value: Any) -> str:
    """A JSON value of `field` in spec syntax; text that would be parsed as something else is quoted."""
    plain = written(value)
    try:
        if _value(field, plain) == value:
            return plain
    except SpecError:
        pass
    return written(value, quote=True)


def _value(field: FieldInfo, text: str) -> Any:
    return _typed(field.annotation, text)


def _typed(annotation: Any, text: str) -> Any:
    leaves = _leaves(annotation)
    if type(None) in leaves and text.lower() in ("none", "null"):
        return None
    if bool in leaves and text.lower() in ("true", "false"):
        return text.lower() == "true"
    for leaf in leaves:
        if typing.get_origin(leaf) is Literal:
            for choice in typing.get_args(leaf):
                if text == written(choice) or (isinstance(choice, str) and unquoted(text) == choice):
                    return choice
    single = [leaf for leaf in leaves if typing.get_origin(leaf) is None and leaf is not type(None)]
    # Where a single value is also valid, only brackets mean a list or a mapping.
    for leaf in leaves if text.startswith("[") or not single else ():
        origin, arguments = typing.get_origin(leaf), typing.get_args(leaf)
        if origin in (tuple, list):
            items = literal(text)
            if isinstance(items, dict):
                return text
            items = items if isinstance(items, list) else [items]
            kinds = arguments if origin is tuple and arguments[-1:] != (...,) else arguments[:1]
            return [_typed(kinds[min(place, len(kinds) - 1)], item) for place, item in enumerate(items)]
        if origin is dict:
            found = literal(text)
            if found == []:
                return {}
            if isinstance(found, dict):
                return {key: _typed(arguments[1], item) for key, item in found.items()}
            return text
    number = _number(text) if {int, float} & set(leaves) else None
    return unquoted(text) if number is None else number


def _number(text: str) -> int | float | None:
    """The number that `text` denotes; None if it is not a number."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None


def _message(model: type[Options], owner: str, error: ValidationError, settings: Mapping[str, str]) -> str:
    first = error.errors(include_url=False)[0]
    location, kind = first["loc"], first["type"]
    if not location:
        return f"{owner}: {_reason(first)}"
    option = str(location[0])
    fields = model.option_fields()
    where = f"{owner}.{printable(option, 60)}"
    if kind == "extra_forbidden":
        return str(unknown(f"option of {owner}", option, fields))
    field = fields.get(option) or model.model_fields[option]
    if kind == "missing":
        return f"{where} is missing: expected {field_expected(field)}. Add {where}=VALUE."
    got = settings.get(option)
    shown = printable(got if got is not None else written(first["input"]), 60)
    if kind in ("value_error", "assertion_error"):
        return f"{where}={shown}: {_reason(first)}"
    wanted = _at(field, location[1:])
    item = f", got {printable(written(first['input']), 60)}" if len(location) > 1 and got is not None else ""
    return f"{where}={shown}: expected {wanted}{item if item.removeprefix(', got ') != shown else ''}"


def _at(field: FieldInfo, location: tuple[int | str, ...]) -> str:
    """What the part of `field` at `location` must be: an item of a list if the location points to one."""
    if location:
        for leaf in _leaves(field.annotation):
            arguments = typing.get_args(leaf)
            if typing.get_origin(leaf) in (tuple, list):
                return expected(arguments[0])
            if typing.get_origin(leaf) is dict:
                return f"{expected(arguments[0])} as a name" if location[-1] == "[key]" else expected(arguments[1])
    return field_expected(field)


def _reason(item: Any) -> str:
    text = str(item["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return printable(one_line(text))
