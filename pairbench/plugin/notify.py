"""Lets a dataset report progress while it reads, and notes that are shown with the results.

The caller of `PairDataset.load` or `digest` may listen; if it does not, reports are dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

OnProgress = Callable[[int, int, str], None]
OnNote = Callable[[str], None]


@dataclass(frozen=True)
class _Listener:
    progress: OnProgress | None
    note: OnNote | None


_listener: ContextVar[_Listener | None] = ContextVar("pairbench_listener", default=None)


@contextmanager
def heard_by(progress: OnProgress | None = None, note: OnNote | None = None) -> Generator[None]:
    """Within this block, `tell_progress` calls `progress` and `tell_note` calls `note`."""
    token = _listener.set(_Listener(progress, note))
    try:
        yield
    finally:
        _listener.reset(token)


def heard() -> bool:
    """Whether anybody listens."""
    return _listener.get() is not None


def tell_progress(done: int, total: int, what: str) -> None:
    """Report that `done` of `total` steps are done; `what` is a word or two, such as "decoding images"."""
    listener = _listener.get()
    if listener and listener.progress:
        listener.progress(done, total, what)


def tell_note(message: str) -> None:
    """Report something that a reader of the results has to know, such as how many images were skipped."""
    listener = _listener.get()
    if listener and listener.note:
        listener.note(message)
