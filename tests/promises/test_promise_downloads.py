"""Promise 14, what comes from elsewhere: archives stay in their folder, and no download is used unchecked."""

from __future__ import annotations

import hashlib
import http.server
import io
import stat
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from torchvision.datasets import CIFAR10, utils

import pairbench
from pairbench.errors import DataError
from pairbench_backbones.downloads import check_blob
from pairbench_backbones.encoders import Timm
from pairbench_vision.labelled import TorchvisionPairs

Fetch = Callable[[Path, bytes, str, str | None], str]
# What each would write beside its folder, over a file there, or through a link that it has made.
NAMES = ("../out", "a/../../out", "/{outside}/out", "a/b/../../../out", "../target/../out")


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def special(name: str, kind: bytes, link: str = "") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member, b""


def tars(outside: str) -> dict[str, bytes]:
    """Archives that would write outside their folder."""
    named = [(tarfile.TarInfo(name.format(outside=outside)), b"bad") for name in NAMES]
    below = (tarfile.TarInfo("link/out"), b"bad")
    return {
        **{
            f"name {member.name}": tar_of((tarfile.TarInfo("good"), b"x"), (member, b"bad"))
            for member, _ in named[:2] + named[3:]
        },
        "symlink up": tar_of(special("link", tarfile.SYMTYPE, ".."), below),
        "symlink away": tar_of(special("link", tarfile.SYMTYPE, outside), below),
        "hard link": tar_of(special("link", tarfile.LNKTYPE, "../../etc/passwd")),
        "device": tar_of(special("null", tarfile.CHRTYPE)),
        "pipe": tar_of(special("pipe", tarfile.FIFOTYPE)),
    }


def zips(outside: str) -> dict[str, bytes]:
    """Archives that say they would write outside their folder, or hold a link."""
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    members: list[tuple[Any, str]] = [
        *((name.format(outside=outside), "bad") for name in NAMES),
        ("..\\out", "bad"),
        ("C:/out", "bad"),
        (link, outside),
    ]
    made = {}
    for member, content in members:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("good", "x")
            archive.writestr(member, content)
        made[f"zip {getattr(member, 'filename', member)}"] = file.getvalue()
    return made


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fetch]:
    """Downloads an archive as torchvision does, from a server of this machine, and unpacks it."""
    monkeypatch.setenv("no_proxy", "*")
    served = tmp_path / "served"
    served.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(served))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def fetch(place: Path, content: bytes, name: str, known: str | None) -> str:
            (served / name).write_bytes(content)
            address = f"http://127.0.0.1:{server.server_address[1]}/{name}"
            utils.download_and_extract_archive(address, str(place / "target"), md5=known)
            return address

        yield fetch
        server.shutdown()


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_no_archive_writes_outside_its_folder(tmp_path: Path, fetch: Fetch) -> None:
    cases = {**tars(str(tmp_path / "outside")), **zips(str(tmp_path / "outside"))}
    for number, (case, content) in enumerate(cases.items()):
        place = tmp_path / str(number)
        place.mkdir()
        name = "set.zip" if case.startswith("zip") else "set.tar.gz"
        with pairbench.checked_downloads(), pytest.raises(DataError, match="is not unpacked") as refused:
            fetch(place, content, name, md5(content))
        assert len(str(refused.value).splitlines()) == 1, case
        assert tree(place) == {"target", f"target/{name}"}, case
        assert not (tmp_path / "out").exists()
        assert not (tmp_path / "outside").exists()
    print(f"\n{len(cases)} archives that reach outside: {len(cases)} refused, 0 files written")


def test_a_set_whose_archive_reaches_outside_is_refused_with_what_it_would_be(
    tmp_path: Path, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = tars(str(tmp_path / "outside"))["symlink away"]
    (tmp_path / "outside").mkdir()
    harmless = tar_of((tarfile.TarInfo("good"), b"x"))
    address = fetch(tmp_path, harmless, "set.tar.gz", md5(harmless))
    (tmp_path / "served" / "set.tar.gz").write_bytes(content)
    for name, value in (("url", address), ("filename", "set.tar.gz"), ("tgz_md5", md5(content))):
        monkeypatch.setattr(CIFAR10, name, value)
    recipe = TorchvisionPairs(source="CIFAR10", root=str(tmp_path / "root"))
    with pytest.raises(DataError, match="is not unpacked"):
        recipe.load("test", rounds=1, seed=0)
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize("kind", ["set.tar.gz", "set.tgz", "set.tar", "set.zip"])
def test_a_harmless_archive_is_unpacked_whole(tmp_path: Path, fetch: Fetch, kind: str) -> None:
    file = io.BytesIO()
    if kind.endswith("zip"):
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("a/b.txt", "x")
    else:
        with tarfile.open(fileobj=file, mode="w" if kind == "set.tar" else "w:gz") as archive:
            member = tarfile.TarInfo("a/b.txt")
            member.size = 1
            archive.addfile(member, io.BytesIO(b"x"))
    with pairbench.checked_downloads():
        fetch(tmp_path, file.getvalue(), kind, md5(file.getvalue()))
    assert (tmp_path / "target" / "a" / "b.txt").read_text() == "x"


@pytest.mark.parametrize("known", [None, "0" * 32])
def test_a_download_whose_checksum_is_unknown_or_wrong_is_not_used(
    tmp_path: Path, fetch: Fetch, known: str | None
) -> None:
    content = tar_of((tarfile.TarInfo("good"), b"x"))
    with pairbench.checked_downloads(), pytest.raises((DataError, RuntimeError), match=r"no checksum|corrupted"):
        fetch(tmp_path, content, "set.tar.gz", known)
    assert not (tmp_path / "target" / "good").exists()


def test_torchvision_is_left_as_it_was() -> None:
    before = (dict(utils._ARCHIVE_EXTRACTORS), utils.check_integrity)
    with pytest.raises(KeyError), pairbench.checked_downloads():
        raise KeyError
    assert (dict(utils._ARCHIVE_EXTRACTORS), utils.check_integrity) == before


@pytest.mark.parametrize("name", ["sha256", "git"])
def test_weights_from_the_hub_are_compared_with_the_checksum_that_it_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from timm.models import _hub

    content = bytes(100)
    sums = {"sha256": hashlib.sha256(content), "git": hashlib.sha1(b"blob 100\0" + content, usedforsecurity=False)}
    file = tmp_path / sums[name].hexdigest()
    file.write_bytes(content)
    check_blob(file)
    assert file.exists()
    file.write_bytes(bytes(99) + b"x")
    monkeypatch.setattr(_hub, "hf_hub_download", lambda *_, **__: str(file))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with pytest.raises(DataError, match="does not match its checksum"):
        Timm(model="resnet18", pretrained=True).build((3, 32, 32))
    assert not file.exists(), "what is damaged would be taken again"
