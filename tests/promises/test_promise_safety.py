"""Promises 6, 14, 15, 16: damage is named, loading runs nothing, names are inert, and nothing listens."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import pickle
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attack
import hostile
import pictures
import pytest
from conftest import config_of, simulated_record

from pairbench.cli import invoke
from pairbench.results.query import stored
from pairbench.store.store import Store

FULL = pytest.mark.slow


@pytest.mark.parametrize("attacks", [100, pytest.param(1000, marks=FULL)])
def test_no_damage_to_a_record_is_averaged_in(tmp_path: Path, attacks: int) -> None:
    choose, store, config = attack.chance("damage", attacks), Store(tmp_path), config_of("encoder=mlp")
    for number in range(20):
        store.write(simulated_record(config, number, {"accuracy": 0.5 + number / 100, "loss": 0.1}))
    whole = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
    truth = {store.path(record): record for record in store.read().records}
    named, alike = 0, 0
    for _ in range(attacks):
        path, other = choose.sample(sorted(whole), 2)
        content = whole[path]
        match choose.randrange(4):
            case 0:
                # Half of them among the figures, which only the checksum guards.
                first = choose.choice((0, content.index(b'"metrics"')))
                at = choose.randrange(first, min(len(content), first + 120) if first else len(content))
                bad = content[:at] + bytes([content[at] ^ 1 << choose.randrange(8)]) + content[at + 1 :]
            case 1:
                bad = content[: choose.randrange(len(content))]
            case 2:
                bad = whole[other]
            case _:
                at, to = sorted(choose.sample(range(len(content)), 2))
                bad = content[:at] + choose.randbytes(to - at) + content[to:]
        path.write_bytes(bad)
        scan = store.read()
        if list(scan.damaged) == [path]:
            named += 1
            assert {store.path(record) for record in scan.records} == set(whole) - {path}
            (result,) = stored(store)
            assert len(result.finished) == 19
        else:
            # A changed blank, or another way to write the same number: the record is the same.
            alike += 1
            assert not scan.damaged
            assert next(record for record in scan.records if store.path(record) == path) == truth[path]
        path.write_bytes(content)
    print(f"\n{attacks} records damaged: {named} named and left out, {alike} unchanged in meaning, 0 averaged in")
    assert named > 0.9 * attacks


class Trap:
    """What runs code when it is unpickled."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self._call, self._arguments = call, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self._call, self._arguments


def traps(flag: Path) -> Iterator[bytes]:
    """Twenty pickles, each of which leaves `flag` behind when it is loaded."""
    import os
    import subprocess
    import sys

    import torch

    code = f"open({str(flag)!r}, 'w').close()"
    calls = [
        Trap(os.system, f"touch {flag}"),
        Trap(subprocess.call, ["touch", str(flag)]),
        Trap(eval, code),
        Trap(exec, code),
        Trap(open, str(flag), "w"),
    ]
    for trap in calls:
        for wrapped in (trap, {"state_dict": trap}, {"weight": torch.zeros(2), "x": trap}):
            file = io.BytesIO()
            torch.save(wrapped, file)
            yield file.getvalue()
        yield pickle.dumps({"config": trap}, protocol=choose_protocol(sys.version_info.minor))


def choose_protocol(minor: int) -> int:
    return 2 + minor % 3


def test_twenty_malicious_pickles_run_nothing_through_any_door(
    tmp_path: Path, tiny_registry: object, capsys: pytest.CaptureFixture[str]
) -> None:
    flag, count = tmp_path / "ran", 0
    store, config = Store(tmp_path / "store"), config_of("encoder=mlp")
    record = simulated_record(config, 0)
    store.write(record)
    place = store.path(record)
    images = tmp_path / "images"
    images.mkdir()
    for content in traps(flag):
        count += 1
        for name in ("net.pt", "net.pth", "net.bin", "net.safetensors", "net.npy", "net.pkl", "a.png"):
            (tmp_path / name).write_bytes(content)
        for name in ("net.pt", "net.safetensors", "net.bin"):
            words = ("encoder=timm", "encoder.model=resnet18", f"encoder.pretrained={tmp_path / name}")
            code = invoke(["run", *words, "--workers", "0", "--no-timing", "-q", "--store", str(tmp_path / "none")])
            assert code == 2, (name, capsys.readouterr().err)
            code = invoke(["predict", str(tmp_path / name), str(tmp_path / "a.png"), str(tmp_path / "a.png")])
            assert code == 2, (name, capsys.readouterr().err)
        place.write_bytes(content)
        assert list(store.read().damaged) == [place]
        (place.parent / ".index").write_bytes(content)
        assert stored(store).damaged
        said = capsys.readouterr().err
        assert "Traceback" not in said
        assert not flag.exists(), "a file ran code"
    print(f"\n{count} malicious pickles through 8 doors each: 0 ran")
    assert count == 20


