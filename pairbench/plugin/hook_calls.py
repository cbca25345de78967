"""Calls hooks through pluggy so that a plugin that fails does not affect the others.

pluggy ends a call at the first implementation that raises. Here a guard is registered around every implementation: it
reports an error with the plugin's name, and the call continues as if the implementation did not exist. Order (tryfirst,
trylast), both kinds of wrappers and firstresult work as in pluggy.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Generator, Sequence
from contextvars import ContextVar
from typing import Any

import pluggy

PROJECT = "pairbench"


class Watcher:
    """Observes the hook calls within `watched_by`; its methods change nothing unless they are overridden."""

    def taken(self, values: Sequence[Any]) -> Sequence[Any]:
        """The arguments that an implementation gets instead of `values`."""
        return values

    def given(self, plugin: str, value: Any) -> Any:  # noqa: ARG002
        """The result to use for an implementation that returned `value`; an error here counts as its failure."""
        return value

    def kept(self, value: Any) -> Any:
        """A copy of a result that a wrapper may change in place."""
        return value

    def changed(self, plugin: str, before: Any, after: Any) -> Any:  # noqa: ARG002
        """The result to use for a wrapper that turned `before` into `after`; an error here counts as its failure."""
        return after

    def failed(self, plugin: str, hook: str, error: BaseException) -> None:
        """An implementation has raised `error`."""


_watcher: ContextVar[Watcher | None] = ContextVar("pairbench_watcher", default=None)


@contextlib.contextmanager
def watched_by(watcher: Watcher) -> Generator[None]:
    """Within this block, plugins that fail in a hook are reported to `watcher`; elsewhere they raise."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


class GuardedManager(pluggy.PluginManager):
    """A plugin manager that isolates plugins from each other in hook calls within `watched_by`."""

    def register(self, plugin: object, name: str | None = None) -> str | None:
        """Register `plugin` behind a guard, and return its name."""
        known = name or self.get_canonical_name(plugin)
        return super().register(_Guarded(self, plugin, known), known)


class _Guarded:
    """The guarded hook implementations of a plugin; equal to the plugin itself."""

    def __init__(self, manager: pluggy.PluginManager, plugin: object, name: str) -> None:
        self._plugin = plugin
        for attribute in dir(plugin):
            options = manager.parse_hookimpl_opts(plugin, attribute)
            if options is not None:
                setattr(self, attribute, _guarded(getattr(plugin, attribute), options, name, attribute))

    def __eq__(self, other: object) -> bool:
        return (other._plugin if isinstance(other, _Guarded) else other) is self._plugin

    def __hash__(self) -> int:
        return id(self._plugin)


def _guarded(function: Callable[..., Any], options: Any, plugin: str, attribute: str) -> Callable[..., Any]:
    hook = options.get("specname") or attribute
    wraps = options.get("wrapper") or options.get("hookwrapper")
    if not wraps:
        guard = _guarded_call(function, plugin, hook)
    elif inspect.isgeneratorfunction(function):
        guard = _guarded_wrapper(function, plugin, hook, old=bool(options.get("hookwrapper")))
    else:
        # pluggy itself reports what is wrong with it.
        return function
    setattr(guard, f"{PROJECT}_impl", options)
    return guard


def _guarded_call(function: Callable[..., Any], plugin: str, hook: str) -> Callable[..., Any]:
    @functools.wraps(function)
    def guard(*args: Any, **named: Any) -> Any:
        watcher = _watcher.get()
        if watcher is None:
            return function(*args, **named)
        try:
            return watcher.given(plugin, function(*watcher.taken(args), **_named(watcher, named)))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, SystemExit too
            watcher.failed(plugin, hook, error)
            return None

    return guard


def _guarded_wrapper(function: Callable[..., Any], plugin: str, hook: str, *, old: bool) -> Callable[..., Any]:
    @functools.wraps(function)
    def guard(*args: Any, **named: Any) -> Generator[None, Any, Any]:
        watcher = _watcher.get()
        if watcher is None:
            return (yield from function(*args, **named))
        try:
            inner = function(*watcher.taken(args), **_named(watcher, named))
            next(inner)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001
            watcher.failed(plugin, hook, _said(error, "did not yield"))
            return (yield)
        try:
            result = yield
        except BaseException as error:
            # Ctrl-C in an implementation: the wrapper may clean up, but cannot suppress it.
            with contextlib.suppress(BaseException):
                inner.throw(error)
            raise
        before = watcher.kept(result.get_result() if old else result)
        try:
            after = _ended(inner, result)
            return watcher.changed(plugin, before, result.get_result() if old else after)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001
            watcher.failed(plugin, hook, error)
            if old:
                result.force_result(before)
            return before

    return guard


def _ended(inner: Generator[None, Any, Any], result: Any) -> Any:
    """What the wrapper returns after it is sent `result`."""
    try:
        inner.send(result)
    except StopIteration as end:
        return end.value
    inner.close()
    raise RuntimeError("the wrapper has a second yield")


def _said(error: BaseException, otherwise: str) -> BaseException:
    return RuntimeError(f"the wrapper {otherwise}") if isinstance(error, StopIteration) else error


def _named(watcher: Watcher, named: dict[str, Any]) -> dict[str, Any]:
    return dict(zip(named, watcher.taken(tuple(named.values())), strict=True))
