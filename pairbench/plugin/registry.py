"""Finds the installed plugins, what they contain, and which of them fail.

Every plugin, bundled or not, is found by an entry point of the group `pairbench`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pairbench import __version__
from pairbench.environment import seconds_from
from pairbench.errors import SpecError
from pairbench.plugin import hooks
from pairbench.plugin.accelerators import Accelerator
from pairbench.plugin.components import INTERFACES, Component
from pairbench.plugin.core_metrics import CORE
from pairbench.plugin.executors import Executor
from pairbench.plugin.gathering import PluginError, gather, shown
from pairbench.plugin.hook_calls import PROJECT, GuardedManager
from pairbench.plugin.metric_specs import MetricSpec
from pairbench.plugin.selection import CHOICE, admitted, chosen, deleted, distribution_of, misfit, unmatched
from pairbench.plugin.trackers import Tracker
from pairbench.text import one_line, printable, quoted, unknown

GROUP = "pairbench"
IMPORT_LIMIT = "PAIRBENCH_IMPORT_SECONDS"
IMPORT_SECONDS = 60.0


@dataclass(frozen=True)
class Origin:
    """The origin of a component: distribution, version, plugin (entry point) and a hash of the plugin's source."""

    distribution: str
    version: str
    plugin: str
    source: str


@dataclass(frozen=True)
class Installed:
    """A component and its origin."""

    component: type[Component]
    origin: Origin


@dataclass(frozen=True)
class InstalledMetric:
    """A metric and its origin, whose `plugin` is "" for those of the core."""

    spec: MetricSpec
    origin: Origin


@dataclass(frozen=True)
class InstalledAccelerator:
    """An accelerator and its origin."""

    accelerator: Accelerator
    origin: Origin


@dataclass(frozen=True)
class Failure:
    """A plugin that cannot be used: its name, its distribution, the reason on one line, and the traceback."""

    plugin: str
    distribution: str
    reason: str
    traceback: str = ""


def core_metrics() -> dict[str, list[InstalledMetric]]:
    """The core's own metrics, by name."""
    origin = Origin("pairbench", __version__, "", "")
    return {spec.name: [InstalledMetric(spec, origin)] for spec in CORE}


Kind = TypeVar("Kind", type[Tracker], type[Executor])


