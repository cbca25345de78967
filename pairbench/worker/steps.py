"""What a worker process does: check a config, prepare the pools, train rounds, take timings."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from pairbench.config.run_config import RunConfig
from pairbench.data.pool_files import KeptPools, save_pool
from pairbench.data.round_data import RoundData, check_answers, check_pool, scaling, shared_images
from pairbench.environment import machine
from pairbench.errors import DataError, InputError, StoreError
from pairbench.execution.claims import alone, claimed, untimed
from pairbench.execution.memory_limit import limit_memory
from pairbench.execution.plan import Job, PlannedConfig, Task, block_of
from pairbench.model.checkpoint import packed
from pairbench.model.pair_model import PairModel
from pairbench.plugin.components import SPLITS, PairPool
from pairbench.plugin.notify import heard, heard_by
from pairbench.plugin.registry import reason_of
from pairbench.store.model_files import keep, model_path
from pairbench.store.record import Record, make_record
from pairbench.store.store import Store
from pairbench.text import printable
from pairbench.timing.measure import measure
from pairbench.timing.peak_memory import peak_mib
from pairbench.training.complexity import Profile, profile
from pairbench.training.engines import Choice, check_compiler, one_by_one, remember, settle, train_rounds
from pairbench.training.feature_cache import Shelf
from pairbench.training.loop import RoundSplits

FEATURES = ".embeddings"
Emit = Callable[[dict[str, Any]], None]


_PROCESS = {"used": False}


def choose_device(name: str) -> torch.device:
    """The device that `train.device` asks for.

    Raises:
        InputError: this machine does not have it.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, there in available.items() if there))
    if not available[name]:
        raise InputError(f"train.device={name}: this machine has none. Use train.device=auto or train.device=cpu.")
    return torch.device(name)


