"""Stored results: read back, ranked, compared and selected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pairbench.errors import SpecError
from pairbench.plugin.registry import installed
from pairbench.results.comparison import Verdicts, comparison_of, find
from pairbench.results.ranking import check_metric, ranked
from pairbench.results.results import Result, Results
from pairbench.store.known_rounds import Known
from pairbench.store.record import Record, group_of
from pairbench.store.store import Store
from pairbench.text import printable


def stored(store: Store, progress: Callable[[int, int], None] | None = None) -> Results:
    """Everything in the store, one result for each config, data and code.

    progress: called at intervals with the number of files read so far and their total.

    Raises:
        StoreError: the store cannot be read.
    """
    scan = store.digest(progress)
    groups: dict[str, list[Record]] = {}
    for record in scan.records:
        groups.setdefault(group_of(record), []).append(record)
    items = []
    for records in groups.values():
        known = Known.of(records)
        rounds = [*known.done.values(), *(r for key, r in known.failed.items() if key not in known.done)]
        rounds.sort(key=lambda record: int(record["round"]))
        first = rounds[0]
        known_untimed = scan.timed is not None and first["config_id"] not in scan.timed
        timings = [] if known_untimed else store.timings(first["config_id"])
        items.append(
            Result(
                str(first["provenance"].get("name", first["config_id"])),
                first["config_id"],
                first["config"],
                tuple(rounds),
                timings[-1] if timings else None,
            )
        )
    return Results(tuple(items), store.root, scan.damaged)


def leaderboard(
    store: str | Path | None = None,
    metric: str = "accuracy",
    progress: Callable[[int, int], None] | None = None,
) -> Results:
    """Everything in the store, best mean first.

    progress: called at intervals with the number of files read so far and their total.

    Raises:
        SpecError: no round has such a metric, or it has no better direction.
        StoreError: the store cannot be read.
    """

    results = stored(Store(store), progress)
    metrics = {name for item in results for name in item.metrics}
    if metrics:
        check_metric(metric, metrics)
    return Results(tuple(ranked(results.items, metric)), results.store, results.damaged, metric)


def compare(*names: str, store: str | Path | None = None, metric: str = "accuracy") -> Verdicts:
    """The paired verdict on every two of the named stored results; each is a spec, a name or a config_id.

    Raises:
        SpecError: one of them is not in the store, or there are fewer than two.
        StoreError: the store cannot be read.
    """
    results = stored(Store(store))
    return comparison_of(names, results, metric, installed())


def chosen(names: Sequence[str] = (), *, suite: str | None = None, store: str | Path | None = None) -> Results:
    """The stored results named by `names` (each a spec, a name or a config_id) or run by `suite`; else all.

    Raises:
        SpecError: a name is not in the store, or nothing is left.
        StoreError: the store cannot be read.
    """
    results = stored(Store(store))
    items = [find(name, results, installed()) for name in names] if names else list(results)
    if suite is not None:
        items = [item for item in items if any(r["provenance"].get("suite") == suite for r in item.records)]
    if not items:
        what = f"suite {suite}" if suite else "anything"
        raise SpecError(f"no records of {printable(what, 60)} in {printable(str(results.store))}. Run it first.")
    return Results(tuple(items), results.store, results.damaged)
