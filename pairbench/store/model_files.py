"""Saved models: safetensors files whose header describes the model, protected by checksums; read without torch.

A model is stored next to the record of its round, as `STORE/CONFIG_ID/ROUND-KEY.safetensors`, and written atomically,
like a record. It contains no code.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import stat
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from pairbench.config.run_config import canonical, known_id, resolve
from pairbench.config.spec import expand, parse, split_words
from pairbench.errors import DataError, SpecError, StoreError
from pairbench.plugin.registry import Registry
from pairbench.store.atomic import replace_file, sync_folder
from pairbench.store.record import Context, round_key
from pairbench.store.store import Store
from pairbench.text import printable

SCHEMA = 1
SUFFIX = ".safetensors"
MAX_HEADER = 64 * 2**20
# Names made by `model_path`; files that the user has renamed may have any other name.
_NAMED = r"\d{4,5}-[0-9a-f]{32}\.safetensors"
_FIELDS: dict[str, type | tuple[type, ...]] = {
    "config": dict,
    "config_id": str,
    "round": int,
    "seed": int,
    "members": int,
    "metrics": dict,
    "scaling": dict,
    "image_shape": list,
    "views": int,
    "kind": str,
    "outcomes": list,
    "pairing": str,
    "data": str,
    "code": dict,
    "pairbench": str,
    "weights": str,
}


def sealed(description: Mapping[str, Any], weights: str) -> dict[str, str]:
    """The metadata of a model's file: its description with the checksum of its weights and a checksum over both."""
    whole = dict(description) | {"schema": SCHEMA, "weights": weights}
    return {"pairbench": canonical(whole | {"checksum": hashlib.sha256(canonical(whole).encode()).hexdigest()})}


def weights_digest(content: bytes) -> str:
    """SHA-256 over the names, types, shapes and values of all tensors of a safetensors file's content."""
    start = 8 + struct.unpack("<Q", content[:8])[0]
    table = json.loads(content[8:start])
    table.pop("__metadata__", None)
    return hashlib.sha256(canonical(table).encode() + content[start:]).hexdigest()


def described(path: Path) -> dict[str, Any]:
    """The description of the model at `path` (config, round, scaling ...), after checking every checksum.

    Raises:
        DataError: it is missing, damaged, or not a model saved by pairbench.
    """
    shown = printable(str(path), 120)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise DataError(f"model {shown} is not a file. Name the .safetensors file of a saved model.")
        with path.open("rb") as file:
            found = _verified(file, path.stat().st_size)
        if re.fullmatch(_NAMED, path.name) and not path.name.startswith(_stem_of(found)):
            raise ValueError("is not the model that its name says; it was moved or renamed")
        return found
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"model {shown} {error}. Save the model again with run --keep-model.") from None
    except OSError as error:
        raise DataError(f"model {shown} cannot be read ({error.strerror or error}). Name another.") from None


def _stem_of(description: Mapping[str, Any]) -> str:
    """The start of the file name that a described model was saved under."""
    context = Context(description["data"], description["code"])
    key = round_key(description["config_id"], description["round"], description["seed"], context)
    return f"{description['round']:04d}-{key[:32]}"


def _verified(file: BinaryIO, size: int) -> dict[str, Any]:
    """The description in an open file; ValueError says what is wrong with it."""
    first = file.read(8)
    length = struct.unpack("<Q", first)[0] if len(first) == 8 else 0
    if first[:2] == b"PK" or first[:1] == b"\x80":
        raise ValueError("is a pickle, which is never opened because loading it can run code")
    if not 2 <= length <= min(MAX_HEADER, size - 8):
        raise ValueError("is not a safetensors file, or is truncated")
    header = file.read(length)
    try:
        table = json.loads(header)
        text = table.pop("__metadata__")["pairbench"]
        description = json.loads(text)
        checksum = description.pop("checksum")
        sound = checksum == hashlib.sha256(canonical(description).encode()).hexdigest()
        digest = hashlib.sha256(canonical(table).encode())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError("is not a model saved by pairbench, or its header is damaged") from None
    if description.get("schema") != SCHEMA:
        raise ValueError(f"has schema {printable(str(description.get('schema')), 20)}: this pairbench reads {SCHEMA}")
    if not sound:
        raise ValueError("is damaged: its description does not match its checksum")
    for part in iter(lambda: file.read(2**20), b""):
        digest.update(part)
    if digest.hexdigest() != description.get("weights"):
        raise ValueError("is damaged: its weights do not match their checksum")
    for name, kind in _FIELDS.items():
        if not isinstance(description.get(name), kind):
            raise ValueError(f"has no {name} of the right type")
    return dict(description)


