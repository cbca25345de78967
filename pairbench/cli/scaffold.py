"""A new plugin as files: what `pairbench plugin new` writes."""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from string import Template

from pairbench import __version__
from pairbench.cli.scaffold_templates import CASES, COMPONENTS, HOOK, MODULES, PACKAGE, PYPROJECT, README, TEST
from pairbench.errors import SpecError
from pairbench.plugin.components import INTERFACES
from pairbench.plugin.registry import Registry
from pairbench.text import printable, quoted, unknown

LONGEST_NAME = 21
_ARTICLES = {
    "dataset": "a dataset",
    "encoder": "an encoder",
    "head": "a head",
    "loss": "a loss",
    "accelerator": "an accelerator",
    "metric": "a metric",
    "tracker": "a tracker",
}
# The hook that brings what stands in a slot.
_HOOKS = {"metric": "pairbench_metrics", "tracker": "pairbench_trackers", "accelerator": "pairbench_accelerators"}
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def new_plugin(name: str, slots: Sequence[str], folder: Path, registry: Registry) -> list[Path]:
    """Write the plugin `name` with a component for each of `slots` into the new folder `folder / name`.

    Returns:
        The files, sorted.

    Raises:
        SpecError: the name is invalid or taken; there is no such slot; the folder exists or cannot be written.
    """
    chosen = _checked_slots(slots)
    _check_name(name, registry)
    root = folder / name
    if root.exists() or root.is_symlink():
        raise SpecError(f"folder {quoted(str(root))} exists already. Choose another name or another --dir.")
    files = {root / path: text for path, text in contents(name, chosen).items()}
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SpecError(f"{quoted(str(root))} cannot be written: {error.strerror}. Choose another --dir.") from None
    return sorted(files)


def contents(name: str, slots: Sequence[str]) -> dict[str, str]:
    """The text of each file of the plugin, by its path in the plugin's folder."""
    package = f"pairbench_{name}"
    base = "".join(part.capitalize() for part in name.split("_"))
    words = {
        "name": name,
        "package": package,
        "distribution": package.replace("_", "-"),
        "version": __version__,
        "base": base,
        "spec": " ".join(_word(slot, name) for slot in slots if slot not in ("accelerator", "metric")) or "encoder=cnn",
        "show": f"pairbench show {slots[0]}={name}" if slots[0] in INTERFACES else "pairbench list",
        "brings": _listed([_ARTICLES[slot] for slot in slots]),
        "imports": "\n".join(f"from {package}.{slot} import {base}{slot.capitalize()}" for slot in slots),
    }
    hooks = [_hook(hook, base, slots) for hook in ("pairbench_components", *_HOOKS.values())]
    words["hooks"] = "\n\n".join(text for text in hooks if text)
    words["cases"] = "\n".join(Template(CASES[slot]).substitute(words) for slot in slots)
    files = {
        "pyproject.toml": PYPROJECT,
        "README.md": README,
        f"{package}/__init__.py": PACKAGE,
        "tests/test_conformance.py": TEST,
        **{f"{package}/{slot}.py": COMPONENTS[slot] for slot in slots},
    }
    if "loss" in slots:
        files[f"{package}/modules.py"] = MODULES
    return {path: Template(text).substitute(words) for path, text in files.items()}


def _word(slot: str, name: str) -> str:
    """How a run names what a plugin brings in `slot`."""
    return f"--track {name}" if slot == "tracker" else f"{slot}={name}"


def _hook(hook: str, base: str, slots: Sequence[str]) -> str:
    """The implementation of `hook` for those of `slots` that it brings; "" where there is none."""
    classes = [
        f"        {base}{slot.capitalize()}{'()' * (slot == 'accelerator')},"
        for slot in slots
        if _HOOKS.get(slot, "pairbench_components") == hook
    ]
    return Template(HOOK).substitute(hook=hook, classes="\n".join(classes)) if classes else ""


def _checked_slots(slots: Sequence[str]) -> list[str]:
    for slot in slots:
        if slot not in COMPONENTS:
            raise unknown("slot", slot, COMPONENTS)
    return sorted(set(slots))


def _check_name(name: str, registry: Registry) -> None:
    if not _NAME.fullmatch(name) or keyword.iskeyword(name) or len(name) > LONGEST_NAME:
        raise SpecError(
            f"plugin name {quoted(name)}: expected an identifier of lower-case letters, digits and single underscores, "
            f"at most {LONGEST_NAME} characters long, such as {quoted(_suggestion(name))}."
        )
    if name in registry.trackers:
        raise SpecError(f"tracker {quoted(name)} exists already. Choose another name.")
    if name in registry.accelerators:
        raise SpecError(f"accelerator {quoted(name)} exists already. Choose another name.")
    if name in registry.metrics:
        raise SpecError(f"metric {quoted(name)} exists already. Choose another name.")
    for slot, known in registry.components.items():
        if name in known:
            owner = printable(known[name][0].origin.distribution, 60)
            raise SpecError(f"{slot} {quoted(name)} exists already, in {owner}. Choose another name.")
    if find_spec(f"pairbench_{name}") is not None:
        raise SpecError(f"a package called pairbench_{name} is installed already. Choose another name.")


def _listed(things: Sequence[str]) -> str:
    return " and ".join([", ".join(things[:-1]), things[-1]]) if len(things) > 1 else things[0]


def _suggestion(name: str) -> str:
    """A valid name similar to `name`."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.removeprefix("pairbench-"))
    words = re.findall(r"[a-z0-9]+", snake.lower())
    near = "_".join(words).lstrip("0123456789_")[:LONGEST_NAME].rstrip("_")
    return f"{near}_net"[:LONGEST_NAME] if keyword.iskeyword(near) else near or "my_encoder"
