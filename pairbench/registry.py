"""Which plugins are installed, what they bring, and which of them failed.

Every plugin is found by an entry point of the group `pairbench`, the bundled ones too.
"""

from __future__ import annotations

import functools
import hashlib
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pluggy

from pairbench import hookspecs
from pairbench.errors import SpecError
from pairbench.interfaces import INTERFACES, Component
from pairbench.spec import unknown
from pairbench.text import printable, quoted

GROUP = "pairbench"


@dataclass(frozen=True)
class Origin:
    """Where a component comes from: distribution, version, plugin (entry point) and a hash of the plugin's source."""

    distribution: str
    version: str
    plugin: str
    source: str


@dataclass(frozen=True)
class Installed:
    """A component that can be used, and where it comes from."""

    component: type[Component]
    origin: Origin


@dataclass(frozen=True)
class Failure:
    """A plugin that could not be used: its name, its distribution, the reason in a line, and the traceback."""

    plugin: str
    distribution: str
    reason: str
    traceback: str = ""


@dataclass
class Registry:
    """All that is installed.

    components: for each slot, for each name, everything that claims the name (more than one is an ambiguity).
    suites: for each name, the files that define it.
    failures: the plugins that could not be used.
    manager: calls the event hooks.
    """

    components: dict[str, dict[str, list[Installed]]]
    suites: dict[str, list[Path]]
    failures: list[Failure]
    manager: pluggy.PluginManager

    def find(self, slot: str, name: str) -> Installed:
        """The component called `name`, or `distribution:name`, in `slot`.

        Raises:
            SpecError: there is none, or two plugins claim the name.
        """
        distribution, _, plain = name.rpartition(":")
        known = self.components[slot]
        claims = [
            found for found in known.get(plain, []) if not distribution or found.origin.distribution == distribution
        ]
        if not claims:
            failed = ", ".join(failure.plugin for failure in self.failures)
            hint = f" Plugins that failed to load: {printable(failed)} (see 'pairbench doctor')." if failed else ""
            error = unknown(slot, name, known)
            raise SpecError(f"{error}{hint}")
        if len(claims) > 1:
            names = " or ".join(f"{slot}={claim.origin.distribution}:{plain}" for claim in claims)
            raise SpecError(f"{slot} {quoted(plain)} is claimed by {len(claims)} plugins. Write {printable(names)}.")
        return claims[0]

    def names(self, slot: str) -> list[str]:
        """The names in `slot`, sorted."""
        return sorted(self.components[slot])

    def origin_of(self, component: type[Component]) -> Origin:
        """Where `component` comes from; a class that no plugin brings comes from its own module."""
        for claim in self.components[component.slot].get(component.name, []):
            if claim.component is component:
                return claim.origin
        module = component.__module__
        return Origin(module.split(".")[0], "", "", source_hash(sys.modules.get(module)))


def load(group: str = GROUP) -> Registry:
    """A registry of everything installed; a plugin that fails is named in `failures` and skipped."""
    manager = pluggy.PluginManager("pairbench")
    manager.add_hookspecs(hookspecs)
    registry = Registry({slot: {} for slot in INTERFACES}, {}, [], manager)
    for entry in sorted(entry_points(group=group), key=lambda entry: (_distribution(entry)[0], entry.name)):
        _load_plugin(registry, entry)
    return registry


@functools.cache
def installed() -> Registry:
    """The registry of this process, loaded once."""
    return load()


def _distribution(entry: EntryPoint) -> tuple[str, str]:
    return (entry.dist.name, entry.dist.version) if entry.dist else ("unknown", "")


def _load_plugin(registry: Registry, entry: EntryPoint) -> None:
    distribution, version = _distribution(entry)
    key = f"{distribution}:{entry.name}"
    try:
        plugin = entry.load()
        registry.manager.register(plugin, name=key)
        registry.manager.check_pending()
        origin = Origin(distribution, version, entry.name, source_hash(plugin))
        found = [_checked(component) for component in _call(registry, key, "pairbench_components")]
        suites = [Path(path) for path in _call(registry, key, "pairbench_suites")]
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a plugin may raise anything at import, SystemExit too
        if registry.manager.has_plugin(key):
            registry.manager.unregister(name=key)
        reason = printable(f"{type(error).__name__}: {error}".splitlines()[0])
        registry.failures.append(Failure(entry.name, distribution, reason, traceback.format_exc()))
        return
    for component in found:
        registry.components[component.slot].setdefault(component.name, []).append(Installed(component, origin))
    for path in suites:
        registry.suites.setdefault(path.stem, []).append(path)


def _call(registry: Registry, plugin: str, hook: str) -> Iterator[Any]:
    for implementation in getattr(registry.manager.hook, hook).get_hookimpls():
        if implementation.plugin_name == plugin:
            function: Callable[[], Any] = implementation.function
            yield from function()


def _checked(component: Any) -> type[Component]:
    if not (isinstance(component, type) and issubclass(component, Component) and component.slot in INTERFACES):
        raise TypeError(f"pairbench_components gave {component!r}: expected subclasses of the four interfaces")
    if not (isinstance(component.name, str) and component.name.isidentifier()):
        raise TypeError(f"{component.__name__}.name is {component.name!r}: expected an identifier such as 'small_cnn'")
    missing = sorted(component.__abstractmethods__)
    if missing:
        raise TypeError(f"{component.__name__} lacks {', '.join(missing)}")
    return component


@functools.cache
def source_hash(module: Any) -> str:
    """SHA-256, 16 digits, over the Python and TOML files of the module's package; "" where it has no file."""
    file = getattr(module, "__file__", None)
    if file is None:
        return ""
    path = Path(file)
    files = [path]
    if path.name == "__init__.py":
        files = sorted(item for suffix in ("*.py", "*.toml") for item in path.parent.rglob(suffix))
    return hash_files(path.parent, files)


def hash_files(root: Path, files: list[Path]) -> str:
    """SHA-256, 16 digits, over the names below `root` and the contents of `files`."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(root).as_posix()}\0{file.stat().st_size}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
