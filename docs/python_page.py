"""The reference page of everything that `pairbench` exports: signature, docstring and a short example of each name."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from typing import Any

import python_examples
import texts
from words import UndescribedError, listed, sentence

import pairbench

WIDTH = 110


class Annotation:
    """An annotation that prints as it stands in the source."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def page() -> str:
    """Every public name, in sections.

    Raises:
        UndescribedError: a name is in no section, or has neither a docstring nor a text.
    """
    parts = [texts.PYTHON]
    shown = set()
    for heading, (text, examples) in python_examples.SECTIONS.items():
        exported = {name: example for name, example in examples.items() if name in pairbench.__all__}
        parts += [f"## {heading}\n\n{text}"] * bool(exported)
        for name, example in exported.items():
            parts += entry(name, getattr(pairbench, name), example)
            shown.add(name)
    missing = sorted(set(pairbench.__all__) - shown)
    if missing:
        raise UndescribedError(f"example in docs/python_examples/ of pairbench.{', pairbench.'.join(missing)}")
    return "\n\n".join(parts)


def entry(name: str, thing: Any, example: str) -> Iterator[str]:
    """The heading, the signature, the description and the example of one name."""
    yield f"### `{name}`"
    text = python_examples.TEXTS.get(name)
    if text is None:
        if inspect.isclass(thing):
            yield code(class_header(thing))
        else:
            yield code(f"def {name}{signature(thing)}: ...")
        text = described(inspect.getdoc(thing) or "", name)
    yield text
    methods = list(public_methods(thing)) if inspect.isclass(thing) else []
    if methods:
        yield "\n".join(methods)
    yield code(example.strip())


def code(text: str) -> str:
    """A block of Python."""
    return f"```python\n{text}\n```"


def described(doc: str, name: str) -> str:
    """A docstring as Markdown: prose, lists of fields and arguments, and what is raised."""
    body, *sections = re.split(r"^(Args|Returns|Raises):\n", doc, flags=re.M)
    first, _, rest = body.strip().partition("\n\n")
    parts = [sentence(first, name)] + [listed(rest.strip())] * bool(rest.strip())
    titles = {"Args": "Arguments:", "Returns": "Returns:", "Raises": "Raises:"}
    for title, lines in zip(sections[::2], sections[1::2], strict=True):
        parts += [titles[title], listed(inspect.cleandoc(lines))]
    return re.sub(r"\n{3,}", "\n\n", "\n\n".join(part.strip() for part in parts))


def signature(function: Any) -> str:
    """The signature of a function as the source has it; one line for each parameter where it is long."""
    found = inspect.signature(function)
    given = [
        item.replace(annotation=plain(item.annotation))
        for item in found.parameters.values()
        if item.name not in ("self", "cls")
    ]
    shown = [str(item).replace("'", '"') for item in given]
    alone = next((place for place, item in enumerate(given) if item.kind is item.KEYWORD_ONLY), None)
    if alone is not None and not any(item.kind is item.VAR_POSITIONAL for item in given):
        shown.insert(alone, "*")
    back = "" if found.return_annotation is found.empty else f" -> {plain(found.return_annotation)!r}"
    whole = f"({', '.join(shown)}){back}"
    return whole if len(whole) < WIDTH - 20 else "(\n" + "".join(f"    {item},\n" for item in shown) + f"){back}"


def plain(annotation: Any) -> Annotation:
    """An annotation that prints without quotes."""
    return Annotation(annotation if isinstance(annotation, str) else inspect.formatannotation(annotation))


def class_header(kind: type) -> str:
    """A class with its base, if that says something, and the fields of a dataclass."""
    bases = [base.__name__ for base in kind.__bases__ if base not in (object,) and base.__module__ != "pydantic.main"]
    lines = [f"class {kind.__name__}" + f"({', '.join(bases)})" * bool(bases) + ":"]
    for field in dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ():
        default = "" if field.default is dataclasses.MISSING else f" = {field.default!r}".replace("'", '"')
        if field.default_factory is not dataclasses.MISSING:
            default = f" = {field.default_factory.__name__}()"  # type: ignore[union-attr]
        lines.append(f"    {field.name}: {field.type}{default}")
    return "\n".join(lines) if len(lines) > 1 else f"{lines[0]} ..."


def public_methods(kind: type) -> Iterator[str]:
    """A line of a list for each public method and property that the class itself defines."""
    for name, thing in vars(kind).items():
        thing = getattr(thing, "func", getattr(thing, "fget", getattr(thing, "__func__", thing)))
        if name.startswith(("_", "model_")) or not inspect.isfunction(thing) or not thing.__doc__:
            continue
        is_call = vars(kind)[name] is thing or isinstance(vars(kind)[name], classmethod)
        called = " ".join(signature(thing).split()).replace("( ", "(").replace(", )", ")") if is_call else ""
        summary = sentence(inspect.cleandoc(thing.__doc__).split("\n\n")[0], f"{kind.__name__}.{name}")
        yield f"- **`{name}{called}`**: {summary}"
