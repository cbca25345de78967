"""Downloads of weights: only when asked for, and soon given up where there is no network."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import socket
import warnings
from collections.abc import Generator
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
        with warnings.catch_warnings(), _hub_limits(offline), quiet:
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
