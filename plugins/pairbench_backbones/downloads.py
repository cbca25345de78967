"""Downloads of weights: only on request, and quickly abandoned without a network."""

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
    """A block in which weights are downloaded from `address`, or read from the cache of earlier downloads.

    Raises:
        DataError: they cannot be downloaded.
    """
    before = socket.getdefaulttimeout()
    host = urlsplit(address).hostname or ""
    offline = not reachable(host)
    socket.setdefaulttimeout(SECONDS)
    try:
        # Do not announce a download that cannot happen.
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
            f"the weights of {library} model '{model}' cannot be downloaded: {said}. "
            "Connect and try again, or set encoder.pretrained to false or to the path of a checkpoint."
        ) from None
    finally:
        socket.setdefaulttimeout(before)


@contextlib.contextmanager
def _checked_hub() -> Generator[None]:
    """Within this block timm rejects weights with a wrong checksum; torchvision does so itself.

    The hub's client names each cached file by the checksum that the hub reports, but compares only the size.
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
    """Delete and reject a file of the hub's cache whose content does not match its name: SHA-256, or git's SHA-1.

    Raises:
        ValueError: it is another one.
    """
    name = file.name.lower()
    if not re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", name):
        # Without symbolic links, the cache stores files under their own names.
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
def reachable(host: str) -> bool:
    """Whether `host` answers, behind a proxy too; checked once, since clients retry many times."""
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY")):
        return True
    try:
        socket.create_connection((host, 443), timeout=PROBE_SECONDS).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _hub_limits(offline: bool) -> Generator[None]:
    """Short timeouts for the hub; none at all if it is known to be unreachable."""
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