def environment(device: torch.device, threads: int) -> dict[str, Any]:
    """What the results of this process depend on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return machine() | {"device": device.type, "device_name": name, "threads": threads}


def check(job: Job, numbers: Iterable[int], emit: Emit) -> None:
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
            _reraise(error)
            emit({"event": "broken", "config_index": number, "error": explain(error)})


def prepare(job: Job, numbers: list[int], folder: Path, emit: Emit) -> None:
    """Load the pools that the configs `numbers` share and save them below `folder`."""
    config = job.configs[numbers[0]].config
    rounds = 1 + max(_last_round(job, task) for task in job.tasks if task.config_index in numbers)
    try:
        pools: dict[str, PairPool] = {}
        with contextlib.nullcontext() if heard() else _tells(numbers[0], emit):
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
        _reraise(error)
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


def _tells(number: int, emit: Emit) -> contextlib.AbstractContextManager[None]:
    """While this holds, what a dataset tells becomes events."""
    last = 0.0

    def progress(done: int, total: int, what: str) -> None:
        nonlocal last
        if time.monotonic() - last > 0.1 or done == total:
            last = time.monotonic()
            emit({"event": "data", "config_index": number, "done": done, "total": total, "what": what})

    return heard_by(progress, lambda message: emit({"event": "note", "message": message}))


def _last_round(job: Job, task: Task) -> int:
    config = job.configs[task.config_index].config
    return max(task.rounds) if config.train.engine == "loop" else max(*task.rounds, *block_of(task, config))


def used_process() -> None:
    """Say that something else was trained in this process before.

    That may be why a round fails now: it ends the process and is not recorded, so that it is trained again alone.
    """
    _PROCESS["used"] = True


def train(job: Job, task: Task, pools: KeptPools, cost: Profile, emit: Emit, choice: Choice) -> None:
    """Train the rounds of `task` and write each to the store as soon as it has ended.

    Raises:
        StoreError: the store cannot be written.
    """
    number, planned = task.config_index, job.configs[task.config_index]
    store, config = Store(job.store), planned.config
    device = choose_device(config.train.device)
    torch.set_num_threads(job.threads)
    # What a stack draws depends on all of its rounds, so rounds that are there already are trained along.
    numbers = block_of(task, config) if choice.engine == "stacked" else task.rounds
    splits_of = _splits(job, number, pools, device)
    rounds = train_rounds(config, device, choice, numbers, splits_of, _teller(config, number, emit))
    started, shared = time.process_time(), 0.0
    for trained in rounds:
        index, used = trained.number, environment(device, job.threads) | trained.choice.environment()
        if trained.choice.engine == "stacked" and not shared:
            shared = (time.process_time() - started) / len(numbers)
            started = time.process_time()
        if index not in task.rounds:
            continue
        pools.check()
        if trained.outcome is None:
            assert trained.error is not None
            _reraise(trained.error)
            if _PROCESS["used"]:
                raise trained.error
            emit(fail(job, number, index, explain(trained.error), used))
        else:
            outcome = trained.outcome
            spent = {
                "train_seconds": round(outcome.train_seconds, 4),
                "cpu_seconds": round(time.process_time() - started + shared, 4),
                "peak_mib": round(peak_mib(), 1),
            }
            record = _record(
                job,
                number,
                index,
                status=outcome.status,
                metrics=outcome.metrics,
                curves=outcome.curves,
                cost=asdict(cost) | spent | trained.choice.cost(),
                environment=used,
                accelerators=outcome.accelerators,
            )
            if job.keep_models and outcome.status == "finished":
                # Before the record, so that a round that is there has its model.
                _keep_model(store, planned, index, trained.models, pools, record)
            store.write(record, replace=job.replace)
            emit({"event": "round", "config_index": number, "round": index, "record": record})
        started = time.process_time()


def _keep_model(
    store: Store, planned: PlannedConfig, index: int, models: Sequence[PairModel], pools: KeptPools, record: Record
) -> None:
    used = scaling(planned.config.train.normalize, pools.splits["train"], index)
    path = model_path(store, planned.config_id, index, planned.round_keys()[index])
    keep(path, packed(planned.config, models, used, record))


def train_unclaimed(job: Job, task: Task, folder: Path, cost: Profile, emit: Emit, *, wait: bool = False) -> None:
    """Train the rounds of `task` that no other live run is at, and tell of the others.

    A block of rounds that are better trained one by one is told as a "split" event, so that all workers share it.

    Raises:
        StoreError: the store cannot be written.
    """
    config = job.configs[task.config_index].config
    torch.set_num_threads(job.threads)
    device = choose_device(config.train.device)
    pools = KeptPools(folder)
    splits_of = _splits(job, task.config_index, pools, device)
    choice = settle(config, device, task.rounds, splits_of, choice_file(folder, task.config_index))
    if choice.engine == "loop" and len(task.rounds) > 1 and not config.train.carry_over:
        emit({"event": "split", "config_index": task.config_index, "rounds": list(task.rounds)})
        return
    with claimed(job, task, emit, wait=wait) as mine:
        if mine.rounds:
            with contextlib.nullcontext() if heard() else _tells(task.config_index, emit):
                train(job, mine, pools, cost, emit, choice)


def choice_file(folder: Path, config_index: int) -> Path:
    """Where the workers of a run keep how the rounds of config `config_index` are trained."""
    return folder / f"engine-{config_index}.json"


def train_singly(job: Job, folder: Path, config_index: int, reason: str) -> None:
    """Let the rounds of config `config_index` be trained one by one from now on."""
    remember(one_by_one(job.configs[config_index].config, reason), choice_file(folder, config_index))


def take_timings_in_turn(job: Job, numbers: list[int], emit: Emit) -> None:
    """Take the timings that no other run has taken meanwhile, with no other run's timings beside them."""
    with alone(job, emit):
        left = untimed(job, numbers)
        if left:
            take_timings(job, left, emit)


