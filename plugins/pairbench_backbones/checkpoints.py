"""Local checkpoints: read without running code, unwrapped, and loaded into a network tensor by tensor."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairbench import DataError, MismatchError

if TYPE_CHECKING:
    from torch import Tensor, nn

State = dict[str, "Tensor"]
# The keys under which training scripts store weights, averaged ones first, as in timm.
WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model", "module")
PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.")
# The depth of nested wrappers; a pickle may contain itself.
MOST_WRAPPERS = 10


def file_digest(path: str) -> str:
    """SHA-256 of the content of the checkpoint at `path`.

    Raises:
        DataError: it is missing or cannot be read.
    """
    file = _found(path)
    try:
        status = file.stat()
        return _hashed(file.absolute(), status.st_mtime_ns, status.st_size, status.st_ino)
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from None


# The stamps are part of the cache key: a replaced file is hashed again.
@lru_cache(maxsize=32)
def _hashed(file: Path, *stamps: int) -> str:  # noqa: ARG001
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def read_state(path: str) -> State:
    """The tensors of the checkpoint at `path` by name, without the wrappers of training scripts.

    Raises:
        DataError: it is missing, damaged, or contains more than tensors.
    """
    file = _found(path)
    try:
        content = _safetensors(file) if file.suffix == ".safetensors" else _torch(file)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - what a damaged file makes of a reader is not to be foreseen
        raise _unreadable(path, _reason(error)) from None
    return _unwrapped(content, path)


def lay_into(net: nn.Module, state: Mapping[str, Tensor], classifiers: Sequence[str], path: str, model: str) -> None:
    """Give `net` the weights `state`; those of `classifiers`, which it does not have, are ignored.

    Raises:
        MismatchError: a tensor is missing, unknown or of another shape.
    """
    own = net.state_dict()
    tops = tuple(f"{name}." for name in classifiers)
    state = {name: item for name, item in state.items() if name in own or not name.startswith(tops)}
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    unknown = [name for name in state if name not in own]
    other = [name for name, item in state.items() if name in own and item.shape != own[name].shape]
    if missing or unknown or other:
        faults = [
            _few(missing, "missing"),
            _few(unknown, "unknown"),
            _few([f"{name} {tuple(state[name].shape)} for {tuple(own[name].shape)}" for name in other], "misshapen"),
        ]
        raise MismatchError(
            f"checkpoint '{path}' is not one of '{model}': {'; '.join(fault for fault in faults if fault)}. "
            "Set encoder.model to the network it was trained with."
        )
    net.load_state_dict(state, strict=False)


def _few(names: list[str], what: str) -> str:
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return f"{what} {', '.join(names[:2])}{more}" if names else ""


def _found(path: str) -> Path:
    file = Path(path).expanduser()
    try:
        there = file.is_file()
    except (OSError, ValueError):
        there = False
    if not there:
        raise DataError(
            f"encoder.pretrained: no file '{path}': expected true, false or the path of a checkpoint. Check the path."
        )
    return file


def _unreadable(path: str, reason: str) -> DataError:
    return DataError(
        f"checkpoint '{path}' cannot be read ({reason}): expected safetensors, or tensors saved by torch. "
        "Save its state_dict again."
    )


def _reason(error: Exception) -> str:
    import pickle

    if isinstance(error, pickle.UnpicklingError):
        # torch's own message is a paragraph about how to run the code after all.
        asks = any(word in str(error) for word in ("GLOBAL", "REDUCE", "Unsupported", "weights_only"))
        return "it tries to run code, or is damaged" if asks else "it is damaged"
    words = " ".join(str(error).split()) or type(error).__name__
    return words if len(words) <= 120 else words[:117] + "..."


def _safetensors(file: Path) -> Any:
    from safetensors.torch import load_file

    return load_file(file)


def _torch(file: Path) -> Any:
    import warnings

    import torch

    _check_archive(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.load(file, map_location="cpu", weights_only=True)


def _check_archive(file: Path) -> None:
    """Reject an archive that would unpack to far more than its size on disk; torch does not compress."""
    with file.open("rb") as content:
        if content.read(2) != b"PK":
            return
    with zipfile.ZipFile(file) as archive:
        size = sum(part.file_size for part in archive.infolist())
    if size > 4 * file.stat().st_size + 2**20:
        raise ValueError(f"it would unpack to {size // 2**20} MiB")


def _unwrapped(content: Any, path: str) -> State:
    from torch import Tensor

    for _ in range(MOST_WRAPPERS):
        if not isinstance(content, Mapping):
            break
        inner = next((name for name in WRAPPERS if isinstance(content.get(name), Mapping)), None)
        if inner is None:
            break
        content = content[inner]
    state: State = {}
    if isinstance(content, Mapping):
        state = {str(name): item for name, item in content.items() if isinstance(item, Tensor)}
    if not state:
        raise _unreadable(path, "it contains no named tensors")
    while prefix := next((prefix for prefix in PREFIXES if all(name.startswith(prefix) for name in state)), None):
        state = {name.removeprefix(prefix): item for name, item in state.items()}
    return state