@dataclass
class Registry:
    """Everything that is installed.

    components: for each slot, for each name, everything that claims the name (more than one is an ambiguity).
    suites: for each name, the files that define it.
    failures: the plugins that cannot be used.
    manager: calls the event hooks.
    plugins: the plugins that work, in loading order.
    disabled: the plugins that PAIRBENCH_PLUGINS or --no-plugins leaves out, as (plugin, distribution).
    suite_homes: the distribution of each suite file.
    trackers: for each name, every tracker that claims it, by its distribution.
    executors: for each name, every executor that claims it, by its distribution.
    executor_origins, tracker_origins: the origin of each of them.
    metrics: for each name, every metric that claims it, the core's own first.
    accelerators: by name; as `distribution:name` where several plugins use the name.
    """

    components: dict[str, dict[str, list[Installed]]]
    suites: dict[str, list[Path]]
    failures: list[Failure]
    manager: GuardedManager
    plugins: list[Origin] = field(default_factory=list)
    disabled: list[tuple[str, str]] = field(default_factory=list)
    suite_homes: dict[Path, str] = field(default_factory=dict)
    trackers: dict[str, dict[str, type[Tracker]]] = field(default_factory=dict)
    executors: dict[str, dict[str, type[Executor]]] = field(default_factory=dict)
    executor_origins: dict[type[Executor], Origin] = field(default_factory=dict)
    tracker_origins: dict[type[Tracker], Origin] = field(default_factory=dict)
    metrics: dict[str, list[InstalledMetric]] = field(default_factory=core_metrics)
    accelerators: dict[str, InstalledAccelerator] = field(default_factory=dict)

    def find(self, slot: str, name: str, home: str = "") -> Installed:
        """The component called `name`, or `distribution:name`, in `slot`; if several claim it, that of `home`.

        Raises:
            SpecError: there is none, or two plugins claim the name.
        """
        distribution, _, plain = name.rpartition(":")
        known = self.components[slot]
        claims = [
            found for found in known.get(plain, []) if not distribution or found.origin.distribution == distribution
        ]
        at_home = [claim for claim in claims if claim.origin.distribution == home]
        claims = at_home if len(claims) > 1 and at_home else claims
        if not claims:
            raise SpecError(f"{unknown(slot, name, known)}{self._absent()}")
        if len(claims) > 1:
            names = " or ".join(f"{slot}={claim.origin.distribution}:{plain}" for claim in claims)
            raise SpecError(f"{slot} {quoted(plain)} is claimed by {len(claims)} plugins. Write {printable(names)}.")
        return claims[0]

    def find_tracker(self, name: str) -> type[Tracker]:
        """The tracker called `name`, or `distribution:name`.

        Raises:
            SpecError: there is none, or two plugins claim the name.
        """
        return self._claimed("tracker", name, self.trackers)

    def find_executor(self, name: str) -> type[Executor]:
        """The executor called `name`, or `distribution:name`.

        Raises:
            SpecError: there is none, or two plugins claim the name.
        """
        return self._claimed("executor", name, self.executors)

    def _claimed(self, what: str, name: str, known: Mapping[str, Mapping[str, Kind]]) -> Kind:
        distribution, _, plain = name.rpartition(":")
        claims = {home: kind for home, kind in known.get(plain, {}).items() if not distribution or home == distribution}
        if not claims:
            raise SpecError(f"{unknown(what, name, known)}{self._absent()}")
        if len(claims) > 1:
            names = " or ".join(f"{home}:{plain}" for home in claims)
            raise SpecError(f"{what} {quoted(plain)} is claimed by {len(claims)} plugins. Write {printable(names)}.")
        return next(iter(claims.values()))

    def _absent(self) -> str:
        """The plugins that failed or are disabled, for the end of an error about an unknown name."""
        failed = ", ".join(failure.plugin for failure in self.failures)
        hint = f" Plugins that failed to load: {printable(failed)} (see 'pairbench doctor')." if failed else ""
        off = ", ".join(plugin for plugin, _ in self.disabled)
        return hint + (f" Plugins left out by {CHOICE} or --no-plugins: {printable(off)}." if off else "")

    def conflicts(self) -> list[str]:
        """One line for each name that more than one distribution claims, with the ways to write it."""
        return [
            f"{slot} {quoted(name)} is claimed by {len(claims)} plugins. Write "
            + printable(" or ".join(f"{slot}={claim.origin.distribution}:{name}" for claim in claims))
            for slot, known in self.components.items()
            for name, claims in sorted(known.items())
            if len(claims) > 1
        ] + [conflict for name in sorted(self.metrics) if (conflict := self.metric_conflict(name))]

    def metric_conflict(self, name: str) -> str:
        """One line on how to write the metric `name` if more than one distribution claims it; else ""."""
        claims = self.metrics.get(name, [])
        if len(claims) < 2:
            return ""
        names = " or ".join(f"{claim.origin.distribution}:{name}" for claim in claims)
        return f"metric {quoted(name)} is claimed by {len(claims)} plugins. Write {printable(names)}."

    def names(self, slot: str) -> list[str]:
        """The names in `slot`, sorted."""
        return sorted(self.components[slot])

    def origin_of(self, component: type[Component]) -> Origin:
        """The origin of `component`; its own module if it belongs to no plugin."""
        for claim in self.components[component.slot].get(component.name, []):
            if claim.component is component:
                return claim.origin
        module = component.__module__
        return Origin(module.split(".")[0], "", "", source_hash(sys.modules.get(module)))


def load(group: str = GROUP) -> Registry:
    """A registry of everything installed; a plugin that fails is skipped and listed in `failures`."""
    manager = GuardedManager(PROJECT)
    manager.add_hookspecs(hooks)
    registry = Registry({slot: {} for slot in INTERFACES}, {}, [], manager)
    entries = [entry for entry in entry_points(group=group) if not deleted(entry)]
    entries.sort(key=lambda entry: (distribution_of(entry)[0], entry.name))
    choice = chosen()
    for name, reason in unmatched(entries, choice).items():
        registry.failures.append(Failure(printable(name, 60), CHOICE, reason))
    origins: dict[str, Origin] = {}
    # What a plugin prints while it is imported must not mix with the JSON that a command prints.
    with contextlib.redirect_stdout(sys.stderr):
        for entry in entries:
            if admitted(entry, choice):
                _register(registry, entry, origins)
            else:
                registry.disabled.append((entry.name, distribution_of(entry)[0]))
        brought = _gathered(registry, origins)
    registry.plugins.extend(origins.values())
    for plugin, component in brought["pairbench_components"]:
        known = registry.components[component.slot]
        known.setdefault(component.name, []).append(Installed(component, origins[plugin]))
    for plugin, path in brought["pairbench_suites"]:
        registry.suites.setdefault(path.stem, []).append(path)
        registry.suite_homes[path] = origins[plugin].distribution
    for plugin, tracker in brought["pairbench_trackers"]:
        registry.trackers.setdefault(tracker.name, {})[origins[plugin].distribution] = tracker
        registry.tracker_origins[tracker] = origins[plugin]
    for plugin, spec in brought["pairbench_metrics"]:
        registry.metrics.setdefault(spec.name, []).append(InstalledMetric(spec, origins[plugin]))
    for plugin, executor in brought["pairbench_executors"]:
        registry.executors.setdefault(executor.name, {})[origins[plugin].distribution] = executor
        registry.executor_origins[executor] = origins[plugin]
    accelerators = [(item, origins[plugin]) for plugin, item in brought["pairbench_accelerators"]]
    registry.accelerators = _accelerators(accelerators)
    return registry


