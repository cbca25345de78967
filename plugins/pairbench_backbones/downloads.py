"""Downloads of weights: only when asked for, and soon given up where there is no network."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import os
import re
import socket
import warnings
from collections.abc import Generator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pairbench import DataError
from pairbench_backbones.naming import line

SECONDS = 10
PROBE_SECONDS = 3


@contextlib.contextmanager
def downloading(library: str, model: str, address: str) -> Generator[None]:
    """A block in which weights are downloaded from `address`, or read from where an earlier download left them.

    Raises:
        DataError: they cannot be had.
    """
    before = socket.getdefaulttimeout()
    host = urlsplit(address).hostname or ""
    offline = not _reachable(host)
    socket.setdefaulttimeout(SECONDS)
    try:
        # A download that cannot happen should not be announced.
        quiet = contextlib.redirect_stderr(io.StringIO()) if offline else contextlib.nullcontext()
        checked = _checked_hub() if library == "timm" else contextlib.nullcontext()
        with warnings.catch_warnings(), _hub_limits(offline), checked, quiet:
            warnings.simplefilter("ignore")
            yield
    except (KeyboardInterrupt, MemoryError, TypeError):
        raise
    except Exception as error:  # noqa: BLE001 - a client of the network may raise anything
        said = f"{host} cannot be reached" if offline else line(error, 120)
        raise DataError(
            f"the weights of {library} model '{model}' cannot be had: {said}. "
            "Connect and try again, or set encoder.pretrained to false or to the path of a checkpoint."
        ) from None
    finally:
        socket.setdefaulttimeout(before)


@contextlib.contextmanager
def _checked_hub() -> Generator[None]:
    """While this holds, timm uses no weights that are not what their source says; torchvision sees to that itself.

    The hub's client names each file of its cache by the checksum that the hub told, and compares no more than the size.
    """
    from timm.models import _builder, _hub

    fetch, check = _hub.hf_hub_download, _builder._CHECK_HASH

    def checked(*words: Any, **options: Any) -> str:
        path = str(fetch(*words, **options))
        check_blob(Path(path).resolve())
        return path

    _hub.hf_hub_download, _builder._CHECK_HASH = checked, True
    try:
        yield
    finally:
        _hub.hf_hub_download, _builder._CHECK_HASH = fetch, check


def check_blob(file: Path) -> None:
    """Delete and refuse a file of the hub's cache whose content is not what its name says: SHA-256, or git's SHA-1.

    Raises:
        ValueError: it is another one.
    """
    name = file.name.lower()
    if not re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", name):
        # Where there are no links, the cache holds files under their own names.
        return
    digest = hashlib.sha256() if len(name) == 64 else hashlib.sha1(usedforsecurity=False)
    if len(name) == 40:
        digest.update(b"blob %d\0" % file.stat().st_size)
    with file.open("rb") as content:
        for part in iter(lambda: content.read(2**20), b""):
            digest.update(part)
    if digest.hexdigest() != name:
        file.unlink()
        raise ValueError("what was downloaded does not match its checksum and is deleted")


@functools.cache
def _reachable(host: str) -> bool:
    """Whether `host` answers, behind a proxy too; asked once, since clients try many times over."""
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY")):
        return True
    try:
        socket.create_connection((host, 443), timeout=PROBE_SECONDS).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _hub_limits(offline: bool) -> Generator[None]:
    """Short waits for the hub; none at all where it is known to be out of reach."""
    from huggingface_hub import constants

    wanted = {"HF_HUB_ETAG_TIMEOUT": SECONDS, "HF_HUB_DOWNLOAD_TIMEOUT": SECONDS}
    if offline:
        wanted["HF_HUB_OFFLINE"] = True
    before = {name: getattr(constants, name) for name in wanted if hasattr(constants, name)}
    for name in before:
        setattr(constants, name, wanted[name])
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(constants, name, value)
