"""What a run or a leaderboard returns: rounds of each config, their summaries, timings and failures."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairbench.config.run_config import canonical
from pairbench.config.suite import Published
from pairbench.plugin.metrics import origin_of as metric_origin
from pairbench.plugin.metrics import plain
from pairbench.results.statistics import Summary, summarise
from pairbench.store.record import (
    SPENT,
    STATUSES,
    Record,
    figures_of,
    locations_of,
    measured_by,
    metrics_of,
    origin_of,
    whole,
)

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Result:
    """The rounds of one config.

    name: its name in the run or suite.
    config: every option, by its key in a spec.
    records: one for each round that has ended, in the order of rounds.
    timing: the last timing on this machine, else None.
    published: figures published elsewhere, by metric.
    """

    name: str
    config_id: str
    config: dict[str, Any]
    records: tuple[Record, ...]
    timing: dict[str, Any] | None = None
    published: dict[str, Published] = field(default_factory=dict)
    note: str = ""

    @cached_property
    def summary(self) -> dict[str, Summary]:
        """Mean, spread and interval of each metric over the finished rounds; only finite values count."""
        found = {name: self.summary_of(name) for name in self.metrics}
        return {name: summary for name, summary in found.items() if summary is not None}

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that the finished rounds have values for."""
        return tuple(metrics_of(self.finished))

    def summary_of(self, metric: str) -> Summary | None:
        """The summary of one metric, without computing the others."""
        if metric not in self._summaries:
            self._summaries[metric] = summarise(list(self.values(metric).values()))
        return self._summaries[metric]

    @cached_property
    def _summaries(self) -> dict[str, Summary | None]:
        return {}

    @cached_property
    def question(self) -> str:
        """The same text for results that answer the same question on the same data, perhaps with other seeds."""
        origins = {origin_of(record): record for record in self.records}.values()
        places = {key for record in origins for key in locations_of(record)}
        data = {
            key: value
            for key, value in self.config.items()
            if (key == "dataset" or key.startswith("dataset.")) and key not in places
        }
        return canonical([data, sorted({record["provenance"]["data"] for record in origins})])

    @cached_property
    def _by_status(self) -> dict[str, list[Record]]:
        found: dict[str, list[Record]] = {status: [] for status in STATUSES}
        for record in self.records:
            found[record["status"]].append(record)
        return found

    @property
    def finished(self) -> list[Record]:
        """The records of rounds that finished."""
        return self._by_status["finished"]

    @property
    def failed(self) -> list[Record]:
        """The records of rounds that failed."""
        return self._by_status["failed"]

    @property
    def diverged(self) -> list[Record]:
        """The records of rounds whose loss became infinite or NaN."""
        return self._by_status["diverged"]

    @property
    def cost(self) -> dict[str, Any]:
        """parameters, flops_per_pair, and the medians of train_seconds, cpu_seconds and peak_mib; empty where no round
        has ended."""
        costs = [record["cost"] for record in self.records if record["cost"]]
        if not costs:
            return {}
        middle = len(costs) // 2
        spent = {name: sorted(cost[name] for cost in costs)[middle] for name in SPENT}
        return {"parameters": costs[0]["parameters"], "flops_per_pair": costs[0]["flops_per_pair"], **spent}

    def values(self, metric: str) -> dict[int, float]:
        """The finite values of `metric`, by round."""
        finished = self.finished
        if (current := self._current(metric)) is not None:
            finished = [
                record for record in finished if current == (measured_by(record, plain(metric)) or {}).get("source")
            ]
        found = zip([record["round"] for record in finished], figures_of(finished, metric), strict=True)
        return {number: value for number, value in found if value is not None and math.isfinite(value)}

    def _current(self, metric: str) -> str | None:
        """The source whose figures of `metric` count, where a plugin brings it; None where all do."""
        origin = metric_origin(metric)
        return None if origin is None else origin.source

    def to_dict(self) -> dict[str, Any]:
        """This result as plain values, in the form that `--format json` prints."""
        value: dict[str, Any] = {
            "name": self.name,
            "config_id": self.config_id,
            "config": self.config,
            "summary": {metric: asdict(summary) for metric, summary in self.summary.items()},
            "rounds": [whole(record) for record in self.records],
            "timing": self.timing,
        }
        if self.published:
            value["published"] = {metric: asdict(figure) for metric, figure in self.published.items()}
        return value


