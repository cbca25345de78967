"""The stored rounds among those that a run asks for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pairbench.store.record import Record, key_of


@dataclass
class Known:
    """Stored rounds by key: the finished or diverged record, else the last failure."""

    done: dict[str, Record] = field(default_factory=dict)
    failed: dict[str, Record] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Iterable[Record]) -> Known:
        """Sort `records` by key."""
        known = cls()
        for record in records:
            key = key_of(record)
            if record["status"] != "failed":
                known.done[key] = record
            elif (
                key not in known.failed or known.failed[key]["provenance"]["created"] <= record["provenance"]["created"]
            ):
                known.failed[key] = record
        return known

    def record(self, key: str) -> Record | None:
        """The record for `key`."""
        return self.done.get(key) or self.failed.get(key)
