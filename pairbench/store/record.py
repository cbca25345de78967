"""One finished, diverged or failed round as plain JSON: what is in it, what it is known by, and its checksum."""

from __future__ import annotations

import datetime
import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import pairbench
from pairbench.config.run_config import RunConfig, canonical, id_of
from pairbench.errors import StoreError
from pairbench.plugin.dotted import code_of
from pairbench.plugin.metrics import sources
from pairbench.plugin.registry import Registry, hash_files
from pairbench.seeds import round_seed
from pairbench.text import printable

SCHEMA = 1
STATUSES = ("finished", "diverged", "failed")
SPENT = ("train_seconds", "cpu_seconds", "peak_mib")
COSTS = ("parameters", "flops_per_pair", *SPENT)
# The parts of the core that decide what a round comes to; the others may change without making its record stale.
_TRAINING_CODE = ("data", "kernels", "model/pair_model.py", "seeds.py", "training")

Record = dict[str, Any]


class Rows(Protocol):
    """What is kept of many records, a row for each."""

    def part(self, at: int, name: str) -> Any: ...

    def names_of(self, at: int) -> list[str]: ...

    @property
    def sure(self) -> list[str] | None: ...

    def metric_names(self, at: int) -> list[str]: ...

    def figures(self, metric: str) -> list[Any]: ...

    def has(self, at: int, metric: str) -> bool: ...

    def place(self, at: int) -> Path: ...

    @property
    def verify(self) -> Callable[[Path], Record]: ...


class Shared(Protocol):
    """What is kept of records that are rounds of the same thing; `group` is what `group_of` gives for them."""

    @property
    def group(self) -> str: ...


class Digest(Mapping[str, Any]):
    """A record whose parts are read when they are asked for, its curves from its file.

    rows, at: what is kept of it and others, and which row of that is its own.
    key: what `key_of` gives for it.
    shared: the same object for all records that have a config, data and code in common.
    """

    __slots__ = ("at", "key", "round", "rows", "shared", "status")

    def __init__(self, rows: Rows, at: int, key: str, number: int, status: str, shared: Shared) -> None:
        self.rows, self.at = rows, at
        self.key, self.round, self.status, self.shared = key, number, status, shared

    def __getitem__(self, name: str) -> Any:
        if name == "status":
            return self.status
        if name == "round":
            return self.round
        return self.whole()[name] if name == "curves" else self.rows.part(self.at, name)

    def __iter__(self) -> Iterator[str]:
        return iter([*self.rows.names_of(self.at), "curves"])

    def __len__(self) -> int:
        return len(self.rows.names_of(self.at)) + 1

    def whole(self) -> Record:
        """The record as it is in its file.

        Raises:
            StoreError: it has gone or was damaged since it was listed.
        """
        path = self.rows.place(self.at)
        try:
            return self.rows.verify(path)
        except (OSError, ValueError) as error:
            raise StoreError(f"cannot read {printable(str(path))}: {error}. Run the same command again.") from None


def whole(record: Record) -> Record:
    """The record with its curves, as a plain dictionary."""
    return record.whole() if isinstance(record, Digest) else record


def figures_of(records: Iterable[Mapping[str, Any]], metric: str) -> list[float | None]:
    """A metric of each record; None where one has none."""
    found: list[float | None] = []
    rows, figures = None, list[Any]()
    for record in records:
        if isinstance(record, Digest):
            if record.rows is not rows:
                rows = record.rows
                figures = rows.figures(metric)
            found.append(figures[record.at])
        else:
            found.append(record["metrics"].get(metric))
    return found