def _accelerators(brought: list[tuple[Accelerator, Origin]]) -> dict[str, InstalledAccelerator]:
    names = [item.name for item, _ in brought]
    return {
        item.name if names.count(item.name) == 1 else f"{origin.distribution}:{item.name}": InstalledAccelerator(
            item, origin
        )
        for item, origin in brought
    }


@functools.cache
def installed() -> Registry:
    """The registry of this process, loaded once."""
    return load()


def _register(registry: Registry, entry: EntryPoint, origins: dict[str, Origin]) -> None:
    """Import the plugin of `entry` and let its hooks be called; if that fails, it is added to `failures`.

    Raises:
        SpecError: PAIRBENCH_IMPORT_SECONDS is no number above 0.
    """
    distribution, version = distribution_of(entry)
    key = f"{distribution}:{entry.name}"
    origin = Origin(distribution, version, entry.name, "")
    limit = seconds_from(IMPORT_LIMIT, IMPORT_SECONDS)
    try:
        if reason := misfit(entry, __version__):
            raise PluginError(reason)
        with _bounded(limit):
            plugin = entry.load()
        registry.manager.register(plugin, name=key)
        registry.manager.check_pending()
        origins[key] = replace(origin, source=_package_hash(entry.module))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a plugin may raise anything at import, SystemExit too
        _drop(registry, key, origin, error)


def _gathered(registry: Registry, origins: dict[str, Origin]) -> dict[str, list[tuple[str, Any]]]:
    """(plugin, item) for everything that the hooks in BROUGHT return, in the order of `origins`.

    A plugin that fails is removed from `registry` and `origins`, and all hooks are called again, so that nothing it
    returned or changed is left.
    """
    order = list(origins)
    while True:
        found = {hook: gather(registry.manager, hook, check) for hook, check in BROUGHT.items()}
        items = {hook: sorted(part.items, key=lambda item: order.index(item[0])) for hook, part in found.items()}
        named = [(plugin, component.slot, component.name) for plugin, component in items["pairbench_components"]]
        named += [(plugin, "metric", spec.name) for plugin, spec in items["pairbench_metrics"]]
        named += [(plugin, "executor", kind.name) for plugin, kind in items["pairbench_executors"]]
        named += [(plugin, "accelerator", item.name) for plugin, item in items["pairbench_accelerators"]]
        failures = _named_twice(named, origins)
        for part in found.values():
            failures |= part.failures
        if not failures:
            return items
        for key in sorted(failures, key=order.index):
            _drop(registry, key, origins.pop(key), failures[key])


def _drop(registry: Registry, key: str, origin: Origin, error: BaseException) -> None:
    """Remove a plugin, and add it to `failures`."""
    if registry.manager.has_plugin(key):
        registry.manager.unregister(name=key)
    text = "".join(traceback.format_exception(error))
    registry.failures.append(Failure(origin.plugin, origin.distribution, reason_of(error), text))


@contextlib.contextmanager
def _bounded(limit: float) -> Iterator[None]:
    """Within this block a plugin can neither end this process nor take longer than `limit` seconds.

    The time limit needs signals, so it only works in the main thread of POSIX systems, and not in C code that never
    returns.
    """
    leave, process = os._exit, os.getpid()

    def stay(code: int) -> NoReturn:
        if os.getpid() != process:
            leave(code)
        raise PluginError(f"it called os._exit({code}) while it was imported")

    def late(*_: object) -> None:
        raise PluginError(f"its import took more than {limit:g} s")

    timed = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    # Do not replace an alarm that is already set, such as the time limit of a test.
    timed = timed and signal.getitimer(signal.ITIMER_REAL)[0] == 0
    before = signal.signal(signal.SIGALRM, late) if timed else None
    os._exit = stay  # type: ignore[assignment]
    try:
        if timed:
            signal.setitimer(signal.ITIMER_REAL, limit)
        yield
    finally:
        os._exit = leave
        if timed:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


def reason_of(error: BaseException) -> str:
    """What went wrong, on one line; a PluginError needs no type in front."""
    try:
        text = one_line(error)
    except Exception:  # noqa: BLE001 - even str() of a plugin's error may fail
        text = type(error).__name__
    kind = type(error).__name__
    return printable(text if isinstance(error, PluginError) or text == kind else f"{kind}: {text}")


