"""One finished, diverged or failed round as plain JSON: its content, its key and its checksum."""

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
from pairbench.plugin.accelerator_records import described
from pairbench.plugin.dotted import code_of
from pairbench.plugin.metrics import sources
from pairbench.plugin.registry import Registry, hash_files
from pairbench.seeds import round_seed
from pairbench.text import printable

SCHEMA = 1
STATUSES = ("finished", "diverged", "failed")
SPENT = ("train_seconds", "cpu_seconds", "peak_mib")
COSTS = ("parameters", "flops_per_pair", *SPENT)
# The parts of the core that determine a round's result; others may change without making its record outdated.
_TRAINING_CODE = ("data", "model/pair_model.py", "seeds.py", "training")

Record = dict[str, Any]


class Rows(Protocol):
    """The summaries of many records, one row each."""

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
    """The values shared by records with the same config, data and code; `group` is their value of `group_of`."""

    @property
    def group(self) -> str: ...


class Digest(Mapping[str, Any]):
    """A record whose parts are loaded on demand, its curves from its file.

    rows, at: the summaries of its folder, and the row of this record.
    key: its value of `key_of`.
    shared: the same object for all records with the same config, data and code.
    """

    __slots__ = ("at", "key", "round", "rows", "shared", "status")

    def __init__(self, rows: Rows, at: int, key: str, round_index: int, status: str, shared: Shared) -> None:
        self.rows, self.at = rows, at
        self.key, self.round, self.status, self.shared = key, round_index, status, shared

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
        """The complete record from its file.

        Raises:
            StoreError: it was removed or damaged since it was listed.
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
    """The metrics that any of `records` has values for, in order of first appearance."""
    homes = {record.rows if isinstance(record, Digest) else None for record in records}
    if len(homes) == 1 and (home := homes.pop()) is not None and home.sure is not None:
        return home.sure
    named = [
        record.rows.metric_names(record.at) if isinstance(record, Digest) else list(record["metrics"])
        for record in records
    ]
    # Records of one folder with the same metrics share one list of names.
    names = dict.fromkeys(chain.from_iterable({id(some): some for some in named}.values()))
    return [name for name in names if any(_has(record, name) for record in records)]


def _has(record: Mapping[str, Any], metric: str) -> bool:
    if isinstance(record, Digest):
        return record.rows.has(record.at, metric)
    return record["metrics"].get(metric) is not None


def origin_of(record: Mapping[str, Any]) -> int:
    """A number that is equal for two records in memory only if their data and code are the same."""
    return id(record.shared if isinstance(record, Digest) else record["provenance"])


@dataclass(frozen=True)
class Context:
    """What a round's result depends on besides its config: the data's digest, and the code of each component and of
    what options name by a dotted path."""

    data: str
    code: dict[str, dict[str, str]]

    @classmethod
    def of(cls, config: RunConfig, data: str, registry: Registry | None = None) -> Context:
        """The context of `config` in this installation; includes the digest of an encoder's weights next to its code.

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
    """The code digest of the core's training code: 16 digits of SHA-256."""
    return hash_files(Path(pairbench.__file__).parent, core_files())


def core_files() -> list[Path]:
    """The files of the core's training code."""
    root = Path(pairbench.__file__).parent
    return sorted(
        file
        for part in _TRAINING_CODE
        for file in ([root / part] if part.endswith(".py") else (root / part).rglob("*.py"))
    )


def round_key(config_id: str, round_index: int, seed: int, context: Context) -> str:
    """SHA-256 of everything that determines a round's result: config, round, seed, data and code."""
    parts = {"config": config_id, "round": round_index, "seed": seed, "data": context.data, "code": context.code}
    return hashlib.sha256(canonical(parts).encode()).hexdigest()


def key_of(record: Mapping[str, Any]) -> str:
    """The key of a record, from its own fields."""
    if isinstance(record, Digest):
        return record.key
    provenance = record["provenance"]
    context = Context(provenance["data"], provenance["code"])
    return round_key(record["config_id"], record["round"], record["seed"], context)


def group_of(record: Mapping[str, Any]) -> str:
    """Records with the same value have the same config, data and code, so their rounds can be averaged."""
    if isinstance(record, Digest):
        return record.shared.group
    provenance = record["provenance"]
    return f"{record['config_id']}/{provenance['data']}/{canonical(provenance['code'])}"


def make_record(
    config: RunConfig,
    round_index: int,
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
    accelerators: Iterable[str] = (),
) -> Record:
    """A complete record without its checksum; `error` is {"reason", "traceback"} of a failed round.

    accelerators: those that computed parts of the round.
    """
    record: Record = {
        "schema": SCHEMA,
        "config": config.flat(),
        "config_id": context.id_of(config),
        "round": round_index,
        "seed": round_seed(config.train.seed, round_index),
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
    computed = described(accelerators)
    if computed:
        record["provenance"]["accelerators"] = computed
    if error is not None:
        record["error"] = dict(error)
    return record


def measured_by(record: Mapping[str, Any], metric: str) -> Mapping[str, str] | None:
    """Where the plugin's metric `metric` of a record came from; None where it is one of the core's, or has none."""
    found = record["provenance"].get("metrics", {}).get(metric)
    return found if isinstance(found, Mapping) else None


def locations_of(record: Mapping[str, Any]) -> list[str]:
    """The keys of the record's config that are only locations of data or weights."""
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
    """The first part of a record that is malformed, such as "metrics"; "" if all parts are valid."""
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
    # Larger than any real metric, and small enough to be squared and summed without overflow.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e100


def checksum(record: Mapping[str, Any]) -> str:
    """SHA-256 of the whole record except its checksum."""
    return hashlib.sha256(
        canonical({key: value for key, value in record.items() if key != "checksum"}).encode()
    ).hexdigest()
