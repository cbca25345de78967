"""What a worker does before training: load the pools of a dataset and save them for all workers."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from pairbench.data.pool_files import save_pool
from pairbench.data.round_data import check_answers, check_pool, shared_images
from pairbench.errors import DataError, InputError, StoreError
from pairbench.execution.plan import LocalJob, Task, block_of
from pairbench.plugin.components import SPLITS, PairPool
from pairbench.plugin.notify import heard, heard_by
from pairbench.text import printable
from pairbench.worker.channel import Channel
from pairbench.worker.records import explain, reraise


def prepare(job: LocalJob, numbers: list[int], folder: Path, emit: Channel) -> None:
    """Load the pools that the configs `numbers` share and save them below `folder`."""
    config = job.configs[numbers[0]].config
    rounds = 1 + max(_last_round(job, task) for task in job.tasks if task.config_index in numbers)
    try:
        pools: dict[str, PairPool] = {}
        with contextlib.nullcontext() if heard() else tells(numbers[0], emit):
            for split in SPLITS:
                pools[split] = config.dataset.load(split, rounds=rounds, seed=config.train.seed)
        for part, pool in pools.items():
            check_pool(pool, config.dataset.task, rounds, config.dataset.name)
            _save(pool, folder / part)
        for message in check_answers(pools, config.dataset.task, config.dataset.name):
            emit({"event": "note", "message": message})
        shared = shared_images(pools)
        if shared:
            raise DataError(f"dataset '{config.dataset.name}': {shared}. Remove one of them, or change the split.")
    except InputError as error:
        emit({"event": "invalid", "config_index": numbers[0], "message": str(error)})
    except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, SystemExit too
        reraise(error)
        for number in numbers:
            emit({"event": "broken", "config_index": number, "error": explain(error)})


def _save(pool: PairPool, folder: Path) -> None:
    """Save a pool for the workers; that there is no room for it is no fault of its dataset."""
    try:
        save_pool(pool, folder)
    except OSError as error:
        raise StoreError(
            f"cannot keep images in {printable(str(folder.parent))}: {error.strerror or error}. Make room there, or "
            "set TMPDIR to another folder, and run the same command again."
        ) from error


def tells(number: int, emit: Channel) -> contextlib.AbstractContextManager[None]:
    """While this holds, what a dataset tells becomes events."""
    last = 0.0

    def progress(done: int, total: int, what: str) -> None:
        nonlocal last
        if time.monotonic() - last > 0.1 or done == total:
            last = time.monotonic()
            emit({"event": "data", "config_index": number, "done": done, "total": total, "what": what})

    return heard_by(progress, lambda message: emit({"event": "note", "message": message}))


def _last_round(job: LocalJob, task: Task) -> int:
    config = job.configs[task.config_index].config
    return max(task.rounds) if config.train.engine == "loop" else max(*task.rounds, *block_of(task, config))