def take_timings(job: Job, numbers: list[int], emit: Emit) -> None:
    """Time the configs `numbers` side by side and keep each timing in the store."""
    torch.set_num_threads(job.threads)
    store = Store(job.store)
    devices = {number: choose_device(job.configs[number].config.train.device) for number in numbers}
    for device in set(devices.values()):
        here = [number for number in numbers if devices[number] == device]
        configs = [job.configs[number].config for number in here]
        place = environment(device, job.threads)
        timings = measure(configs, device, place, job.repeats, modes=job.modes, seconds=job.timing_seconds)
        for number, measured in zip(here, timings, strict=True):
            timing = measured | {"config_id": job.configs[number].config_id}
            store.write_timing(timing)
            emit({"event": "timing", "config_index": number, "timing": timing})


def _splits(job: Job, number: int, kept: KeptPools, device: torch.device) -> Callable[[int], RoundSplits]:
    """A function that gives the examples of a round of config `number` from the pools that are kept."""
    pools = kept.splits
    train, shelf = job.configs[number].config.train, _shelf(job, number, list(pools.values()), device)

    def splits_of(index: int) -> RoundSplits:
        scale = scaling(train.normalize, pools["train"], index)
        parts = [RoundData(pools[split], index, scale, device) for split in SPLITS]
        for part in parts:
            part.shelf = shelf
        return RoundSplits(*parts)

    return splits_of


def _shelf(job: Job, number: int, pools: Sequence[PairPool], device: torch.device) -> Shelf | None:
    """Where the features of a frozen encoder are kept; None where each round has weights or a scale of its own."""
    config, code = job.configs[number].config, job.configs[number].context.code
    if not code.get("encoder", {}).get("weights") or config.train.normalize == "standard":
        return None
    places = config.locations()
    encoder = {
        "options": {k: value for k, value in config.flat().items() if k.startswith("encoder") and k not in places},
        "code": [code["encoder"], code["core"]],
        "versions": {name: version(name) for name in ("torch", "torchvision", "timm")},
        "normalize": config.train.normalize,
        "device": device.type,
    }
    return Shelf(Store(job.store).root / FEATURES, encoder, pools)


def _teller(config: RunConfig, number: int, emit: Emit) -> Callable[[int, int, float, float | None], None]:
    """A function that tells of epochs, a few times a second at most."""
    last = 0.0

    def on_epoch(index: int, epoch: int, loss: float, accuracy: float | None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > 0.1 or epoch == config.train.epochs:
            last = now
            emit(
                {
                    "event": "epoch",
                    "config_index": number,
                    "round": index,
                    "epoch": epoch,
                    "loss": loss,
                    "accuracy": accuracy,
                }
            )

    return on_epoch


def _record(job: Job, number: int, index: int, **parts: Any) -> Record:
    """The record of round `index` of config `number`; `parts` are what the round came to."""
    planned = job.configs[number]
    return make_record(planned.config, index, planned.context, name=planned.name, suite=job.suite, **parts)


def fail(
    job: Job, number: int, index: int, error: Mapping[str, str], environment: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Write the record of a round that failed, and give back its event."""
    record = _record(job, number, index, status="failed", cost={}, environment=environment or machine(), error=error)
    Store(job.store).write(record)
    return {"event": "round", "config_index": number, "round": index, "record": record}


def explain(error: BaseException) -> dict[str, str]:
    """The reason in a line, and the traceback."""
    return {"reason": reason_of(error), "traceback": "".join(traceback.format_exception(error))}


def hold_memory(mib: float | None) -> None:
    """Keep this worker from taking all memory; not beside CUDA, whose driver reserves more than there is."""
    if not torch.cuda.is_available():
        limit_memory(mib)


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies, however it dies."""
    if sys.platform == "linux":
        import ctypes
        import signal

        parent = os.getppid()
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def _reraise(error: BaseException) -> None:
    if isinstance(error, KeyboardInterrupt | StoreError):
        raise error