@dataclass(frozen=True)
class Results(Sequence[Result]):
    """Results in the order of the run, or ranked; prints as a table, converts to JSON, CSV, Markdown and pandas.

    store: the folder that holds the records.
    damaged: files of the store that were skipped, each with the reason.
    metric: the metric that the results are ranked by; None if they are in the order of the run.
    notes: remarks for the reader.
    models: the files of saved models, by config_id and round; empty unless requested.
    """

    items: tuple[Result, ...]
    store: Path
    damaged: dict[Path, str] = field(default_factory=dict)
    metric: str | None = None
    notes: tuple[str, ...] = ()
    models: dict[str, dict[int, Path]] = field(default_factory=dict)

    def __getitem__(self, index: int | slice | str) -> Any:
        """The result at `index`, or the one of that name or config_id."""
        if isinstance(index, str):
            found = [item for item in self.items if index in (item.name, item.config_id)]
            if not found:
                raise KeyError(index)
            return found[0]
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Result]:
        return iter(self.items)

    @property
    def failed(self) -> int:
        """The number of failed rounds."""
        return sum(len(item.failed) for item in self.items)

    def to_dict(self) -> dict[str, Any]:
        """The results as plain values, in the form that `--format json` prints."""
        return {"schema": 1, "results": [item.to_dict() for item in self.items], **self._aside()}

    def _aside(self) -> dict[str, Any]:
        value: dict[str, Any] = {}
        if self.damaged:
            value["damaged"] = {str(path): reason for path, reason in self.damaged.items()}
        if self.models:
            value["models"] = {
                name: {str(number): str(path) for number, path in files.items()} for name, files in self.models.items()
            }
        return value

    def to_json(self) -> str:
        """The results as one JSON document."""
        return "".join(self.json_parts())

    def json_parts(self) -> Iterator[str]:
        """The parts of `to_json`, one result each: records of a large store are read one config at a time."""
        yield '{\n "schema": 1,\n "results": ['
        for place, item in enumerate(self.items):
            text = json.dumps(item.to_dict(), indent=1, allow_nan=False)
            yield f"{',' * (place > 0)}\n  " + text.replace("\n", "\n  ")
        yield "\n ]" if self.items else "]"
        for name, value in self._aside().items():
            yield f',\n "{name}": ' + json.dumps(value, indent=1, allow_nan=False).replace("\n", "\n ")
        yield "\n}"

    def to_markdown(self) -> str:
        """The table as Markdown."""
        from pairbench.results import render, tables

        return render.to_markdown(tables.of_results(self))

    def to_csv(self) -> str:
        """One line for each config: its options' spec, and mean, std, low, high and rounds of each metric."""
        from pairbench.results import tables

        return "".join(tables.results_csv(self))

    def to_pandas(self) -> pandas.DataFrame:
        """One row for each round: name, config_id, round, status, metrics, cost and options.

        Raises:
            ImportError: pandas is not installed.
        """
        import pandas

        rows = [
            {
                "name": item.name,
                "config_id": item.config_id,
                "round": record["round"],
                "status": record["status"],
                **record["metrics"],
                **record["cost"],
                **{key: str(value) if isinstance(value, list | dict) else value for key, value in item.config.items()},
            }
            for item in self.items
            for record in item.records
        ]
        return pandas.DataFrame(rows)

    def __str__(self) -> str:
        from pairbench.results import render, tables

        return render.to_text(tables.of_results(self))

    def __rich__(self) -> Any:
        from pairbench.results import render, tables

        return render.to_rich(tables.of_results(self))

    def _repr_html_(self) -> str:
        from pairbench.results import render, tables

        return render.to_html(tables.of_results(self))
