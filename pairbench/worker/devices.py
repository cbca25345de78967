"""The device that a config trains on, and what the results of a worker depend on."""

from __future__ import annotations

from typing import Any

import torch

from pairbench.environment import machine
from pairbench.errors import InputError


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
