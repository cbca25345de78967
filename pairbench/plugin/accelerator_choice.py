"""Which accelerators may be used: all that are installed, or those that PAIRBENCH_ACCELERATORS names."""

from __future__ import annotations

import os

from pairbench.errors import SpecError
from pairbench.plugin.accelerators import Accelerator
from pairbench.plugin.registry import Registry
from pairbench.text import did_you_mean, quoted

CHOICE = "PAIRBENCH_ACCELERATORS"


def allowed(registry: Registry) -> dict[str, Accelerator]:
    """The accelerators that may be used, by name.

    Raises:
        SpecError: PAIRBENCH_ACCELERATORS names one that is not installed.
    """
    known = {name: item.accelerator for name, item in registry.accelerators.items()}
    names = [name.strip() for name in os.environ.get(CHOICE, "").split(",") if name.strip()]
    if not names:
        return known
    if names == ["off"]:
        return {}
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known)
            raise SpecError(f"{CHOICE}={quoted(name)}: no such accelerator is installed.{hint} Or set it to off.")
    return {name: known[name] for name in dict.fromkeys(names)}
