"""Suites: named lists of configs, in TOML files of plugins or users.

description = "What it shows."
words = ["train.epochs=50"]            # shared by all runs

[[run]]
name = "Baseline"
words = ["encoder=mlp", "pairing=two_channel"]

[run.published]                        # optional: published figures to compare with, as mean and standard deviation
accuracy = { mean = 0.7674, std = 0.0131, rounds = 10 }
"""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pairbench.config.run_config import RunConfig, resolve
from pairbench.config.spec import MAX_GRID, expand, override, parse, repeated, split_words
from pairbench.errors import SpecError
from pairbench.plugin.metrics import known_metrics
from pairbench.plugin.registry import Registry
from pairbench.text import one_line, printable, quoted, unknown

MAX_BYTES = 1_000_000
MAX_RUNS = 1000
MAX_WORDS = 1000


@dataclass(frozen=True)
class Published:
    """A published figure: its mean and, if known, its standard deviation and number of rounds."""

    mean: float
    std: float | None = None
    rounds: int | None = None


@dataclass(frozen=True)
class Entry:
    """One run of a suite: its name, its words, published figures, and a note."""

    name: str
    words: tuple[str, ...]
    published: dict[str, Published] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True)
class Suite:
    """A named list of runs; `home` is the distribution that provides it, "" for a user's file."""

    name: str
    description: str
    entries: tuple[Entry, ...]
    home: str = ""

    def only(self, names: Sequence[str]) -> Suite:
        """The suite restricted to the entries `names` (case-insensitive); no names mean all entries.

        Raises:
            SpecError: an entry does not exist.
        """
        if not names:
            return self
        known = {entry.name.lower(): entry for entry in self.entries}
        for name in names:
            if name.lower() not in known:
                raise unknown(
                    f"entry of suite {printable(self.name, 40)}", name, [entry.name for entry in self.entries]
                )
        wanted = {name.lower() for name in names}
        return replace(self, entries=tuple(e for e in self.entries if e.name.lower() in wanted))

    def configs(self, words: Sequence[str], registry: Registry) -> list[tuple[str, Entry, RunConfig]]:
        """(name, entry, config) of each run, with every entry overridden by `words`.

        Raises:
            SpecError: a word is wrong, or two runs have the same name.
        """
        laid = parse(words)
        change = expand(laid)
        found: list[tuple[str, Entry, RunConfig]] = []
        for entry in self.entries:
            own = parse(entry.words)
            bases = expand(own)
            if len(found) + len(bases) * len(change) > MAX_GRID:
                raise SpecError(f"the suite has more than {MAX_GRID} configs. Split it over several runs.")
            for base, point in itertools.product(bases, change):
                varied = [f"{key}={base[key]}" for key in base if len(own[key]) > 1]
                varied += [f"{key}={point[key]}" for key in point if len(laid[key]) > 1]
                try:
                    config = resolve(override(base, point), registry, self.home)
                except SpecError as error:
                    raise SpecError(f"{printable(entry.name, 40)}: {error}") from None
                found.append((" ".join([entry.name, *varied]), entry, config))
        return found


def find_suite(name: str, registry: Registry) -> Suite:
    """The suite called `name`, or the one in the file `name`.

    Raises:
        SpecError: it does not exist or is invalid.
    """
    if name.endswith(".toml") or "/" in name:
        return read_suite(Path(name))
    claims = registry.suites.get(name, [])
    if not claims:
        raise unknown("suite", name, registry.suites)
    if len(claims) > 1:
        files = " or ".join(printable(str(path)) for path in claims)
        raise SpecError(f"suite {quoted(name)} exists in {len(claims)} plugins. Write --suite {files}.")
    return replace(read_suite(claims[0]), home=registry.suite_homes.get(claims[0], ""))


