"""What a worker does last: measure speed with nothing else running."""

from __future__ import annotations

import torch

from pairbench.execution.claims import alone, untimed
from pairbench.execution.plan import LocalJob
from pairbench.store.store import Store
from pairbench.timing.measure import measure
from pairbench.worker.channel import Channel
from pairbench.worker.devices import choose_device, environment


def take_timings_in_turn(job: LocalJob, numbers: list[int], emit: Channel) -> None:
    """Take the timings that no other run has taken meanwhile, with no other run's timings beside them."""
    with alone(job, emit):
        left = untimed(job, numbers)
        if left:
            take_timings(job, left, emit)


def take_timings(job: LocalJob, numbers: list[int], emit: Channel) -> None:
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