PIECES = [
    *hostile.NAMES.values(), "../../../etc/passwd", "..\\..\\x", "/etc/passwd", "C:\\x", "~root", "$(touch x)", "`id`",
    "\x1b]0;title\x07", "\x1b[31m", "\u202e", "\u2066", "\ufeff", "<svg onload=alert(1)>", "=HYPERLINK(1)", "|", "\r\n",
    "$\\frac{", "$$", "_{", "a\u00adb", "\U000e0041\U000e0042", "\u0e49" * 300, "\uff20SUM(1)", "x\r=1",
    "=\tcmd", ";=1+1",
    "<!--", "]]>", "<![CDATA[x]]>", "</table><script>x</script>", "javascript:alert(1)", "&#x0000;",
    "\u2028\u2029", "\x85",
    "\x7f", "\x1bP+q\x1b\\", "\x1b]52;c;Zm9v\x07", "\u2067abc\u2069", "\u061c", "\ue000", "\u180e", "> q",
    "<details>", "~~~",
    "${HOME}", "%PATH%", "C:\\con", "nul", "\\\\host\\x",
]  # fmt: skip


def names(count: int) -> Iterator[str]:
    """Hostile strings: each of the known ones, then drawn pairs of them."""
    yield from PIECES[:: max(1, len(PIECES) // count)][:count]
    choose = attack.chance("names", count)
    for _ in range(count - len(PIECES)):
        first, second = choose.sample(PIECES, 2)
        yield (
            first[: choose.randrange(1, 400)] + choose.choice(["", " ", "=", "\n"]) + second[: choose.randrange(1, 400)]
        )


@pytest.mark.parametrize("count", [20, pytest.param(200, marks=FULL)])
def test_hostile_names_are_inert_in_every_form(tmp_path: Path, count: int) -> None:
    for number, name in enumerate(names(count)):
        label = name.encode(errors="replace").decode()
        root = tmp_path / str(number)
        store, config = Store(root), config_of("encoder=mlp")
        error = {"reason": label, "traceback": label}
        store.write(simulated_record(config, 0, name=label, suite=label))
        store.write(simulated_record(config, 1, {}, name=label, status="failed", cost={}, error=error))
        results = stored(store)
        for metric_table in (results, stored(store)):
            hostile.check_terminal(str(metric_table))
            hostile.check_html(metric_table._repr_html_())
            hostile.check_csv(metric_table.to_csv())
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            assert invoke(["leaderboard", "--store", str(root)]) == 0
            assert invoke(["leaderboard", "--failed", "--store", str(root)]) == 0
        hostile.check_terminal(out.getvalue())
        if number % 10 == 0:
            # A page with the name in it, and a figure whose title could be taken for a formula.
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                assert invoke(["report", "--store", str(root), "-o", str(tmp_path / "page.html")]) == 0
                assert invoke(["plot", "--store", str(root), "-o", str(tmp_path / "figure.svg")]) == 0
            for page in (tmp_path / "page.html", tmp_path / "figure.svg"):
                text = page.read_text(encoding="utf-8")
                assert len(label) < 9 or label.isalnum() or not set(label) & set("<&") or label not in text
                assert all(char.isprintable() for char in text.replace("\n", "")), page
        # As a word, a suite, an entry, a component and a store that is asked for.
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            for arguments in (
                ["run", "--suite", label, "train.epochs=wrong"],
                ["run", f"encoder={label}", "train.epochs=wrong"],
                ["show", f"encoder={label}"],
                ["compare", "--store", str(root), "--", label, "x"],
            ):
                assert invoke(arguments) == 2, arguments
        hostile.check_terminal(said.getvalue())
        files = [path for path in root.rglob("*") if path.is_file()]
        assert all(re.fullmatch(r"[0-9a-f.\-]+(failed-[0-9a-f]+)?\.json", path.name) for path in files), files
    print(f"\n{count} hostile names: inert in terminal, HTML, CSV, errors and paths")


def listening() -> set[str]:
    """Each socket that waits for connections: protocol, address and inode."""
    found = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A":
                    found.add(f"{table} {fields[1]} {fields[9]}")
    with contextlib.suppress(OSError):
        for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
            fields = line.split()
            if int(fields[3], 16) & 0x10000:
                found.add(f"unix {fields[6]} {' '.join(fields[7:])}")
    return found


def owned(pid: int) -> set[str]:
    """The inodes of the sockets that a process and all below it hold."""
    found = set()
    for one in (pid, *attack.children(pid), *attack.workers(pid)):
        with contextlib.suppress(OSError):
            for link in Path(f"/proc/{one}/fd").iterdir():
                with contextlib.suppress(OSError):
                    if (match := re.fullmatch(r"socket:\[(\d+)\]", str(link.readlink()))) is not None:
                        found.add(match.group(1))
    return found


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs /proc/net")
def test_no_command_listens_on_anything(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as one:
        assert any(f"tcp 0100007F:{one.getsockname()[1]:04X}" in item for item in listening()), "the check sees nothing"
    environment = attack.install(tmp_path / "plugin") | {"PAIRBENCH_STORE": str(tmp_path / "store")}
    words = (*attack.WORDS, "train.rounds=8", "train.epochs=4", "encoder.pause=0.03")
    images = [pictures.picture(tmp_path / f"{number}.png", number, (4, 4), "L") for number in range(2)]
    model, trained = " ".join(words), False
    commands: list[tuple[object, ...]] = [
        ("run", *words, "--workers", 2, "-q", "--keep-model"),
        ("run", *words, "--workers", 0, "-q", "--fresh", "--no-timing"),
        ("predict", model, *images),
        ("leaderboard",),
        ("report", "--out", tmp_path / "page.html"),
        ("doctor",),
    ]
    for command in commands:
        process = attack.start(command, environment)
        seen, looks = set[str](), 0
        while process.poll() is None:
            mine = owned(process.pid)
            seen |= {item for item in listening() if item.split()[2 if item.startswith("tcp") else 1] in mine}
            trained |= bool(attack.workers(process.pid))
            looks += 1
            time.sleep(0.02)
        _, said = process.communicate()
        assert process.returncode == 0, (command[0], said)
        assert seen == set(), command
        print(f"\n{looks} looks during {command[0]}: 0 listening sockets")
    assert trained


TINY = ("dataset=tiny_pairs", "encoder=tiny_encoder", "head=tiny_head", "loss=tiny_loss")
# Dropout, distortions, re-pairing, batch norm and an average of weights: all that draws or gathers.
WHOLE = (
    "encoder=wide_cnn", "loss=aux", "train.augment=[rotate=10.0,shift=0.1]", "train.repair=true", "train.swap=true",
    "train.ema=0.9", "train.members=2",
    "dataset.train_pairs=60", "dataset.validation_pairs=20", "dataset.test_pairs=40",
)  # fmt: skip


@pytest.mark.parametrize(
    ("processes", "words"), [(2, TINY), pytest.param(5, TINY, marks=FULL), pytest.param(5, WHOLE, marks=FULL)]
)
def test_fresh_processes_give_the_same_bits(tmp_path: Path, processes: int, words: tuple[str, ...]) -> None:
    environment = attack.install(tmp_path / "plugin", "from tiny import pairbench_components\n")
    rest = ("train.rounds=3", "train.epochs=2", "train.device=cpu", "--no-timing", "-q", "--workers")
    texts = set()
    for number in range(processes):
        root = tmp_path / str(number)
        # How many workers share the rounds is no part of a result.
        options = ("train.engine=loop,stacked", *rest, 1 + number % 3, "--store", root)
        done = attack.finish("run", *words, *options, environment=environment)
        assert done.returncode == 0, done.stderr
        texts.add(json.dumps(sorted(attack.finished(root).items()), sort_keys=True))
    assert len(texts) == 1
    records = Store(root).read().records
    assert {record["environment"]["engine"] for record in records} == {"loop", "stacked"}
    for record in records:
        for name in ("python", "torch", "numpy", "pairbench", "processor", "threads", "device", "engine"):
            assert record["environment"][name], name
    digest = hashlib.sha256(texts.pop().encode()).hexdigest()
    print(f"\n{processes} fresh processes, loop and stacked: one hash over all records without timing, {digest[:16]}")
