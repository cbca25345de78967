"""Local checkpoints: read without running code, unwrapped, and loaded into a network tensor by tensor."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairbench import DataError, MismatchError, printable, tell_note
from pairbench_backbones.checkpoint_names import Located, flattened, located, prefixes
from pairbench_backbones.naming import line

if TYPE_CHECKING:
    from torch import Tensor, nn

State = dict[str, "Tensor"]
# The keys under which training scripts store weights, averaged ones first, as in timm.
WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model", "module")
PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.")
PREFIX_OPTION = "encoder.checkpoint_prefix"
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


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds.

    path: as it was named.
    tensors: every tensor by its full name.
    plain: those that training scripts lay a network's weights in, without the wrappers and common prefixes.
    """

    path: str
    tensors: State
    plain: State


def read_checkpoint(path: str) -> Checkpoint:
    """The tensors of the checkpoint at `path`.

    Raises:
        DataError: it is missing, damaged, or contains more than tensors.
    """
    file = _found(path)
    try:
        if (other := _what_it_is(file)) is not None:
            raise _unreadable(path, *other)
        content = _safetensors(file) if _is_safetensors(file) else _torch(file)
    except (MemoryError, DataError):
        raise
    except Exception as error:  # noqa: BLE001 - what a damaged file makes of a reader is not to be foreseen
        raise _unreadable(path, _reason(error)) from None
    tensors = flattened(content)
    if not tensors:
        raise _unreadable(path, "it contains no named tensors")
    return Checkpoint(path, tensors, _unwrapped(content) or tensors)


def lay_into(
    net: nn.Module,
    checkpoint: Checkpoint,
    classifiers: Sequence[str],
    model: str,
    prefix: str | None = None,
    translate: Callable[[State], State] | None = None,
) -> None:
    """Give `net` its weights from `checkpoint`, and note what else is in it.

    Args:
        classifiers: modules that the network does without, which the checkpoint may have.
        model: the network's name, for messages.
        prefix: what stands before the network's names; None finds it.
        translate: the model's own way to read checkpoints whose names or sizes differ from its own.

    Raises:
        MismatchError: a tensor is missing, unknown or of another shape, or several prefixes fit.
    """
    own, path = net.state_dict(), checkpoint.path
    found = located(checkpoint.tensors, own, classifiers, prefix=prefix, path=path, option=PREFIX_OPTION)
    if found is not None:
        _note(found, classifiers, path)
        net.load_state_dict(found.state, strict=False)
        return
    below = f"{(prefix or '').rstrip('.')}."
    inside = {name.removeprefix(below): item for name, item in checkpoint.tensors.items() if name.startswith(below)}
    state = checkpoint.plain if prefix is None else inside
    state = translate(state) if translate else state
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
            f"Set encoder.model to the network it was trained with{_or_a_prefix(checkpoint, prefix, own)}."
        )
    net.load_state_dict(state, strict=False)


def _or_a_prefix(checkpoint: Checkpoint, prefix: str | None, own: State) -> str:
    """The other way out where no tensor of the network is known by its name."""
    names = prefixes(checkpoint.tensors)
    if prefix is not None or len(names) < 2 or any(name in checkpoint.plain for name in own):
        return ""
    return f", or {PREFIX_OPTION} to the part that holds it: {', '.join(printable(name, 40) for name in names[:6])}"


def _note(found: Located, classifiers: Sequence[str], path: str) -> None:
    """Say which part of a checkpoint was taken, where there is more in it than the network and its classifier."""
    spare = tuple(f"{found.prefix}{name}." for name in classifiers)
    left = [name for name in found.left_out if not name.startswith(spare) and not name.endswith("num_batches_tracked")]
    if left:
        where = f"the weights below '{found.prefix.rstrip('.')}'" if found.prefix else "the network's weights"
        tell_note(f"checkpoint {printable(path, 60)}: {where} are used; not used: {_few(left, '').strip()}")


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


def _unreadable(path: str, reason: str, fix: str = "Save its state_dict again.") -> DataError:
    return DataError(
        f"checkpoint '{path}' cannot be read ({reason}): expected safetensors, or tensors saved by torch. {fix}"
    )


def _reason(error: Exception) -> str:
    import pickle

    if isinstance(error, pickle.UnpicklingError):
        # torch's own message is a paragraph about how to run the code after all.
        asks = any(word in str(error) for word in ("GLOBAL", "REDUCE", "Unsupported", "weights_only"))
        return "it tries to run code, or is damaged" if asks else "it is damaged"
    return line(error, 120)


def _what_it_is(file: Path) -> tuple[str, str] | None:
    """What a file is that is plainly no checkpoint, and how to get one; None where it may be one."""
    with file.open("rb") as content:
        start = content.read(256).lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, not the weights", "Run 'git lfs pull' where it came from."
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page, not weights", "Download the file itself."
    return None


def _is_safetensors(file: Path) -> bool:
    """Whether a file is in the layout of safetensors, whatever its name: the size of a header of JSON, and that."""
    with file.open("rb") as content:
        start = content.read(9)
    inside = len(start) == 9 and 2 <= int.from_bytes(start[:8], "little") <= file.stat().st_size - 8
    return (inside and start[8:] == b"{") or (file.suffix == ".safetensors" and not start.startswith(b"PK"))


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


def _unwrapped(content: Any) -> State:
    """The tensors in the innermost of the mappings that training scripts wrap them in, without common prefixes."""
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
    while prefix := next(
        (prefix for prefix in PREFIXES if state and all(name.startswith(prefix) for name in state)), None
    ):
        state = {name.removeprefix(prefix): item for name, item in state.items()}
    return state
