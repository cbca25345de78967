"""What was measured before: results read back from the store, ranked, compared, chosen."""

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

    progress: called now and then with how many files have been read and how many there are.

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

    progress: called now and then with how many files have been read and how many there are.

    Raises:
        SpecError: no round has such a metric, or no side of it is better.
        StoreError: the store cannot be read.
    """

    results = stored(Store(store), progress)
    metrics = {name for item in results for name in item.metrics}
    if metrics:
        check_metric(metric, metrics)
    return Results(tuple(ranked(results.items, metric)), results.store, results.damaged, metric)


def compare(*names: str, store: str | Path | None = None, metric: str = "accuracy") -> Verdicts:
    """The paired verdict on each two of the named results of the store; a name is a spec, a name or a config_id.

    Raises:
        SpecError: one of them is not in the store, or there are fewer than two.
        StoreError: the store cannot be read.
    """
    results = stored(Store(store))
    return comparison_of(names, results, metric, installed())


def chosen(names: Sequence[str] = (), *, suite: str | None = None, store: str | Path | None = None) -> Results:
    """The results of the store that `names` name (each a spec, a name or a config_id) or that `suite` ran; else all.

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
