"""Writes the reference pages from the code: `python docs/generate.py`, or `--check` to name those that are not current.

It stops at a command, option, component, hook, exit code, environment variable, record field or public name that has
no description.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from dataclasses import fields
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, get_args

sys.path.insert(0, str(Path(__file__).parent))  # its neighbour, also where a test imports this file

import commands
import python_examples
import python_page
import texts
from words import UndescribedError, sentence, table

DOCS = Path(__file__).parent
ROOT = DOCS.parent
MARK = "<!-- Written by docs/generate.py from the code: change the code or docs/texts.py, then run it. -->"


def pages() -> dict[str, str]:
    """The generated pages, by their path below docs/."""
    made = {
        "reference/command-line.md": commands.page(),
        "reference/train.md": train(),
        "reference/hooks.md": hooks(),
        "reference/conformance.md": conformance(),
        "reference/suites.md": suites(),
        "reference/exit-codes.md": exit_codes(),
        "reference/environment.md": environment(),
        "reference/metrics.md": metrics(),
        "reference/record.md": record(),
        "reference/python.md": python_page.page(),
    }
    made |= {f"reference/{slot}.md": components(slot) for slot in ("dataset", "encoder", "head", "loss")}
    return {path: f"{MARK}\n\n{text.strip()}\n" for path, text in sorted(made.items())}


def components(slot: str) -> str:
    """Every bundled component of a slot with its options."""
    from pairbench.config.run_config import DEFAULTS
    from pairbench.plugin.registry import installed

    parts = [texts.SLOTS[slot]]
    registry = installed()
    for name in registry.names(slot):
        for found in registry.components[slot][name]:
            if found.origin.distribution != "pairbench":
                continue
            default = " This is the default." if DEFAULTS[slot] == name else ""
            sentence(found.component.summary(), f"{slot}={name}")
            parts.append(f"## `{name}`\n\n{described_text(found.component)}")
            parts.append(f"From the plugin `{found.origin.plugin}`.{default}")
            parts.append(option_list(f"{slot}=pairbench:{name}"))
    return "\n\n".join(parts)


def described_text(component: Any) -> str:
    """The docstring of a component without the lines that describe its options."""
    options = component.option_fields()
    kept, inside = [], False
    for line in inspect.cleandoc(component.__doc__).splitlines():
        found = re.match(r"(\w+): ", line)
        inside = bool(found and found[1] in options) or (inside and line.startswith("    "))
        kept += [] if inside else [line]
    return "\n".join(kept).strip()


def option_list(word: str) -> str:
    """The options of what `pairbench show` calls `word`; a list, since four columns do not fit on a phone."""
    from pairbench.cli.catalogue import described
    from pairbench.plugin.registry import installed

    lines = []
    for item in described(installed(), [word])["shown"][0]["options"]:
        text = sentence(item["text"], item["option"])
        default = "required" if item["required"] else f"default `{item['default']}`"
        lines.append(f"- **`{item['option']}`**: {text} *{sentence(item['expected'], '')[:-1]}; {default}.*")
    return "\n".join(lines) or "It has no options."


def train() -> str:
    """The options of training."""
    return f"{texts.TRAIN}\n\n{option_list('train')}"


def suites() -> str:
    """Every bundled suite with its entries."""
    from pairbench.config.suite import read_suite
    from pairbench.plugin.registry import installed

    registry = installed()
    parts = [texts.SUITES]
    for name in sorted(registry.suites):
        for file in registry.suites[name]:
            if not file.is_relative_to(ROOT):
                continue
            suite = read_suite(file)
            parts.append(f"## `{name}`\n\n{sentence(suite.description, f'suite {name}')}")
            for entry in suite.entries:
                note = f"\n\n{sentence(entry.note, '')}" if entry.note else ""
                parts.append(f"**{entry.name}**\n\n```text\n{' '.join(entry.words)}\n```{note}")
    return "\n\n".join(parts)


def hooks() -> str:
    """Every hook, and the values that events carry."""
    from pairbench.plugin import events, hooks

    parts = [texts.HOOKS]
    for name, function in inspect.getmembers(hooks, inspect.isfunction):
        if hasattr(function, "pairbench_spec"):
            given = str(inspect.signature(function)).replace("'", "")
            parts.append(f"## `{name}`\n\n{sentence(function.__doc__ or '', name)}")
            parts.append(f"```python\n@pairbench.hookimpl\ndef {name}{given}: ...\n```")
    for name, kind in inspect.getmembers(events, inspect.isclass):
        if kind.__module__ == events.__name__:
            named = dict(re.findall(r"^\s*(\w+): (.*)$", kind.__doc__ or "", re.M))
            rows = [
                [f"`{item.name}`", f"`{item.type}`", sentence(named.get(item.name, ""), f"{name}.{item.name}")]
                for item in fields(kind)
            ]
            parts.append(f"## `{name}`\n\n{sentence((kind.__doc__ or '').split(chr(10) * 2)[0], name)}")
            parts.append(table(["field", "type", "what it is"], rows))
    return "\n\n".join(parts)


def conformance() -> str:
    """Every check of the conformance kit."""
    from pairbench import testing
    from pairbench.plugin.components import INTERFACES

    rows = []
    for check in testing.CHECKS:
        slots = "all" if set(check.slots) == set(INTERFACES) else ", ".join(check.slots)
        rows.append([f"`{check.name}`", slots, sentence(check.text, check.name)])
    parts = [texts.CONFORMANCE, table(["check", "of", "the rule"], rows), texts.CONFORMANCE_AFTER]
    for name, example in python_examples.TESTING.items():
        parts += python_page.entry(name, getattr(testing, name), example)
    return "\n\n".join(parts)


def exit_codes() -> str:
    """Every exit code that the command line names."""
    from pairbench import cli

    found = re.findall(r"(\d+) ([^;.]+)[;.]", (cli.main.__doc__ or "").partition("Exit codes:")[2])
    rows = []
    for code, meaning in found:
        if code not in texts.EXIT_CODES:
            raise UndescribedError(f"exit code {code}")
        rows.append([f"`{code}`", meaning, texts.EXIT_CODES[code]])
    return f"{texts.EXITS}\n\n{table(['code', 'meaning', 'when'], rows)}\n\n{texts.EXITS_AFTER}"


def environment() -> str:
    """Every environment variable that the code reads."""
    read = re.compile(r"""(?:environ(?:\.get\(|\[)|getenv\()\s*["'](\w+)["']|["'](PAIRBENCH_\w+)["']""")
    sources = [*(ROOT / "pairbench").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]
    found = {name for file in sources for pair in read.findall(file.read_text()) for name in pair if name}
    rows = []
    for name in sorted(found):
        if name not in texts.ENVIRONMENT:
            raise UndescribedError(f"environment variable {name}")
        rows.append([f"`{name}`", texts.ENVIRONMENT[name]])
    return f"{texts.VARIABLES}\n\n{table(['variable', 'what it does'], rows)}\n\n{texts.VARIABLES_AFTER}"


def flattened(value: Any, path: str = "") -> dict[str, Any]:
    """The leaves of nested mappings, by dotted path; a config has dots in its keys and stays whole."""
    if not isinstance(value, dict) or path == "config":
        return {path: value}
    leaves: dict[str, Any] = {}
    for key, item in value.items():
        leaves |= flattened(item, f"{path}.{key}" if path else key)
    return leaves


def described_paths(value: dict[str, Any], known: dict[str, str]) -> list[list[str]]:
    """A row for each pattern of `known` that fits a leaf of `value`, in the order of the leaves.

    Raises:
        UndescribedError: a leaf fits none.
    """
    patterns: dict[str, str] = {}
    for path in flattened(value):
        pattern = next((item for item in known if fnmatch(path, item)), None)
        if pattern is None:
            raise UndescribedError(f"record field {path}")
        patterns.setdefault(pattern, known[pattern])
    return [[f"`{pattern}`", text] for pattern, text in patterns.items()]


def metrics() -> str:
    """Every bundled metric, with what brings it."""
    from pairbench.plugin.metrics import known_metrics

    rows = []
    for name, found in known_metrics().items():
        if found.origin.distribution != "pairbench":
            continue
        spec = found.spec
        better = ("higher" if spec.higher_is_better else "lower") if spec.ranks else "neither"
        shown = [word for word, so in (("in curves", spec.each_epoch), ("aside", spec.aside)) if so]
        traits = [better, *(["percent"] if spec.percent else []), *shown]
        home = found.origin.plugin or "core"
        rows.append([f"`{name}`", sentence(spec.text, name), ", ".join(spec.needs), ", ".join(traits), home])
    columns = ["metric", "what it is", "needs", "better, and how it is shown", "from"]
    return f"{texts.METRICS}\n\n{table(columns, rows)}"


def record_fields() -> dict[str, str]:
    """What each field of a record is, by its pattern."""
    from pairbench.plugin.components import TaskKind
    from pairbench.plugin.core_metrics import CORE

    kinds = {spec: next((f"For {need}: " for need in spec.needs if need in get_args(TaskKind)), "") for spec in CORE}
    return {f"metrics.{spec.name}": f"{kinds[spec]}{spec.text}" for spec in CORE} | texts.RECORD_FIELDS


def record() -> str:
    """The fields of a record and of a timing, from real ones."""
    from pairbench.plugin.core_metrics import CORE

    example = json.loads((DOCS / "assets" / "record.json").read_text())
    timing = json.loads((DOCS / "assets" / "timing.json").read_text())
    columns = ["field", "what it is"]
    error = {"error": {"reason": "", "traceback": ""}}
    origin = dict.fromkeys(("distribution", "version", "plugin", "source"))
    measured = {"provenance": example["provenance"] | {"metrics": {"average_precision": origin}}}
    # One example cannot have the figures of every task.
    every = example | {"metrics": dict.fromkeys(spec.name for spec in CORE) | example["metrics"]}
    shown = example | {"config": {**dict(list(example["config"].items())[:2]), "...": "every other option"}}
    return "\n\n".join(
        [
            texts.RECORD,
            table(columns, described_paths(every | measured | error, record_fields())),
            f"{texts.RECORD_EXAMPLE}\n\n```json\n{json.dumps(shown, indent=1)}\n```",
            texts.TIMING,
            table(columns, described_paths(timing, texts.TIMING_FIELDS)),
            texts.RECORD_FILES,
        ]
    )


def main() -> int:
    """Write the pages; with --check, say which are not current."""
    stale = []
    for path, text in pages().items():
        file = DOCS / path
        if not file.exists() or file.read_text() != text:
            stale.append(path)
            if "--check" not in sys.argv:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
    print("\n".join(f"{'stale' if '--check' in sys.argv else 'written'}: {path}" for path in stale) or "all current")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
