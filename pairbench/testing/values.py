"""Checks of a recipe as a value: its options as text and as JSON, its equality and its hash."""

from __future__ import annotations

import copy
import json
import types
import typing
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from pairbench.config.options import read, validated, written_option
from pairbench.config.spec import parse
from pairbench.errors import SpecError
from pairbench.plugin.accelerators import Accelerator
from pairbench.plugin.components import Component
from pairbench.plugin.metric_specs import MetricSpec
from pairbench.testing.kit import broken

_SPEC_TYPES = "bool, int, float, str, None, a Literal, a tuple of those, or a dict[str, ...] of those"


def options_are_documented(recipe: Component) -> None:
    """The class and each option have a description."""
    kind = type(recipe)
    if not kind.summary():
        raise broken(f"{kind.__name__} has no docstring", "Describe it in one sentence as its docstring")
    for option, text in kind.option_texts().items():
        if not text.strip():
            raise broken(
                f"option '{option}' has no description",
                f"Add the line '{option}: what it does' to the docstring of {kind.__name__}",
            )


def options_survive_text(recipe: Component) -> None:
    """The options, written as words and parsed again, give an equal recipe."""
    kind, slot = type(recipe), recipe.slot
    fix = f"Give it a type that a spec can write: {_SPEC_TYPES}"
    for option, field in kind.option_fields().items():
        if not _writable(field.annotation):
            raise broken(f"no spec can write a value of option '{option}', {field.annotation}", fix)
    fields, values = kind.option_fields(), _values(recipe)
    words = {option: f"{slot}.{option}={written_option(fields[option], values[option])}" for option in fields}
    try:
        settings = {option: parse([word])[f"{slot}.{option}"][0] for option, word in words.items()}
        again = read(kind, slot, settings)
    except SpecError as error:
        raise broken(f"written as {' '.join(words.values())} it cannot be parsed: {error}", fix) from error
    if again != recipe:
        option = _changed(recipe, again)
        raise broken(
            f"{words[option]} was written, and read again '{option}' is {getattr(again, _field(kind, option))!r}",
            f"{fix}. Do not change values in a validator",
        )


def options_survive_json(recipe: Component) -> None:
    """The options, written as JSON and parsed again, give an equal recipe."""
    kind = type(recipe)
    try:
        text = json.dumps(_values(recipe), allow_nan=False)
    except ValueError as error:
        raise broken(
            f"its options are not valid JSON: {error}",
            "Use none instead of inf or nan, and bound the option, such as Field(allow_inf_nan=False)",
        ) from error
    try:
        again = validated(kind, recipe.slot, json.loads(text))
    except SpecError as error:
        raise broken(
            f"its own JSON {text} is rejected: {error}", "Let validators accept the recipe's own values"
        ) from error
    if again != recipe:
        option = _changed(recipe, again)
        raise broken(
            f"option '{option}' is {getattr(again, _field(kind, option))!r} after JSON",
            "Do not omit an option from the dump, and do not change values in a validator",
        )


def recipe_is_a_value(recipe: Component) -> None:
    """A copy is equal and hashes the same, and its options are immutable."""
    kind = type(recipe)
    if not kind.model_config.get("frozen"):
        raise broken("its options can be assigned", f"Leave frozen=True in the model_config of {kind.__name__}")
    for option in kind.option_fields():
        if isinstance(getattr(recipe, _field(kind, option)), list | set):
            raise broken(f"option '{option}' can change after validation", "Use a tuple instead of a list or set")
    again = kind.model_validate(recipe.model_dump(by_alias=True))
    if again != recipe or hash(again) != hash(recipe):
        raise broken("a recipe with the same options is not equal to it", "Do not override __eq__ or __hash__")


def metric_is_documented(spec: MetricSpec) -> None:
    """The metric's text is a sentence, and its title fits over a column."""
    if not spec.text.strip() or spec.text.strip()[-1] not in ".?!":
        raise broken(f"its text is {spec.text!r}", "Write a sentence that says what it is, with a full stop")
    if not spec.title.strip() or len(spec.title) > 40:
        raise broken(f"its title is {spec.title!r}", "Give one of at most 40 letters")


def accelerator_is_documented(accelerator: Accelerator) -> None:
    """The class says what it makes faster."""
    if not (type(accelerator).__dict__.get("__doc__") or "").strip():
        raise broken(f"{type(accelerator).__name__} has no docstring", "Say in a sentence what it makes faster")


def fingerprint_is_stable(accelerator: Accelerator) -> None:
    """The digest of its code is there, and the same when asked again of another instance."""
    first = accelerator.fingerprint()
    if not isinstance(first, str) or not first:
        raise broken(
            f"its fingerprint is {first!r}", "Leave `fingerprint` as inherited, or return a digest of all code it runs"
        )
    if copy.copy(accelerator).fingerprint() != first:
        raise broken("its fingerprint changes from call to call", "Compute it from the code alone")


def _values(recipe: Component) -> dict[str, Any]:
    try:
        return recipe.values()
    except (TypeError, ValueError) as error:
        raise broken(f"its options are not plain values: {error}", f"Use only {_SPEC_TYPES}") from error


def _writable(annotation: Any) -> bool:
    """Whether the spec language can express values of this type."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _writable(arguments[0])
    if origin in (Union, types.UnionType):
        return all(map(_writable, arguments))
    if origin in (tuple, list, dict):
        return all(_writable(item) for item in arguments if item is not Ellipsis)
    return origin is Literal or annotation in (None, type(None)) or _is_plain(annotation)


def _is_plain(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, int | float | str | Enum | Path)


def _field(kind: type[Component], option: str) -> str:
    return next(name for name, field in kind.model_fields.items() if option in (field.alias, name))


def _changed(recipe: Component, again: Component) -> str:
    """The first option whose value differs."""
    kind = type(recipe)
    return next(
        option
        for option in kind.option_fields()
        if getattr(recipe, _field(kind, option)) != getattr(again, _field(kind, option))
    )
