"""Collects what plugins return from a hook that returns lists, and which plugin each item comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pairbench.errors import PairbenchError
from pairbench.plugin.hook_calls import GuardedManager, Watcher, watched_by
from pairbench.text import printable


class PluginError(PairbenchError):
    """A plugin cannot be used: its hooks return something wrong, or it needs another version of pairbench."""


@dataclass
class Gathered:
    """What plugins returned from one hook.

    items: (plugin, item), in the order of pluggy's call.
    failures: the error of each plugin that failed.
    """

    items: list[tuple[str, Any]] = field(default_factory=list)
    failures: dict[str, BaseException] = field(default_factory=dict)


def gather(manager: GuardedManager, hook: str, check: Callable[[Any], Any]) -> Gathered:
    """Everything that the plugins return from `hook`.

    check: returns a valid item, or raises PluginError.
    """
    watcher = _Gatherer(hook, check)
    with watched_by(watcher):
        lists = getattr(manager.hook, hook)()
    items = []
    for item in (item for part in lists for item in part):
        owner = watcher.owner_of(item)
        if owner is not None:
            items.append((owner, item))
    return Gathered(items, watcher.failures)


class _Gatherer(Watcher):
    """Records which plugin returns what while one hook is called."""

    def __init__(self, hook: str, check: Callable[[Any], Any]) -> None:
        self._hook, self._check = hook, check
        self._brought: list[tuple[str, Any]] = []
        self.failures: dict[str, BaseException] = {}

    def given(self, plugin: str, value: Any) -> list[Any]:
        items = [self._check(item) for item in self._list(value)]
        self._brought += [(plugin, item) for item in items]
        return items

    def kept(self, value: Any) -> list[Any]:
        return [list(part) for part in value]

    def changed(self, plugin: str, before: Any, after: Any) -> list[Any]:
        lists = [[self._check(item) for item in self._list(part)] for part in self._list(after)]
        left = [item for part in before for item in part]
        for item in (item for part in lists for item in part):
            if item in left:
                left.remove(item)
            else:
                self._brought.append((plugin, item))
        return lists

    def failed(self, plugin: str, hook: str, error: BaseException) -> None:  # noqa: ARG002
        self.failures.setdefault(plugin, error)

    def owner_of(self, item: Any) -> str | None:
        """The plugin that returned `item`, once for each time it did; None after that."""
        for at, (plugin, brought) in enumerate(self._brought):
            if brought == item:
                del self._brought[at]
                return plugin
        return None

    def _list(self, value: Any) -> list[Any] | tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise PluginError(f"{self._hook} gave {shown(value)}: expected a list")
        return value


def shown(value: Any) -> str:
    """A plugin's value, short and safe to print."""
    return printable(repr(value), 60)
