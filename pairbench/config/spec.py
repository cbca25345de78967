"""The spec language: `SLOT=NAME`, `SLOT.OPTION=VALUE`, commas for a grid, brackets and quotes that protect them."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Sequence

from pairbench.errors import SpecError
from pairbench.text import quoted

MAX_GRID = 100_000
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?")
_NEXT_WORD = re.compile(rf"\s+(?={_KEY.pattern}=)")
_OPEN = {"[": "]", "(": ")", "{": "}"}

Settings = dict[str, str]


def split_words(text: str) -> list[str]:
    """The words of `text`, split at white space before a `KEY=`, so that values may contain spaces."""
    words, start, depth, in_quotes = [], 0, 0, False
    for match in re.finditer(r"[\[({})\]\"]|\s+", text):
        mark = match[0]
        if mark == '"':
            in_quotes = not in_quotes
        elif not in_quotes and mark in _OPEN:
            depth += 1
        elif not in_quotes and mark in _OPEN.values():
            depth -= 1
        elif not in_quotes and depth <= 0 and mark.isspace() and _NEXT_WORD.match(text, match.start()):
            words.append(text[start : match.start()])
            start = match.end()
    return [word for word in (part.strip() for part in [*words, text[start:]]) if word]


def split_commas(text: str) -> list[str]:
    """`text` split at commas that are not inside brackets or double quotes.

    Raises:
        SpecError: a bracket or quote is not balanced.
    """
    parts, start, closing, in_quotes = [], 0, list[str](), False
    for at, char in enumerate(text):
        if char == '"':
            in_quotes = not in_quotes
        elif in_quotes:
            continue
        elif char in _OPEN:
            closing.append(_OPEN[char])
        elif closing and char == closing[-1]:
            closing.pop()
        elif char in _OPEN.values():
            raise SpecError(f"{quoted(text)}: unmatched {char}. Balance the brackets.")
        elif char == "," and not closing:
            parts.append(text[start:at])
            start = at + 1
    if in_quotes:
        raise SpecError(f'{quoted(text)}: a quote is not closed. Add the missing ".')
    if closing:
        raise SpecError(f"{quoted(text)}: a bracket is not closed. Add the missing {closing[-1]}.")
    return [*parts, text[start:]]


def parse_word(word: str) -> tuple[str, list[str]]:
    """The key of `word` and its values, one for each point of a grid.

    Raises:
        SpecError: the word is not KEY=VALUE[,VALUE], or a value is empty or named twice.
    """
    key, equals, text = word.partition("=")
    if not equals or not _KEY.fullmatch(key):
        raise SpecError(f"malformed word {quoted(word)}: expected KEY=VALUE, such as encoder=cnn or train.epochs=20.")
    try:
        values = [value.strip() for value in split_commas(text)]
    except SpecError as error:
        raise SpecError(f"{key}={error}") from None
    if "" in values:
        what = "an empty value" if len(values) > 1 else "no value"
        raise SpecError(f"malformed word {quoted(word)}: {what}, so the grid is empty. Write {key}=VALUE[,VALUE].")
    twice = repeated(values)
    if twice is not None:
        raise SpecError(f"{key} names {quoted(twice)} twice. Name each value of a grid once.")
    return key, values


def repeated(names: Iterable[str]) -> str | None:
    """The first of `names` that occurs twice; None if there is none."""
    seen = set[str]()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def parse(words: Iterable[str]) -> dict[str, list[str]]:
    """The values of each key in `words`, in order.

    Raises:
        SpecError: a word is malformed or a key occurs twice.
    """
    parsed: dict[str, list[str]] = {}
    for word in words:
        key, values = parse_word(word)
        if key in parsed:
            raise SpecError(
                f"duplicated key {quoted(key)}. Name it once; a grid is {key}={parsed[key][0][:40]},{values[0][:40]}."
            )
        parsed[key] = values
    return parsed


def expand(parsed: dict[str, list[str]]) -> list[Settings]:
    """One settings dictionary for each point of the grid, the last key varying fastest.

    Raises:
        SpecError: the grid has more than MAX_GRID points.
    """
    size = math.prod(len(values) for values in parsed.values())
    if size > MAX_GRID:
        count = size if size < 10**12 else "over 10^12"
        raise SpecError(f"the grid has {count} configs: expected at most {MAX_GRID}. Split it over several runs.")
    return [dict(zip(parsed, point, strict=True)) for point in itertools.product(*parsed.values())]


def single(parsed: dict[str, list[str]]) -> Settings:
    """The settings of a spec that is not a grid.

    Raises:
        SpecError: a key has several values.
    """
    for key, values in parsed.items():
        if len(values) > 1:
            raise SpecError(f"{key} has {len(values)} values: expected one config, not a grid. Name one value.")
    return {key: values[0] for key, values in parsed.items()}


def override(base: Settings, change: Settings) -> Settings:
    """`base` overridden by `change`; replacing the component of a slot drops the options of the old one."""
    replaced = {key for key, value in change.items() if "." not in key and base.get(key, value) != value}
    kept = {key: value for key, value in base.items() if key.split(".")[0] not in replaced}
    return {**kept, **change}


def split_specs(arguments: Sequence[str]) -> list[list[str]]:
    """The specs in the arguments of `timing`, each as a list of words.

    An argument that contains a space is a spec. Any other is shared by all specs, unless its key is also in one of them
    or repeated: then it is a separate spec. Without a quoted spec or a repeated key, all arguments form one spec.
    """
    found = [words for argument in arguments if (words := split_words(argument))]
    specs = [words for words in found if len(words) > 1]
    keys = [word.partition("=")[0] for words in found for word in words]
    shared = [words[0] for words in found if len(words) == 1 and keys.count(words[0].partition("=")[0]) == 1]
    if not specs and len(shared) == len(found):
        return [shared] if shared else []
    return [shared + words for words in found if len(words) > 1 or words[0] not in shared]


def literal(text: str) -> str | list[str] | dict[str, str]:
    """The value of `text`: a list if it is in brackets, a mapping for `[key=value]`, else text without quotes."""
    if len(text) >= 2 and text[0] == "[" and text[-1] == "]":
        items = [item.strip() for item in split_commas(text[1:-1])] if text[1:-1].strip() else []
        if items and all(re.match(r"[A-Za-z_]\w*=", item) for item in items):
            return {key: value for key, _, value in (item.partition("=") for item in items)}
        return [unquoted(item) for item in items]
    return unquoted(text)


def unquoted(text: str) -> str:
    """`text` without surrounding double quotes; doubled quotes inside are unescaped."""
    return text[1:-1].replace('""', '"') if len(text) >= 2 and text[0] == text[-1] == '"' else text


def written(value: object, *, quote: bool = False) -> str:
    """`value` in spec syntax; with `quote`, text is quoted even if it does not need quotes."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "[" + ",".join(f"{key}={written(item, quote=quote)}" for key, item in value.items()) + "]"
    if isinstance(value, list | tuple):
        return "[" + ",".join(written(item, quote=quote) for item in value) + "]"
    if isinstance(value, str):
        bare = not quote and value != "" and not re.search(r"[,\[\](){}\s\"]", value)
        return value if bare else '"' + value.replace('"', '""') + '"'
    return repr(value)