def metrics_of(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """The metrics of which any of `records` has a figure, in the order in which they are first named."""
    homes = {record.rows if isinstance(record, Digest) else None for record in records}
    if len(homes) == 1 and (home := homes.pop()) is not None and home.sure is not None:
        return home.sure
    named = [
        record.rows.metric_names(record.at) if isinstance(record, Digest) else list(record["metrics"])
        for record in records
    ]
    # Records of one folder that have the same metrics share the list of their names.
    names = dict.fromkeys(chain.from_iterable({id(some): some for some in named}.values()))
    return [name for name in names if any(_has(record, name) for record in records)]


def _has(record: Mapping[str, Any], metric: str) -> bool:
    if isinstance(record, Digest):
        return record.rows.has(record.at, metric)
    return record["metrics"].get(metric) is not None


def origin_of(record: Mapping[str, Any]) -> int:
    """The same number for two of the records in memory only where their data and code are the same."""
    return id(record.shared if isinstance(record, Digest) else record["provenance"])


@dataclass(frozen=True)
class Context:
    """What a round's result depends on besides its config: the data's digest, and the code of each component and of
    what options name by a dotted path."""

    data: str
    code: dict[str, dict[str, str]]

    @classmethod
    def of(cls, config: RunConfig, data: str, registry: Registry | None = None) -> Context:
        """The context of `config` here and now; the digest of an encoder's weights stands beside its code.

        Raises:
            DataError: the weights cannot be read.
            SpecError: an option names something by a dotted path, and there is no such module.
        """
        code = {slot: asdict(origin) for slot, origin in config.origins(registry).items()}
        code |= {path: asdict(code_of(path)) for path in config.train.dotted()}
        weights = config.weights()
        if weights:
            code["encoder"]["weights"] = weights
        code["core"] = {
            "distribution": "pairbench",
            "version": pairbench.__version__,
            "source": core_source(),
        }
        return cls(data, code)

    def id_of(self, config: RunConfig) -> str:
        """The config_id of `config` with this data and these weights; reads no file."""
        return config.id_with(self.data, _weights_in(self.code))


@functools.cache
def core_source() -> str:
    """SHA-256, 16 digits, over the core's training code."""
    return hash_files(Path(pairbench.__file__).parent, core_files())


def core_files() -> list[Path]:
    """The files of the core's training code."""
    root = Path(pairbench.__file__).parent
    return sorted(
        file
        for part in _TRAINING_CODE
        for file in ([root / part] if part.endswith(".py") else (root / part).rglob("*.py"))
    )


def round_key(config_id: str, number: int, seed: int, context: Context) -> str:
    """SHA-256 of all that decides the result of a round: config, round, seed, data and code."""
    parts = {"config": config_id, "round": number, "seed": seed, "data": context.data, "code": context.code}
    return hashlib.sha256(canonical(parts).encode()).hexdigest()


def key_of(record: Mapping[str, Any]) -> str:
    """The key of a record, from its own fields."""
    if isinstance(record, Digest):
        return record.key
    provenance = record["provenance"]
    context = Context(provenance["data"], provenance["code"])
    return round_key(record["config_id"], record["round"], record["seed"], context)


def group_of(record: Mapping[str, Any]) -> str:
    """What records must share to be rounds of the same thing: config, data and code."""
    if isinstance(record, Digest):
        return record.shared.group
    provenance = record["provenance"]
    return f"{record['config_id']}/{provenance['data']}/{canonical(provenance['code'])}"


def make_record(
    config: RunConfig,
    number: int,
    context: Context,
    *,
    status: str,
    name: str,
    suite: str | None,
    cost: Mapping[str, Any],
    environment: Mapping[str, Any],
    metrics: Mapping[str, Any] | None = None,
    curves: Mapping[str, Any] | None = None,
    error: Mapping[str, str] | None = None,
) -> Record:
    """A complete record without its checksum; `error` is {"reason", "traceback"} of a failed round."""
    record: Record = {
        "schema": SCHEMA,
        "config": config.flat(),
        "config_id": context.id_of(config),
        "round": number,
        "seed": round_seed(config.train.seed, number),
        "status": status,
        "metrics": dict(metrics or {}),
        "curves": dict(curves or {}),
        "cost": dict(cost),
        "environment": dict(environment),
        "provenance": {
            "name": name,
            "suite": suite,
            "data": context.data,
            "code": context.code,
            "locations": config.locations(),
            "own_files": config.dataset.own_files,
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        },
    }
    # Metrics change nothing that is trained, so they are no part of the key; where they come from is recorded here.
    measured = sources(record["metrics"])
    if measured:
        record["provenance"]["metrics"] = measured
    if error is not None:
        record["error"] = dict(error)
    return record


def measured_by(record: Mapping[str, Any], metric: str) -> Mapping[str, str] | None:
    """Where the plugin's metric `metric` of a record came from; None where it is one of the core's, or has none."""
    found = record["provenance"].get("metrics", {}).get(metric)
    return found if isinstance(found, Mapping) else None


def locations_of(record: Mapping[str, Any]) -> list[str]:
    """The keys of the record's config that only say where data or weights lie."""
    named = record["provenance"].get("locations", [])
    return [key for key in named if isinstance(key, str) and key.startswith(("dataset.", "encoder."))]


def _id_of(record: Mapping[str, Any]) -> str:
    """The config_id that the other fields of a record lead to."""
    provenance = record["provenance"]
    data = str(provenance.get("data", "")) if provenance.get("own_files") else None
    return id_of(record["config"], locations_of(record), weights=_weights_of(record), data=data)


def _weights_of(record: Mapping[str, Any]) -> str:
    return _weights_in(record["provenance"]["code"])


def _weights_in(code: object) -> str:
    encoder = code.get("encoder") if isinstance(code, dict) else None
    return str(encoder.get("weights", "")) if isinstance(encoder, dict) else ""


def misshapen(record: Mapping[str, Any]) -> str:
    """The first part of a record that what reads it could not use, such as "metrics"; "" where all is well."""
    cost, error, provenance = record["cost"], record.get("error"), record["provenance"]
    sound = {
        "config": record["config_id"] == _id_of(record) and _is_number(record["config"].get("train.epochs")),
        "metrics": all(value is None or _is_number(value) for value in record["metrics"].values()),
        "cost": (not cost and record["status"] == "failed") or all(_is_number(cost.get(name)) for name in COSTS),
        "provenance": all(isinstance(provenance.get(name), str) for name in ("name", "created")),
        "error": (error is None and record["status"] != "failed")
        or (isinstance(error, dict) and all(isinstance(error.get(name), str) for name in ("reason", "traceback"))),
    }
    return next((part for part, well in sound.items() if not well), "")


def _is_number(value: object) -> bool:
    # Beyond any figure of a network, and below what would overflow when it is squared and summed.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e100


def checksum(record: Mapping[str, Any]) -> str:
    """SHA-256 of everything in the record but its checksum."""
    return hashlib.sha256(
        canonical({key: value for key, value in record.items() if key != "checksum"}).encode()
    ).hexdigest()