def is_sound(path: Path) -> bool:
    """Whether there is a complete, undamaged model at `path`."""
    try:
        described(path)
    except DataError:
        return False
    return True


def find_model(handle: str, store: Store, registry: Registry) -> Path:
    """The file of the model that `handle` names: a path, CONFIG_ID[/ROUND], or a spec in quotes.

    Raises:
        SpecError: there is none, or several in a folder.
    """
    path = Path(handle).expanduser()
    shown = printable(handle, 120)
    try:
        if path.is_dir():
            found = sorted(path.glob(f"*{SUFFIX}"))
            if len(found) == 1:
                return found[0]
            what = "no model" if not found else f"{len(found)} models"
            raise SpecError(f"model {shown}: the folder has {what}. Name one {SUFFIX} file.")
        if path.exists():
            return path
    except OSError as error:
        raise SpecError(f"model {shown}: {error.strerror or error}. Name a file, or CONFIG_ID[/ROUND].") from None
    except ValueError:
        raise SpecError(f"model {shown} is not a valid path. Name a file, or CONFIG_ID[/ROUND].") from None
    name, slash, number = handle, "", ""
    match = re.fullmatch(r"([0-9a-f]{12})(?:(/)([0-9]{1,4}))?", handle)
    if match:
        name, slash, number = match[1], match[2] or "", match[3] or ""
    elif "=" in handle:
        settings = expand(parse(split_words(handle)))
        if len(settings) != 1:
            raise SpecError(f"model {shown}: {len(settings)} configs: expected one. Name one value for each key.")
        name = known_id(resolve(settings[0], registry), f"the model {shown}")
    else:
        raise SpecError(f"model {shown}: no such file. Name a file, CONFIG_ID[/ROUND], or a spec in quotes.")
    found = list((store.root / name).glob(f"{int(number):04d}-*{SUFFIX}" if slash else f"[0-9]*{SUFFIX}"))
    if not found:
        which = f"round {int(number)} of {name}" if slash else name
        place = printable(str(store.root), 120)
        raise SpecError(f"no saved model of {which} in {place}. Run it with --keep-model, or name another --store.")
    # The first round, which stands for nothing more than the others.
    first = min(path.name[:4] for path in found)
    return _latest([path for path in found if path.name.startswith(first)], shown)


def _latest(files: Sequence[Path], shown: str) -> Path:
    """Of the models of one round that different code made, the latest.

    Raises:
        SpecError: they were trained on different data, so that none is the one that is meant.
    """
    if len(files) > 1:
        seen: dict[str, Path] = {}
        for path in files:
            with contextlib.suppress(DataError):
                seen.setdefault(described(path)["data"], path)
        if len(seen) > 1:
            names = " and ".join(printable(str(path), 120) for path in sorted(seen.values()))
            raise SpecError(f"model {shown}: the store has two of this round on different data, {names}. Name one.")
    return max(files, key=lambda path: path.stat().st_mtime)


def model_path(store: Store, config_id: str, round_index: int, key: str) -> Path:
    """The path of a round's model, next to its record."""
    return store.root / config_id / f"{round_index:04d}-{key[:32]}{SUFFIX}"


def keep(path: Path, content: bytes) -> None:
    """Write a model's file atomically, replacing any existing one.

    Raises:
        StoreError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)
        sync_folder(path.parent)
    except OSError as error:
        raise StoreError(
            f"cannot save model {printable(str(path), 120)}: {error.strerror or error}. "
            "Fix that and run the same command again; finished rounds are not lost."
        ) from error
