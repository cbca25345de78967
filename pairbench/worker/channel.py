"""Where a worker says what it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Channel:
    """Called with each event.

    send: takes it.
    used: whether this process has trained something else before. That may be why a round fails now: it then ends the
        process and is not recorded, so that it is trained again alone.
    """

    send: Callable[[dict[str, Any]], None]
    used: bool = False

    def __call__(self, event: dict[str, Any]) -> None:
        """Say `event`."""
        self.send(event)
