"""What a worker does to train: the rounds of a task, each written to the store as soon as it has ended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import torch

from pairbench.config.run_config import RunConfig
from pairbench.data.pool_files import KeptPools
from pairbench.data.round_data import RoundData, scaling
from pairbench.execution.claims import claimed
from pairbench.execution.plan import LocalJob, PlannedConfig, Task, block_of
from pairbench.model.checkpoint import packed
from pairbench.model.pair_model import PairModel
from pairbench.plugin.components import SPLITS, PairPool
from pairbench.plugin.notify import heard
from pairbench.store.model_files import keep, model_path
from pairbench.store.record import Record
from pairbench.store.store import Store
from pairbench.timing.peak_memory import peak_mib
from pairbench.training.complexity import Profile
from pairbench.training.engines import Choice, one_by_one, remember, settle, train_rounds
from pairbench.training.feature_cache import Shelf
from pairbench.training.loop import RoundSplits
from pairbench.worker.channel import Channel
from pairbench.worker.devices import choose_device, environment
from pairbench.worker.pools import tells
from pairbench.worker.records import explain, fail, record_of, reraise

FEATURES = ".embeddings"


def train(job: LocalJob, task: Task, pools: KeptPools, cost: Profile, emit: Channel, choice: Choice) -> None:
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
            reraise(trained.error)
            if emit.used:
                raise trained.error
            emit(fail(job, number, index, explain(trained.error), used))
        else:
            outcome = trained.outcome
            spent = {
                "train_seconds": round(outcome.train_seconds, 4),
                "cpu_seconds": round(time.process_time() - started + shared, 4),
                "peak_mib": round(peak_mib(), 1),
            }
            record = record_of(
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


def train_unclaimed(
    job: LocalJob, task: Task, folder: Path, cost: Profile, emit: Channel, *, wait: bool = False
) -> None:
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
            with contextlib.nullcontext() if heard() else tells(task.config_index, emit):
                train(job, mine, pools, cost, emit, choice)


def choice_file(folder: Path, config_index: int) -> Path:
    """Where the workers of a run keep how the rounds of config `config_index` are trained."""
    return folder / f"engine-{config_index}.json"


def train_singly(job: LocalJob, folder: Path, config_index: int, reason: str) -> None:
    """Let the rounds of config `config_index` be trained one by one from now on."""
    remember(one_by_one(job.configs[config_index].config, reason), choice_file(folder, config_index))


def _splits(job: LocalJob, number: int, kept: KeptPools, device: torch.device) -> Callable[[int], RoundSplits]:
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


def _shelf(job: LocalJob, number: int, pools: Sequence[PairPool], device: torch.device) -> Shelf | None:
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


def _teller(config: RunConfig, number: int, emit: Channel) -> Callable[[int, int, float, float | None], None]:
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
