"""What a worker does first: build each config once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from pairbench.errors import InputError
from pairbench.execution.plan import LocalJob
from pairbench.training.complexity import profile
from pairbench.training.engines import check_compiler
from pairbench.worker.channel import Channel
from pairbench.worker.devices import choose_device
from pairbench.worker.records import explain, reraise


def check(job: LocalJob, numbers: Iterable[int], emit: Channel) -> None:
    """Build each of the configs `numbers` once and tell its profile, or why it cannot be built."""
    for number in numbers:
        config = job.configs[number].config
        try:
            choose_device(config.train.device)
            if config.train.compile == "on":
                check_compiler()
            emit({"event": "profiled", "config_index": number, "profile": asdict(profile(config))})
        except InputError as error:
            emit({"event": "invalid", "config_index": number, "message": str(error)})
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, SystemExit too
            reraise(error)
            emit({"event": "broken", "config_index": number, "error": explain(error)})
