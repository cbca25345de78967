"""Promise 4: where nothing can be written, the command stops in one line, and the next one goes on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attack
import pytest

import pairbench
from pairbench.store.store import Store

# Runs a command in which files may grow to so many bytes, or which permissions bind even where it is root's.
LIMITED = """
import ctypes, resource, sys
kind, value = sys.argv[1], int(sys.argv[2])
if kind == "size":
    resource.setrlimit(resource.RLIMIT_FSIZE, (value, value))
else:
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    if ctypes.CDLL(None).capset(header, (ctypes.c_uint32 * 6)()):
        sys.exit(77)
from pairbench.cli import invoke
sys.exit(invoke(sys.argv[3:]))
"""
WORDS = ("dataset=tiny_pairs", "encoder=tiny_encoder", "head=tiny_head", "loss=tiny_loss", "train.epochs=1")


def limited(folder: Path, kind: str, value: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | attack.install(folder / "plugin", "from tiny import pairbench_components") | {
        "HOME": str(folder), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-c", LIMITED, kind, str(value), *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )


def check_one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    lines = [line for line in done.stderr.splitlines() if not re.match(r"training |\[\d+/\d+\] ", line)]
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    (line,) = lines
    assert line.isprintable()
    for word in words:
        assert word in line


def test_a_file_size_limit_stops_in_one_line_and_the_resumed_run_completes(
    tmp_path: Path, tiny_registry: object
) -> None:
    store = tmp_path / "store"
    pairbench.run(*WORDS, "train.rounds=4", store=store, workers=0, timing=False)
    before, more = attack.finished(store), (*WORDS, "train.rounds=4", "train.seed=1")
    done = limited(tmp_path, "size", 1000, "run", *more, "--no-timing", "--store", store, "--workers", 0)
    check_one_line(done, "File too large", "finished rounds are not lost")
    assert attack.finished(store) == before
    assert list(store.rglob(".*")) == []
    pairbench.run(*more, store=store, workers=0, timing=False)
    assert len(attack.finished(store)) == 8


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets root put its privileges down")
@pytest.mark.parametrize("command", ["run", "leaderboard", "doctor"])
def test_a_folder_without_permission_stops_in_one_line(tmp_path: Path, command: str) -> None:
    store = tmp_path / "store"
    (store / "000000000000").mkdir(parents=True)
    arguments = ("run", *WORDS, "train.rounds=1", "--no-timing", "--workers", 0) if command == "run" else (command,)
    store.chmod(0o500 if command == "run" else 0)
    try:
        done = limited(tmp_path, "rights", 0, *arguments, "--store", store)
    finally:
        store.chmod(0o700)
    if done.returncode == 77:
        pytest.skip("this system does not let privileges be put down")
    check_one_line(done, "store", "Permission denied")


def test_a_full_disk_during_training_keeps_what_was_told_and_the_resumed_run_completes(
    tmp_path: Path, tiny_registry: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    import tiny

    words = (*tiny.SPECS, "train.rounds=6", "train.epochs=1")
    told: list[int] = []

    class Display:
        def pairbench_round_finished(self, record: dict[str, object]) -> None:
            told.append(int(str(record["round"])))

    sync, left = os.fsync, [7]

    def full(handle: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(handle)

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        with pytest.raises(pairbench.StoreError, match=r"No space left on device\. Fix that"):
            pairbench.run(*words, store=tmp_path, workers=0, timing=False, display=Display())
    kept = sorted(record["round"] for record in Store(tmp_path).read().records)
    assert 0 < len(kept) < 6
    assert set(told) <= set(kept)
    assert list(tmp_path.rglob(".*")) == [], "half a record or a claim is left"
    results = pairbench.run(*words, store=tmp_path, workers=0, timing=False)
    assert len(results[0].finished) == 6


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 100 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("may not mount a file system here")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a file system of Linux")
@pytest.mark.parametrize(
    "options", [("--workers", 2), pytest.param(("--workers", 0, "--keep-model"), marks=pytest.mark.slow)], ids=str
)
def test_a_disk_that_is_really_full_stops_in_one_line_and_the_resumed_run_completes(
    tmp_path: Path, small_disk: Path, options: tuple[object, ...]
) -> None:
    environment = attack.install(tmp_path / "plugin", "from tiny import pairbench_components\n")
    store = small_disk / "store"
    arguments = ("run", *WORDS, "train.rounds=40", "--no-timing", "-q", "--store", store, *options)
    done = attack.finish(*arguments, environment=environment)
    check_one_line(done, "No space left on device")
    before = attack.finished(store)
    assert 0 < len(before) < 40
    subprocess.run(["mount", "-o", "remount,size=20m", small_disk], check=True)
    again = attack.finish(*arguments, environment=environment)
    assert again.returncode == 0, again.stderr
    after = attack.finished(store)
    assert len(after) == 40
    assert before.items() <= after.items()


def test_a_full_folder_for_temporary_files_fails_no_round(tmp_path: Path) -> None:
    store = tmp_path / "store"
    arguments = ("run", *WORDS, "train.rounds=2", "--no-timing", "-q", "--store", store, "--workers", 0)
    check_one_line(limited(tmp_path, "size", 100, *arguments), "cannot keep images", "TMPDIR")
    assert not list(store.rglob("*.json"))
    again = limited(tmp_path, "size", 10**9, *arguments)
    assert again.returncode == 0, again.stderr


def test_a_pipe_that_closes_early_is_no_error_of_ours(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "pairbench", "list", "--format", "json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    error = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(60) in (0, 1, 141, -signal.SIGPIPE)
    assert "Traceback" not in error


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no /dev/full")
def test_standard_output_that_is_full_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "pairbench", "list"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "No space left on device" in line
