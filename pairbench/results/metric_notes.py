"""Notes on plugin metrics in tables: which rounds lack them, and why."""

from __future__ import annotations

from collections.abc import Sequence

from pairbench.plugin.metrics import in_order
from pairbench.plugin.metrics import origin_of as metric_origin
from pairbench.results.results import Result
from pairbench.store.record import measured_by, origin_of
from pairbench.text import printable

_ANEW = "; pairbench run --fresh trains and measures them again"


def notes_on_metrics(results: Sequence[Result]) -> list[str]:
    """A line for each plugin metric that is missing in rounds, was computed by other code, or failed.

    A metric is missing in a round if another round of the same task and data has it.
    """
    notes = []
    for name in in_order(_measured(results)):
        origin = metric_origin(name)
        if origin is None:
            continue
        asked = {result.question for result in results if any(measured_by(r, name) for r in result.finished)}
        missing = other = null = 0
        for result in results:
            for record in result.finished if result.question in asked else []:
                source = measured_by(record, name)
                missing += source is None
                other += source is not None and source.get("source") != origin.source
                null += source is not None and record["metrics"].get(name) is None
        shown, home = printable(name, 60), printable(origin.distribution, 60)
        if missing:
            notes.append(f"{shown}: {_rounds(missing)} older than this metric of {home}, and without it{_ANEW}")
        if other:
            notes.append(
                f"{shown}: {_rounds(other, 'was', 'were')} measured by other code of {home}, and left out of it{_ANEW}"
            )
        if null:
            notes.append(f"{shown}: {_rounds(null)} left out of it, since it failed there or does not exist")
    return notes


def _measured(results: Sequence[Result]) -> set[str]:
    """The plugin metrics of any of the rounds."""
    # Records with the same origins have the same plugin metrics.
    records = {origin_of(record): record for result in results for record in result.finished}
    return {name for record in records.values() for name in record["provenance"].get("metrics", {})}


def _rounds(count: int, one: str = "is", many: str = "are") -> str:
    return f"1 round {one}" if count == 1 else f"{count} rounds {many}"
