"""The records that a worker writes."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from typing import Any

from pairbench.environment import machine
from pairbench.errors import StoreError
from pairbench.execution.plan import LocalJob
from pairbench.plugin.registry import reason_of
from pairbench.store.record import Record, make_record
from pairbench.store.store import Store


def record_of(job: LocalJob, number: int, index: int, **parts: Any) -> Record:
    """The record of round `index` of config `number`; `parts` are what the round came to."""
    planned = job.configs[number]
    return make_record(planned.config, index, planned.context, name=planned.name, suite=job.suite, **parts)


def fail(
    job: LocalJob, number: int, index: int, error: Mapping[str, str], environment: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Write the record of a round that failed, and give back its event."""
    record = record_of(job, number, index, status="failed", cost={}, environment=environment or machine(), error=error)
    Store(job.store).write(record)
    return {"event": "round", "config_index": number, "round": index, "record": record}


def explain(error: BaseException) -> dict[str, str]:
    """The reason in a line, and the traceback."""
    return {"reason": reason_of(error), "traceback": "".join(traceback.format_exception(error))}


def reraise(error: BaseException) -> None:
    if isinstance(error, KeyboardInterrupt | StoreError):
        raise error
