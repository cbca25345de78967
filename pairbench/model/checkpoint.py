"""Saves trained models as safetensors and rebuilds them; loading never runs code from the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

import pairbench
from pairbench.config.run_config import RunConfig, from_flat
from pairbench.data.round_data import Scaling
from pairbench.errors import DataError, PairbenchError
from pairbench.model.pair_model import PairModel, build_model
from pairbench.plugin.components import Encoder
from pairbench.plugin.registry import Registry, installed
from pairbench.store import record as records
from pairbench.store.model_files import described, sealed, weights_digest
from pairbench.text import printable


@dataclass(frozen=True)
class Kept:
    """A saved model: its config, its members in eval mode, its scaling, and notes for the user."""

    path: Path
    description: dict[str, Any]
    config: RunConfig
    members: tuple[PairModel, ...]
    scaling: Scaling
    notes: tuple[str, ...]


def packed(config: RunConfig, models: Sequence[PairModel], scaling: Scaling, record: Mapping[str, Any]) -> bytes:
    """The content of a model file for `models`, the members of the round of `record`."""
    tensors = {
        # Cloned, since members of a stack are views of one tensor, and tied weights share one.
        f"members.{number}.{name}": value.detach().cpu().contiguous().clone()
        for number, model in enumerate(models)
        for name, value in model.state_dict().items()
    }
    task = config.dataset.task
    description = {
        "config": config.qualified(),
        "config_id": record["config_id"],
        "round": record["round"],
        "seed": record["seed"],
        "members": len(models),
        "metrics": record["metrics"],
        "scaling": {
            "normalize": config.train.normalize,
            "shift": scaling.shift.flatten().tolist(),
            "scale": scaling.scale.flatten().tolist(),
        },
        "image_shape": list(task.image_shape),
        "views": task.views,
        "kind": task.kind,
        "outcomes": list(task.outcomes),
        "pairing": config.pairing,
        "data": record["provenance"]["data"],
        "code": record["provenance"]["code"],
        "created": record["provenance"]["created"],
        "pairbench": pairbench.__version__,
    }
    return save(tensors, metadata=sealed(description, weights_digest(save(tensors))))


def restored(path: Path, device: torch.device | None = None, registry: Registry | None = None) -> Kept:
    """The model saved at `path`, on `device` (by default the CPU).

    Raises:
        DataError: the file is damaged, or needs a component that is not installed here.
    """
    description, registry = described(path), registry or installed()
    shown = printable(str(path), 120)
    made = ", ".join(sorted({f"{part['distribution']} {part['version']}" for part in description["code"].values()}))
    try:
        config = from_flat(description["config"], registry)
        with torch.random.fork_rng(devices=[]):
            members = [build_model(_to_fill(config)) for _ in range(description["members"])]
    except PairbenchError as error:
        raise DataError(f"model {shown} cannot be rebuilt: {error} It was made with {made}.") from None
    task = config.dataset.task
    told = (description["image_shape"], description["outcomes"], description["views"])
    if told != (list(task.image_shape), list(task.outcomes), task.views):
        raise DataError(
            f"model {shown} was trained for a different task than its dataset has now. It was made with {made}."
        )
    _fill(path, shown, members, made)
    for member in members:
        member.to(device or torch.device("cpu")).to(memory_format=torch.channels_last)
        member.eval().requires_grad_(False)
    parts = description["scaling"]
    shift, scale = (torch.tensor(parts[name]).view(-1, 1, 1) for name in ("shift", "scale"))
    notes = _changes(description["code"], _code(config, registry))
    return Kept(path, description, config, tuple(members), Scaling(shift, scale), notes)


class _Rebuilt:
    """An encoder whose modules are built without weights; everything else is the encoder's own."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.build = encoder.rebuild

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)


def _to_fill(config: RunConfig) -> RunConfig:
    """`config` with an encoder that loads and downloads no weights, since trained ones will be loaded."""
    return replace(config, encoder=cast(Encoder, _Rebuilt(config.encoder)))


def _fill(path: Path, shown: str, members: Sequence[PairModel], made: str) -> None:
    try:
        tensors = load(path.read_bytes())
    except (SafetensorError, OSError) as error:
        raise DataError(f"model {shown} cannot be read ({printable(str(error), 100)}). Save it again.") from None
    for number, member in enumerate(members):
        start = f"members.{number}."
        own = {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
        wanted = {name: value.shape for name, value in member.state_dict().items()}
        if {name: value.shape for name, value in own.items()} != wanted:
            wrong = sorted(set(wanted) ^ set(own)) or [name for name in wanted if own[name].shape != wanted[name]]
            raise DataError(
                f"model {shown} does not match its network ({printable(wrong[0], 80)} is missing, unexpected or "
                f"of another shape). It was made with {made}: install those versions, or train it again."
            )
        member.load_state_dict(own)


def _code(config: RunConfig, registry: Registry) -> dict[str, dict[str, str]]:
    """The code digest of each part in this installation."""
    parts = {slot: asdict(origin) for slot, origin in config.origins(registry).items()}
    return parts | {
        "core": {"distribution": "pairbench", "version": pairbench.__version__, "source": records.core_source()}
    }


def _changes(then: Mapping[str, Mapping[str, str]], now: Mapping[str, Mapping[str, str]]) -> tuple[str, ...]:
    """A line for each part whose code has changed since the model was trained; the dataset's code is irrelevant."""

    def code(part: Mapping[str, str]) -> dict[str, str]:
        # The initial weights no longer matter, and their file may be gone.
        return {name: value for name, value in part.items() if name != "weights"}

    return tuple(
        f"the code of {part} ({old['distribution']} {old['version']}) has changed since this model was trained: "
        "its answers may differ from those in its record"
        for part, old in then.items()
        if part in now and part != "dataset" and code(old) != code(now[part])
    )
