"""What a record says of the accelerators that computed its round, and whether their code has changed since."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pairbench.plugin.registry import Registry, installed


def described(names: Iterable[str], registry: Registry | None = None) -> dict[str, dict[str, str]]:
    """The distribution, version and code digest of each accelerator of `names`, which a record stores."""
    known = (registry or installed()).accelerators
    return {
        name: {
            "distribution": known[name].origin.distribution,
            "version": known[name].origin.version,
            "source": known[name].accelerator.fingerprint(),
        }
        for name in names
    }


def outdated(record: Mapping[str, Any], registry: Registry | None = None) -> bool:
    """Whether an accelerator that computed this round has other code today.

    One that is no longer installed changes nothing: the round stays valid.
    """
    stored = record["provenance"].get("accelerators")
    if not isinstance(stored, Mapping) or not stored:
        return False
    known = (registry or installed()).accelerators
    return any(
        name in known and (not isinstance(item, Mapping) or item.get("source") != known[name].accelerator.fingerprint())
        for name, item in stored.items()
    )
