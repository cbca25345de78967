"""Promise 14: whatever a file of weights holds, it is refused in one line, runs nothing, and takes no memory for it."""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pairbench.cli import invoke

FULL = pytest.mark.slow


class Trap:
    """Runs a command when it is unpickled."""

    def __init__(self, flag: Path) -> None:
        self.flag = flag

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.flag}",)


def saved(value: object, **options: Any) -> bytes:
    """What torch.save writes."""
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


def repacked(change: Callable[[str, bytes], dict[str, bytes]]) -> bytes:
    """A sound archive of one tensor, each part of it replaced by what `change` gives."""
    out, parts = io.BytesIO(), dict[str, bytes]()
    sound = zipfile.ZipFile(io.BytesIO(saved({"conv1.weight": torch.zeros(3)})))
    for name in sound.namelist():
        parts |= change(name, sound.read(name))
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return out.getvalue()


def with_pickle(content: bytes) -> bytes:
    return repacked(lambda name, part: {name: content if name.endswith("data.pkl") else part})


def bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(2**29))
        archive.writestr("archive/version", "3")
    return out.getvalue()


def safetensors(header: object, content: bytes = b"", size: int | None = None) -> bytes:
    """A file in the layout of safetensors, sound or not."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + content


def tensor(shape: list[int], first: int, last: int, kind: str = "F32") -> dict[str, Any]:
    return {"conv1.weight": {"dtype": kind, "shape": shape, "data_offsets": [first, last]}}


def described(text: str) -> bytes:
    return safetensors({"__metadata__": {"pairbench": text}, **tensor([1], 0, 4)}, bytes(4))


def payloads(flag: Path) -> dict[str, bytes]:
    """Files by what is wrong with them."""
    inside: dict[str, Any] = {}
    inside["state_dict"] = inside
    sparse = torch.sparse_coo_tensor([[0], [0]], [1.0], (10**6, 10**6), check_invariants=True)
    return {
        "nothing": b"",
        "zeros": bytes(8),
        "a header without end": safetensors(b"{}", size=2**62),
        "a header of no size": safetensors(b"{}", size=2**63 + 5),
        "a shape without end": safetensors(tensor([10**18], 0, 4 * 10**18)),
        "a shape that overflows": safetensors(tensor([2**33, 2**33], 0, 0)),
        "a place before the file": safetensors(tensor([1], -4, 0), bytes(4)),
        "a header of brackets": safetensors(b"[" * 100_000 + b"]" * 100_000),
        "a type that there is not": safetensors(tensor([1], 0, 4, "O"), bytes(4)),
        "no values": safetensors(tensor([0, 2**40], 0, 0)),
        "a description cut short": described("{"),
        "a description of brackets": described("[" * 100_000),
        "a description of code": described(json.dumps({"config": {"encoder": "os:system"}, "checksum": "x"})),
        "a description that is no number": described("NaN"),
        "a hostile name": safetensors({"\x1b[2J\u202e": tensor([1], 0, 4)["conv1.weight"]}, bytes(4)),
        "code": saved({"a": Trap(flag)}),
        "code in the old form": saved({"a": Trap(flag)}, _use_new_zipfile_serialization=False),
        "code for tensors": with_pickle(pickle.dumps(Trap(flag))),
        # By this part torch tells a TorchScript archive, which is a program.
        "a program": repacked(lambda name, part: {name: part, "archive/constants.pkl": pickle.dumps(())}),
        "a list": saved([1, 2]),
        "a number": saved(5),
        "names that are none": saved({1: torch.zeros(1), None: torch.zeros(2)}),
        "wrappers in wrappers": saved({"state_dict": {"state_dict": {"model": {}}}}),
        "itself": saved(inside),
        "complex numbers": saved({"conv1.weight": torch.zeros(2, dtype=torch.complex64)}),
        "a large sparse tensor": saved({"conv1.weight": sparse}),
        "one number many times": saved({"conv1.weight": torch.zeros(1).expand(10**12)}),
        "a tensor that is nowhere": saved({"conv1.weight": torch.zeros(10**12, device="meta")}),
        "paths that lead outside": repacked(lambda name, part: {name: part, "../../../outside": b"x", f"{flag}": b"x"}),
        "no numbers": repacked(lambda name, part: {} if "data/" in name else {name: part}),
        "numbers cut short": repacked(lambda name, part: {name: part[:3] if "data/" in name else part}),
        "marks without end": with_pickle(b"\x80\x02" + b"(" * 300_000 + b"."),
        "bytes without end": with_pickle(b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"."),
        "a bomb": bomb(),
        "a page": b"<html>404</html>",
        "a pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 5\n",
    }


@pytest.mark.parametrize("share", [3, pytest.param(1, marks=FULL)])
def test_odd_checkpoints_are_refused_in_one_line(
    tmp_path: Path, share: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b" / "c")
    flag = tmp_path / "ran"
    chosen = list(payloads(flag).items())[::share]
    # Once before it counts, for all that is imported.
    assert (
        invoke(["run", "encoder=timm", "encoder.model=resnet18", "encoder.pretrained=none.pt", "--workers", "0"]) == 2
    )
    assert invoke(["predict", "none.pt", "a.png", "b.png"]) == 2
    capsys.readouterr()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for what, content in chosen:
        for ending in (".pt", ".safetensors"):
            file = Path("weights").with_suffix(ending)
            file.write_bytes(content)
            words = ["encoder=timm", "encoder.model=resnet18", f"encoder.pretrained={file}", "train.rounds=1"]
            for arguments in (
                ["run", *words, "--workers", "0", "--no-timing", "-q", "--store", str(tmp_path / "store")],
                ["predict", str(file), "a.png", "b.png"],
                ["export", str(file), "-o", "net.onnx"],
            ):
                code = invoke(arguments)
                said = capsys.readouterr()
                assert (code, said.out) == (2, ""), (what, arguments, said.err)
                (line,) = said.err.splitlines()
                assert line.isprintable(), what
                assert "itself failed" not in line, (what, line)
                assert not flag.exists(), f"{what} ran code, or wrote outside its folder"
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} <= {"weights.pt", "weights.safetensors"}
    print(f"\n{len(chosen)} odd checkpoints through 6 doors each: one line each, 0 ran; {grown:.0f} MiB more at most")
    assert grown < 300