def _checked(component: Any) -> type[Component]:
    if not (isinstance(component, type) and issubclass(component, Component)):
        raise PluginError(f"pairbench_components gave {shown(component)}: expected classes of the four interfaces")
    interface = INTERFACES.get(str(component.slot))
    if interface is None or not issubclass(component, interface):
        names = ", ".join(one.__name__ for one in INTERFACES.values())
        raise PluginError(f"{component.__name__} has slot {shown(component.slot)}: expected a subclass of {names}")
    _refuse_unfinished(component, "small_cnn")
    return component


def _refuse_unfinished(
    kind: type[Component] | type[Tracker] | type[Accelerator] | type[Executor], such_as: str
) -> None:
    """Reject a class without a name, or without a method that its interface requires."""
    if not (isinstance(kind.name, str) and kind.name.isidentifier()):
        raise PluginError(f"{kind.__name__}.name is {shown(kind.name)}: expected one such as '{such_as}'")
    missing = sorted(kind.__abstractmethods__)
    if missing:
        raise PluginError(f"{kind.__name__} lacks {', '.join(missing)}")


def _named_twice(named: list[tuple[str, str, str]], origins: dict[str, Origin]) -> dict[str, BaseException]:
    """The error of each plugin in `named` (plugin, slot, name) whose distribution has a name twice.

    `distribution:name` would be ambiguous.
    """
    taken: set[tuple[str, str, str]] = set()
    failures: dict[str, BaseException] = {}
    for plugin, slot, name in named:
        try:
            _refuse_twice(taken, origins[plugin].distribution, slot, name)
        except PluginError as error:
            failures[plugin] = error
    return failures


def _refuse_twice(taken: set[tuple[str, str, str]], distribution: str, slot: str, name: str) -> None:
    if (distribution, slot, name) in taken:
        raise PluginError(f"{distribution} has {slot} {quoted(name)} twice")
    taken.add((distribution, slot, name))


def _suite(path: Any) -> Path:
    if not isinstance(path, str | Path):
        raise PluginError(f"pairbench_suites gave {shown(path)}: expected paths")
    return Path(path)


def _tracker(tracker: Any) -> type[Tracker]:
    if not (isinstance(tracker, type) and issubclass(tracker, Tracker)):
        raise PluginError(f"pairbench_trackers gave {shown(tracker)}: expected subclasses of pairbench.Tracker")
    _refuse_unfinished(tracker, "my_tracker")
    return tracker


def _executor(executor: Any) -> type[Executor]:
    if not (isinstance(executor, type) and issubclass(executor, Executor)):
        raise PluginError(f"pairbench_executors gave {shown(executor)}: expected subclasses of pairbench.Executor")
    _refuse_unfinished(executor, "my_cluster")
    return executor


def _accelerator(accelerator: Any) -> Accelerator:
    if not isinstance(accelerator, Accelerator):
        raise PluginError(f"pairbench_accelerators gave {shown(accelerator)}: expected pairbench.Accelerator instances")
    _refuse_unfinished(type(accelerator), "my_kernels")
    return accelerator


def _metric(spec: Any) -> MetricSpec:
    if not isinstance(spec, MetricSpec):
        raise PluginError(f"pairbench_metrics gave {shown(spec)}: expected MetricSpec values")
    if spec.name in core_metrics():
        raise PluginError(f"metric {quoted(spec.name)} is claimed by pairbench itself. Rename it")
    return spec


# The hooks that return lists, and the check of their items.
BROUGHT: Mapping[str, Callable[[Any], Any]] = {
    "pairbench_components": _checked,
    "pairbench_suites": _suite,
    "pairbench_trackers": _tracker,
    "pairbench_metrics": _metric,
    "pairbench_accelerators": _accelerator,
    "pairbench_executors": _executor,
}


def _package_hash(module: str) -> str:
    """The source hash of the package that `module` is in: the outermost one that has a file."""
    parts = module.split(".")
    if parts[0] == GROUP:
        # Of the core, only what the entry point names.
        return source_hash(sys.modules.get(module))
    names = (".".join(parts[:count]) for count in range(1, len(parts) + 1))
    return next((found for name in names if (found := source_hash(sys.modules.get(name)))), "")


@functools.cache
def source_hash(module: Any) -> str:
    """SHA-256, 16 digits, over the Python and TOML files of the module's package; "" if it has no file."""
    file = getattr(module, "__file__", None)
    if file is None:
        return ""
    path = Path(file)
    files = [path]
    if path.name == "__init__.py":
        files = sorted(item for suffix in ("*.py", "*.toml") for item in path.parent.rglob(suffix))
    return hash_files(path.parent, files)


def hash_files(root: Path, files: list[Path]) -> str:
    """SHA-256, 16 digits, over the contents of `files` and their paths relative to `root`."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(root).as_posix()}\0{file.stat().st_size}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