def read_suite(path: Path) -> Suite:
    """The suite in a TOML file.

    Raises:
        SpecError: the file is missing, is not TOML, or has missing or unknown keys.
    """
    where = printable(str(path), 160)
    try:
        # Reading a pipe without a writer would block.
        if path.exists() and not path.is_file() and not path.is_dir():
            raise ValueError("not a file")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SpecError(f"suite {where}: {reason}. Name a file that can be read.") from None
    if len(content) > MAX_BYTES:
        raise SpecError(f"suite {where}: larger than {MAX_BYTES} bytes. Split it.")
    try:
        value = tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:
        # Besides its own errors, tomllib raises those of text that is not UTF-8 and of numbers that are too long.
        reason = printable(one_line(error), 80)
        raise SpecError(f"suite {where}: not TOML ({reason}). Fix that line.") from None
    try:
        return _suite(path.stem, value)
    except SpecError as error:
        raise SpecError(f"suite {where}: {error}") from None


def _suite(name: str, value: dict[str, Any]) -> Suite:
    _known(value, {"description", "words", "run"}, "")
    runs = value.get("run", [])
    if not isinstance(runs, list) or not runs or not all(isinstance(run, dict) for run in runs):
        raise SpecError("no runs: expected at least one [[run]].")
    if len(runs) > MAX_RUNS:
        raise SpecError(f"{len(runs)} runs: expected at most {MAX_RUNS}. Split it.")
    shared = _words(value, "")
    entries = [_entry(run, number, shared) for number, run in enumerate(runs, start=1)]
    twice = repeated(entry.name.lower() for entry in entries)
    if twice is not None:
        raise SpecError(f"two runs are called {quoted(twice)}. Give each a unique name.")
    return Suite(name, _text(value, "description", ""), tuple(entries))


def _entry(run: dict[str, Any], number: int, shared: list[str]) -> Entry:
    where = f"run {number}: "
    _known(run, {"name", "words", "published", "note"}, where)
    name = _text(run, "name", where)
    if not name.strip():
        raise SpecError(f'{where}name is missing. Write name = "...".')
    if "," in name:
        raise SpecError(f"{where}name {quoted(name)} has a comma, which separates names in --only. Remove it.")
    own = _words(run, where)
    # The run's own words override the shared ones; as in `override`, a new component drops the old one's options.
    mine, ours = parse(own), parse(shared)
    replaced = {key for key, values in mine.items() if "." not in key and ours.get(key, values) != values}
    kept = [w for w in shared if (key := w.partition("=")[0]) not in mine and key.split(".")[0] not in replaced]
    published = run.get("published", {})
    if not isinstance(published, dict):
        raise SpecError(f"{where}published: expected figures such as accuracy = {{ mean = 0.77, std = 0.01 }}.")
    figures = {metric: _published(figure, where, metric) for metric, figure in published.items()}
    return Entry(name.strip(), (*kept, *own), figures, _text(run, "note", where))


def _published(value: object, where: str, metric: str) -> Published:
    if metric not in (known := known_metrics()):
        raise SpecError(f"{where}published: {unknown('metric', metric, known)}")
    figures: dict[str, Any] = value if isinstance(value, dict) else {"mean": value}
    mean, std, rounds = figures.get("mean"), figures.get("std"), figures.get("rounds")
    sound = (
        set(figures) <= {"mean", "std", "rounds"}
        and _is_number(mean)
        and (std is None or (_is_number(std) and std >= 0))
        and (rounds is None or (isinstance(rounds, int) and not isinstance(rounds, bool) and rounds >= 1))
    )
    if not sound:
        raise SpecError(f"{where}published.{metric}: expected a number or {{ mean = 0.77, std = 0.01, rounds = 10 }}.")
    return Published(**figures)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e100


def _words(value: dict[str, Any], where: str) -> list[str]:
    words = value.get("words", [])
    if isinstance(words, str):
        words = split_words(words)
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise SpecError(f'{where}words: expected a list such as ["encoder=cnn", "loss=aux"].')
    if len(words) > MAX_WORDS:
        raise SpecError(f"{where}{len(words)} words: expected at most {MAX_WORDS}. Omit options at their defaults.")
    parse(words)
    return words


def _text(value: dict[str, Any], key: str, where: str) -> str:
    text = value.get(key, "")
    if not isinstance(text, str):
        raise SpecError(f"{where}{key}: expected text.")
    return one_line(text)


def _known(value: dict[str, Any], names: set[str], where: str) -> None:
    for key in value:
        if key not in names:
            raise SpecError(f"{where}{unknown('key', key, names)}")
