"""Which installed plugins are loaded: those that the user selects and that support this version of pairbench."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Sequence
from importlib.metadata import Distribution, EntryPoint
from importlib.util import find_spec

from pairbench.text import did_you_mean, printable

CHOICE = "PAIRBENCH_PLUGINS"
BUNDLED = "pairbench"


def distribution_of(entry: EntryPoint) -> tuple[str, str]:
    """The name and version of the distribution that provides `entry`."""
    return _named(entry.dist) if entry.dist else ("unknown", "")


@functools.lru_cache(maxsize=256)
def _named(distribution: Distribution) -> tuple[str, str]:
    # Each look at the metadata reads its file anew, and with it the whole of a README.
    try:
        metadata = distribution.metadata
        return metadata["Name"] or "unknown", metadata["Version"] or ""
    except Exception:  # noqa: BLE001 - a broken installation may leave a distribution without metadata
        return "unknown", ""


def chosen() -> set[str] | None:
    """The plugins and distributions selected by PAIRBENCH_PLUGINS, normalised; None if it is not set.

    If it is set but empty, only the bundled ones are loaded.
    """
    value = os.environ.get(CHOICE)
    return None if value is None else {normal(name) for name in value.split(",") if name.strip()}


def admitted(entry: EntryPoint, choice: set[str] | None) -> bool:
    """Whether `entry` is loaded under `choice`; bundled plugins always are."""
    distribution, _ = distribution_of(entry)
    return distribution == BUNDLED or choice is None or bool(choice & {normal(distribution), normal(entry.name)})


def deleted(entry: EntryPoint) -> bool:
    """Whether `entry` is a bundled plugin whose folder somebody has deleted."""
    return distribution_of(entry)[0] == BUNDLED and find_spec(entry.module.partition(".")[0]) is None


def unmatched(entries: Sequence[EntryPoint], choice: set[str] | None) -> dict[str, str]:
    """Each name of `choice` that matches no plugin, with what to do about it."""
    known = {normal(name) for entry in entries for name in (entry.name, distribution_of(entry)[0])}
    return {
        name: f"no such plugin or distribution is installed.{did_you_mean(name, known)}"
        for name in sorted((choice or set()) - known)
    }


def misfit(entry: EntryPoint, version: str) -> str:
    """Why `entry` does not fit pairbench `version`, according to its distribution's metadata; "" if it does."""
    if entry.dist is None or distribution_of(entry)[0] == BUNDLED:
        return ""
    for text in entry.dist.requires or []:
        # Parsing a requirement takes 20 ms the first time: only do it for ours.
        if normal(re.split(r"[^A-Za-z0-9._-]", text, maxsplit=1)[0]) != BUNDLED:
            continue
        from packaging.requirements import InvalidRequirement, Requirement

        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            return f"its metadata says {printable(text, 60)!r}, which is not a valid requirement. Reinstall it"
        wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if wanted and not requirement.specifier.contains(version, prereleases=True):
            return (
                f"it needs pairbench{printable(str(requirement.specifier), 60)}, and this is pairbench {version}. "
                "Install versions that fit: pip install --upgrade pairbench " + printable(entry.dist.name, 60)
            )
    return ""


def normal(name: str) -> str:
    """The name as package indexes normalise it: lower case, with single hyphens."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()
