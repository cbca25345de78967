"""The result store: nothing is lost, doubled, overwritten or averaged in damaged."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import config_of, simulated_record

from pairbench.config.run_config import RunConfig
from pairbench.errors import InputError, SpecError, StoreError
from pairbench.store.record import Context, checksum, key_of
from pairbench.store.store import DEFAULT_STORE, Store

NO_LINKS = [errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK]


@pytest.fixture
def config() -> RunConfig:
    return config_of("encoder=cnn")


def rounds(store: Store) -> list[int]:
    """The rounds of the sound records, after checking that none is damaged."""
    scan = store.read()
    assert scan.damaged == {}
    return sorted(record["round"] for record in scan.records)


def files(store: Store, pattern: str = "*") -> list[str]:
    return sorted(path.name for path in store.root.rglob(pattern) if path.is_file())


def test_a_record_comes_back_as_it_was_written(store: Store, config: RunConfig) -> None:
    record = simulated_record(config, 0)
    assert store.write(record)
    (found,) = store.read().records
    assert found == record | {"checksum": checksum(record)}


def test_a_record_lies_in_the_folder_of_its_config_and_is_readable_json(store: Store, config: RunConfig) -> None:
    record = simulated_record(config, 7)
    store.write(record)
    path = store.root / config.config_id / f"0007-{key_of(record)[:32]}.json"
    assert json.loads(path.read_text()) == record | {"checksum": checksum(record)}
    assert files(store) == [path.name]


def test_a_store_that_is_not_there_yet_is_empty_and_stays_unmade(store: Store) -> None:
    assert store.read().records == []
    assert store.read(["0" * 12]).records == []
    assert store.timings("0" * 12) == []
    assert not store.root.exists()


def test_the_first_writer_wins(store: Store, config: RunConfig) -> None:
    assert store.write(simulated_record(config, 0, {"accuracy": 0.1}))
    assert not store.write(simulated_record(config, 0, {"accuracy": 0.9}))
    (found,) = store.read().records
    assert found["metrics"] == {"accuracy": 0.1}


def test_a_replaced_record_is_kept_under_another_name(store: Store, config: RunConfig) -> None:
    for accuracy in (0.1, 0.2, 0.3):
        assert store.write(simulated_record(config, 0, {"accuracy": accuracy}), replace=True)
    (found,) = store.read().records
    assert found["metrics"] == {"accuracy": 0.3}
    assert len(files(store, "*.superseded-*")) == 2


def test_failures_do_not_stand_in_the_way_of_a_later_success(store: Store, config: RunConfig) -> None:
    failure = simulated_record(
        config, 0, {}, status="failed", cost={}, error={"reason": "boom", "traceback": "Traceback"}
    )
    assert store.write(failure)
    assert store.write(failure)
    assert store.write(simulated_record(config, 0))
    assert sorted(record["status"] for record in store.read().records) == ["failed", "failed", "finished"]


def test_results_of_other_code_lie_beside_each_other(store: Store, config: RunConfig) -> None:
    for source in ("a", "b"):
        context = Context("data", {"core": {"distribution": "pairbench", "version": "0", "source": source}})
        assert store.write(simulated_record(config, 0, context=context))
    assert rounds(store) == [0, 0]


def test_only_the_configs_that_are_asked_for_are_read(store: Store) -> None:
    first, second = config_of("encoder=cnn"), config_of("encoder=mlp")
    store.write(simulated_record(first, 0))
    store.write(simulated_record(second, 1))
    assert [record["round"] for record in store.read({second.config_id, "f" * 12}).records] == [1]


def test_the_folder_is_that_of_the_argument_the_environment_or_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PAIRBENCH_STORE", str(tmp_path / "named"))
    assert Store(tmp_path / "given").root == tmp_path / "given"
    assert Store().root == tmp_path / "named"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Store("~/mine").root == tmp_path / "mine"
    monkeypatch.setenv("PAIRBENCH_STORE", "")
    assert Store().root == Path(DEFAULT_STORE)


@pytest.mark.parametrize("name", ["file", "file/below", "~nobody-here/store", "x" * 5000, "nul\0byte", "loop"])
def test_a_folder_that_cannot_be_one_is_refused_as_wrong_input(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises((SpecError, StoreError)) as caught:
        Store(name if name.startswith("~") else f"{tmp_path}/{name}").write(simulated_record(config_of(), 0))
    assert str(caught.value).isprintable()


def test_a_file_as_store_is_wrong_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"is not a folder\. Choose another --store\.$"):
        Store(tmp_path / "file")


# Damage.


def written(store: Store, config: RunConfig, count: int = 1) -> list[Path]:
    """The files of `count` rounds."""
    found = []
    for number in range(count):
        record = simulated_record(config, number, {"accuracy": 0.25 + number, "loss": 1e-05, "auc": None})
        store.write(record)
        found.append(store.path(record))
    return found


def test_no_flipped_bit_changes_a_figure(store: Store, config: RunConfig) -> None:
    (path,) = written(store, config)
    content = path.read_bytes()
    (whole,) = store.read().records
    choose = random.Random(0)
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << choose.randrange(8)]) + content[place + 1 :])
        scan = store.read()
        # "1e-05" and "1E-05" are the same number; everything else has to be noticed.
        assert list(scan.damaged) == [path] or scan.records == [whole], content[max(0, place - 20) : place + 20]


def test_no_truncated_record_is_used(store: Store, config: RunConfig) -> None:
    (path,) = written(store, config)
    content = path.read_bytes()
    # The last byte is the end of the line, which JSON does not need.
    for length in range(len(content) - 1):
        path.write_bytes(content[:length])
        scan = store.read()
        assert (list(scan.damaged), scan.records) == ([path], [])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not JSON"),
        (b"\0" * 4096, "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not a record"),
        (b"null", "not a record"),
        (b"{}", "schema None: this pairbench reads 1"),
        (b'{"schema": 2}', "schema 2: this pairbench reads 1"),
        (b'{"schema": "\\u001b[2J"}', "schema \ufffd[2J: this pairbench reads 1"),
        (b'{"schema": 1}', "config is missing or of the wrong type"),
    ],
)
def test_a_file_that_is_no_record_is_named_with_the_reason(
    store: Store, config: RunConfig, content: bytes, reason: str
) -> None:
    sound, damaged = written(store, config, 2)
    damaged.write_bytes(content)
    scan = store.read()
    assert scan.damaged == {damaged: reason}
    assert [store.path(record) for record in scan.records] == [sound]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"status": "perfect"}, "status perfect is unknown"),
        ({"round": "0"}, "round is missing or of the wrong type"),
        ({"metrics": []}, "metrics is missing or of the wrong type"),
        ({"provenance": {}}, "a field is missing or has an invalid value"),
        ({"metrics": {"accuracy": float("nan")}}, "a field is missing or has an invalid value"),
        ({"metrics": {"accuracy": 0.99}}, "its checksum does not match its content"),
    ],
)
def test_a_record_with_a_wrong_field_is_named_with_the_reason(
    store: Store, config: RunConfig, change: dict[str, Any], reason: str
) -> None:
    (path,) = written(store, config)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert store.read().damaged == {path: reason}


def test_nesting_that_is_just_shallow_enough_to_read_does_no_harm(store: Store, config: RunConfig) -> None:
    (path,) = written(store, config)
    whole = json.loads(path.read_text())
    for depth in range(sys.getrecursionlimit() - 400, sys.getrecursionlimit() + 10):
        text = json.dumps(whole | {"metrics": {"deep": "HERE"}}).replace('"HERE"', "[" * depth + "]" * depth)
        path.write_text(text)
        assert list(store.read().damaged) == [path]


def test_a_forged_figure_that_no_table_could_show_is_left_out(store: Store, config: RunConfig) -> None:
    (path,) = written(store, config)
    record = json.loads(path.read_text()) | {"metrics": {"accuracy": "very high"}}
    path.write_text(json.dumps(record | {"checksum": checksum(record)}))
    assert store.read().damaged == {path: "metrics is missing or of the wrong type"}


def test_a_config_that_was_changed_is_not_taken_for_the_one_that_was_asked_for(store: Store, config: RunConfig) -> None:
    (path,) = written(store, config)
    record = json.loads(path.read_text())
    record["config"]["train.epochs"] += 1
    path.write_text(json.dumps(record | {"checksum": checksum(record)}))
    assert store.read().damaged == {path: "config is missing or of the wrong type"}


def test_swapped_files_are_noticed(store: Store, config: RunConfig) -> None:
    first, second = written(store, config, 2)
    a, b = first.read_bytes(), second.read_bytes()
    first.write_bytes(b)
    second.write_bytes(a)
    scan = store.read()
    assert scan.damaged == dict.fromkeys((first, second), "its name does not match its content")
    assert scan.records == []


def test_a_record_in_the_folder_of_another_config_is_noticed(store: Store, config: RunConfig) -> None:
    (path,) = written(store, config)
    elsewhere = store.root / ("0" * 12) / path.name
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(path.read_bytes())
    assert store.read().damaged == {elsewhere: "its name does not match its content"}


@pytest.mark.parametrize("kind", ["folder", "pipe", "socket link"])
def test_what_is_no_file_is_named_and_not_waited_for(store: Store, config: RunConfig, kind: str) -> None:
    (path,) = written(store, config)
    odd = path.with_name("9999-odd.json")
    if kind == "folder":
        odd.mkdir()
    elif kind == "pipe":
        os.mkfifo(odd)
    else:
        odd.symlink_to("/dev/zero")
    scan = store.read()
    assert scan.damaged == {odd: "not a file"}
    assert len(scan.records) == 1


def test_other_files_and_links_to_nowhere_are_disposable(store: Store, config: RunConfig) -> None:
    (path,) = written(store, config)
    for name in ("notes.txt", ".hidden.json", ".0000-x.json.1.tmp", "0000-x.claim", "x.superseded-1", "x.damaged-2"):
        (path.parent / name).write_text("{")
    (store.root / "index.json").write_text("{")
    (path.parent / "gone.json").symlink_to("nowhere")
    assert rounds(store) == [0]


def test_what_killed_processes_left_is_removed_and_what_lives_stays(store: Store, config: RunConfig) -> None:
    store.write(simulated_record(config, 0, {"accuracy": 0.5}))
    folder = store.root / config.config_id
    abandoned, old, new = folder / ".1-0.claim", folder / ".0.json.1.a.tmp", folder / ".0.json.1.b.tmp"
    for path in (abandoned, old, new):
        path.touch()
    os.utime(old, (0, 0))
    held = store.claim(config.config_id, 2, "0" * 12)
    assert held is not None
    store.tidy([config.config_id, "never run"])
    left = {path.name for path in folder.glob(".*")}
    held.release()
    assert new.name in left
    assert len(left) == 2
    assert len(store.read().records) == 1


def test_damaged_files_are_set_aside_and_not_deleted(store: Store, config: RunConfig) -> None:
    (path,) = written(store, config)
    path.write_text("{")
    store.set_aside(store.read().damaged)
    assert store.read().damaged == {}
    (aside,) = files(store)
    assert aside.startswith(f"{path.stem}.damaged-")
    assert store.write(simulated_record(config, 0))
    store.set_aside([path.with_name("gone.json")])


# Disks.


def full_disk(*_arguments: Any, **_options: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["link", "fsync"])
def test_a_full_disk_stops_in_one_line_and_leaves_no_half_record(
    store: Store, config: RunConfig, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    written(store, config)
    with monkeypatch.context() as disk:
        disk.setattr(os, call, full_disk)
        with pytest.raises(StoreError) as caught:
            store.write(simulated_record(config, 1))
    assert str(caught.value).isprintable()
    assert "No space left on device. Fix that and run the same command again" in str(caught.value)
    assert rounds(store) == [0]
    assert len(files(store)) == 1


def test_a_full_disk_does_not_cost_the_record_that_was_to_be_replaced(
    store: Store, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(store, config)
    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full_disk)
        with pytest.raises(StoreError):
            store.write(simulated_record(config, 0, {"accuracy": 1.0}), replace=True)
    (found,) = store.read().records
    assert found["metrics"]["accuracy"] == 0.25


def test_a_file_in_the_way_of_a_folder_stops_in_one_line(store: Store, config: RunConfig) -> None:
    store.root.mkdir()
    (store.root / config.config_id).write_text("")
    for write in (
        lambda: store.write(simulated_record(config, 0)),
        lambda: store.write_timing({"config_id": config.config_id, "created": "2026-01-01T00:00:00"}),
    ):
        with pytest.raises(StoreError, match=r"^cannot write to store .*: (File exists|Not a directory)\. "):
            write()


def test_a_record_that_cannot_be_read_stops_in_one_line(
    store: Store, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(store, config)

    def broken(_path: Path) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "read_bytes", broken)
    with pytest.raises(StoreError, match=r"^cannot read .*: Input/output error\.$"):
        store.read()


def test_a_folder_that_cannot_be_read_stops_in_one_line(
    store: Store, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(store, config)

    def denied(_path: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "iterdir", denied)
    with pytest.raises(StoreError, match=r"^cannot read store .*: Permission denied\.$"):
        store.read()


def test_a_damaged_file_that_cannot_be_renamed_stops_in_one_line(
    store: Store, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = written(store, config)

    def read_only(_path: Path, _target: Path) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "rename", read_only)
    with pytest.raises(StoreError, match="Read-only file system"):
        store.set_aside([path])


@pytest.mark.parametrize("number", NO_LINKS)
def test_without_hard_links_the_first_writer_still_wins(
    store: Store, config: RunConfig, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    without_links(monkeypatch.setattr, number)
    assert store.write(simulated_record(config, 0, {"accuracy": 0.1}))
    assert not store.write(simulated_record(config, 0, {"accuracy": 0.9}))
    (found,) = store.read().records
    assert found["metrics"] == {"accuracy": 0.1}


def test_a_folder_that_cannot_be_synced_is_no_obstacle(
    store: Store, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = os.fsync

    def files_alone(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        sync(handle)

    monkeypatch.setattr(os, "fsync", files_alone)
    assert store.write(simulated_record(config, 0))


# Timings.


def test_timings_come_back_oldest_first_and_are_no_records(store: Store, config: RunConfig) -> None:
    for day in (2, 1, 3):
        store.write_timing({"config_id": config.config_id, "created": f"2026-01-0{day}T10:00:00+00:00", "day": day})
    assert [timing["day"] for timing in store.timings(config.config_id)] == [1, 2, 3]
    assert store.read().records == []
    assert all("checksum" not in timing for timing in store.timings(config.config_id))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"config_id": "x"}'])
def test_a_damaged_timing_is_left_out(store: Store, config: RunConfig, content: str) -> None:
    store.write_timing({"config_id": config.config_id, "created": "2026-01-01T10:00:00+00:00"})
    store.write_timing({"config_id": config.config_id, "created": "2026-01-02T10:00:00+00:00"})
    first, second = sorted((store.root / config.config_id).glob("*.timing"))
    first.write_text(content)
    assert [timing["created"] for timing in store.timings(config.config_id)] == ["2026-01-02T10:00:00+00:00"]
    second.write_text(second.read_text().replace("2026-01-02", "2026-01-03"))
    assert store.timings(config.config_id) == []


# Several writers.


def without_links(setattr_: Any, number: int) -> None:
    def link(*_arguments: Any, **_options: Any) -> None:
        raise OSError(number, os.strerror(number))

    setattr_(os, "link", link)


def write_all(root: str, writer: int, count: int, links: bool, start: Any, wins: Any) -> None:
    """The body of a racing process: write every round, the accuracy saying who did."""
    if not links:
        without_links(setattr, errno.EPERM)
    store, config = Store(root), config_of("encoder=cnn")
    records = [simulated_record(config, number, {"accuracy": writer / 10}) for number in range(count)]
    start.wait()
    wins.put((writer, [record["round"] for record in records if store.write(record)]))


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "no hard links"])
def test_of_racing_writers_exactly_one_keeps_each_round(store: Store, links: bool) -> None:
    context = multiprocessing.get_context("spawn")
    writers, count = 4, 60
    start, wins = context.Barrier(writers), context.Queue()
    racing = [
        context.Process(target=write_all, args=(str(store.root), writer, count, links, start, wins))
        for writer in range(writers)
    ]
    for process in racing:
        process.start()
    won = dict(wins.get(timeout=60) for _ in racing)
    for process in racing:
        process.join(60)
    assert sorted(number for numbers in won.values() for number in numbers) == list(range(count))
    assert rounds(store) == list(range(count))
    for record in store.read().records:
        assert record["round"] in won[round(10 * record["metrics"]["accuracy"])]
    assert len(files(store, "*.json")) == len([name for name in files(store) if not name.startswith(".")])


ENDLESS = """
import sys
from conftest import config_of, simulated_record
from pairbench.store.store import Store
store, config = Store(sys.argv[1]), config_of("encoder=cnn")
print("ready", flush=True)
for number in range(100_000):
    store.write(simulated_record(config, number))
    print(number, flush=True)
"""


def test_a_killed_writer_leaves_whole_records_and_loses_none_that_it_told_of(store: Store) -> None:
    choose, kept = random.Random(1), 0
    for attempt in range(4):
        store = Store(store.root / str(attempt))
        child = subprocess.Popen(
            [sys.executable, "-c", ENDLESS, str(store.root)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(choose.uniform(0, 0.15))
        child.send_signal(signal.SIGKILL)
        told = [int(line) for line in child.communicate()[0].splitlines()]
        found = rounds(store)
        assert found == list(range(len(found)))
        assert len(told) <= len(found) <= len(told) + 1
        kept += len(found)
    assert kept
