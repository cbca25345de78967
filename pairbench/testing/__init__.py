"""The conformance kit: every rule that a component has to keep, as one pytest case for each recipe and rule.

A plugin's test file is three lines:

    import pairbench.testing
    from my_plugin import Pooled

    test_pooled = pairbench.testing.conformance(Pooled(), Pooled(embedding_dim=32))
"""

from pairbench.testing.checks import CHECKS, Check, checks_for
from pairbench.testing.kit import ConformanceError, Finding, conformance, examine, label

__all__ = ["CHECKS", "Check", "ConformanceError", "Finding", "checks_for", "conformance", "examine", "label"]
