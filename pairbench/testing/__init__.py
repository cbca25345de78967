"""The conformance kit: every rule for components, as one pytest case for each recipe and rule.

A plugin's test file is three lines:

    import pairbench.testing
    from my_plugin import Pooled

    test_pooled = pairbench.testing.conformance(Pooled(), Pooled(embedding_dim=32))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pairbench.testing.checks import CHECKS, Check, checks_for
    from pairbench.testing.kit import ConformanceError, Finding, conformance, examine, label

_HOMES = {
    "checks": ["CHECKS", "Check", "checks_for"],
    "kit": ["ConformanceError", "Finding", "conformance", "examine", "label"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "CHECKS",
    "Check",
    "ConformanceError",
    "Finding",
    "checks_for",
    "conformance",
    "examine",
    "label",
]


def __getattr__(name: str) -> Any:
    # pytest loads this package in every test run, whether the kit is used or not.
    if name not in _HOME_OF:
        raise AttributeError(f"module 'pairbench.testing' has no attribute {name!r}")
    return getattr(import_module(f"pairbench.testing.{_HOME_OF[name]}"), name)
