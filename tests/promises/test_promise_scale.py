"""A store of 100,000 records answers at once, and what makes it fast is never believed more than the records."""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import attack
import pytest
from conftest import config_of, simulated_record

from pairbench.results import ranking
from pairbench.results.query import stored
from pairbench.store import index
from pairbench.store.record import Digest, checksum
from pairbench.store.store import Store

FULL = pytest.mark.slow
MEASURE = """
import pathlib, re, resource, sys, time
started = time.perf_counter()
from pairbench.cli import invoke
code = invoke(["leaderboard", "--store", sys.argv[1], "--format", sys.argv[2]])
seconds = time.perf_counter() - started
used = resource.getrusage(resource.RUSAGE_SELF)
# Linux lets a process begin with the most that its parent had; the status file tells of this program alone.
status = pathlib.Path("/proc/self/status")
peak = int(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1]) if status.exists() else used.ru_maxrss
print(code, seconds, used.ru_utime + used.ru_stime, peak / 1024, file=sys.stderr)
"""


def fill_fast(root: Path, configs: int, rounds: int) -> Store:
    """A store of so many records, written without waiting for the disk, and old enough to be indexed."""
    store, draw = Store(root), random.Random(0)
    past = time.time() - 60
    for number in range(configs):
        config = config_of("encoder=mlp", "train.seed=0", f"train.learning_rate={0.001 + number * 1e-6:.6f}")
        (root / config.config_id).mkdir(parents=True)
        for round_ in range(rounds):
            accuracy = 0.8 + draw.gauss(number * 1e-5, 0.01)
            metrics = dict.fromkeys(("accuracy", "f1", "auc", "loss", "class_accuracy", "total_loss"), accuracy)
            metrics |= {f"validation_{name}": value for name, value in metrics.items()}
            curves = {name: [draw.random() for _ in range(12)] for name in ("loss", "accuracy")}
            record = simulated_record(config, round_, metrics, curves=curves)
            path = store.path(record)
            path.write_text(json.dumps(record | {"checksum": checksum(record)}, indent=1) + "\n")
            os.utime(path, (past, past))
    return store


def told(store: Store) -> list[object]:
    results = stored(store)
    return [json.loads(json.dumps(item.to_dict())) for item in sorted(results.items, key=lambda item: item.config_id)]


def test_what_the_index_gives_is_what_the_records_hold(tmp_path: Path) -> None:
    store = fill_fast(tmp_path, 30, 10)
    cold = told(store)
    assert (len(list(tmp_path.rglob(index.NAME))), len(cold)) == (30, 30)
    scan = store.digest()
    assert all(isinstance(record, Digest) for record in scan.records)
    assert told(store) == cold
    whole = {(record["config_id"], record["round"]): record for record in store.read().records}
    for record in scan.records:
        same = whole[record["config_id"], record["round"]]
        assert {**record, "curves": record["curves"]} == same
    for path in tmp_path.rglob(index.NAME):
        path.unlink()
    assert told(store) == cold


def test_a_small_store_has_no_index(tmp_path: Path) -> None:
    store = fill_fast(tmp_path, 2, 3)
    stored(store)
    assert list(tmp_path.rglob(index.NAME)) == []


@pytest.mark.parametrize("attacks", [60, pytest.param(1000, marks=FULL)])
def test_a_damaged_or_stale_index_is_never_believed(tmp_path: Path, attacks: int) -> None:
    store, choose = fill_fast(tmp_path, 26, 10), random.Random(attacks)
    cold = told(store)
    indexes = sorted(tmp_path.rglob(index.NAME))
    kinds = dict.fromkeys(("flip", "truncate", "swap", "foreign"), 0)
    for _ in range(attacks):
        path, other = choose.sample(indexes, 2)
        content = path.read_bytes()
        kind = choose.choice(list(kinds))
        if kind == "flip":
            at = choose.randrange(len(content))
            path.write_bytes(content[:at] + bytes([content[at] ^ 1 << choose.randrange(8)]) + content[at + 1 :])
        elif kind == "truncate":
            path.write_bytes(content[: choose.randrange(len(content))])
        elif kind == "swap":
            path.write_bytes(other.read_bytes())
        else:
            path.write_bytes(b"\xff" * choose.randrange(100))
        kinds[kind] += 1
        assert told(store) == cold, kind
        assert path.read_bytes().count(b'"groups"') == 1, "the index was not made anew"
    print(f"\n{attacks} attacks on indexes ({kinds}): every leaderboard was right")


def test_a_record_that_is_damaged_after_it_was_indexed_is_named(tmp_path: Path) -> None:
    store = fill_fast(tmp_path, 26, 10)
    told(store)
    victim = next(path for path in sorted(tmp_path.rglob("*.json")))
    before = victim.stat()
    victim.write_bytes(victim.read_bytes().replace(b"0.7", b"0.9", 1).replace(b"0.8", b"0.9", 1))
    # Not even where its size and its time of change look the same.
    os.utime(victim, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert victim.stat().st_size == before.st_size
    scan = store.digest()
    assert list(scan.damaged) == [victim]
    assert len(scan.records) == 259


def test_new_and_removed_records_show_at_once(tmp_path: Path) -> None:
    store = fill_fast(tmp_path, 26, 10)
    told(store)
    record = store.read().records[0]
    store.path(record).unlink()
    assert len(store.digest().records) == 259
    store.write({key: value for key, value in record.items() if key != "checksum"})
    assert len(store.digest().records) == 260


def test_a_store_that_cannot_be_written_is_read_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = fill_fast(tmp_path, 26, 10)

    def read_only(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "write_bytes", read_only)
    assert len(told(store)) == 26
    assert list(tmp_path.rglob(index.NAME)) == []


def test_many_results_are_judged_as_one_by_one(tmp_path: Path) -> None:
    draw = random.Random(3)
    store = Store(tmp_path)
    for number in range(24):
        seed = number % 3 == 0
        config = config_of("encoder=mlp", f"train.seed={int(seed)}", f"train.learning_rate={0.001 * (1 + number)}")
        for round_ in range(draw.choice((1, 2, 6, 9))):
            accuracy = 0.5 if number > 20 else 0.8 - 0.01 * number + draw.gauss(0, 0.01)
            status = {"accuracy": None} if draw.random() < 0.1 else {"accuracy": accuracy}
            store.write(simulated_record(config, round_, status))
    ranked = ranking.ranked(stored(store).items, "accuracy")
    slow = ranking.against_best(ranked, "accuracy")
    assert ranking.against_best(ranked, "accuracy", many=1) == slow
    assert {"tie", "worse", "unknown"} <= set(slow)
    for fast, exact in zip(ranking.against_best(ranked, "accuracy", many=1, too_many=1), slow, strict=True):
        assert fast == exact or (fast, exact) == ("tie", "worse"), "Bonferroni claims no more than Holm"


@pytest.mark.slow
@pytest.mark.parametrize(("configs", "rounds"), [(1000, 100), (10_000, 10)])
def test_a_leaderboard_of_100_000_records(tmp_path: Path, configs: int, rounds: int) -> None:
    fill_fast(tmp_path, configs, rounds)
    time.sleep(2)
    figures: list[tuple[str, float, float, float]] = []
    for form in ("table", "table", "table", "csv", "json"):
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, str(tmp_path), form],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        code, seconds, processor, peak = map(float, done.stderr.split()[-4:])
        assert code == 0, done.stderr
        figures.append((form, seconds, processor, peak))
    print(f"\n{configs} configs of {rounds} rounds, the first without an index; load {os.getloadavg()[0]:.1f}")
    for form, seconds, processor, peak in figures:
        print(f"leaderboard as {form}: {seconds:.2f} s, {processor:.2f} s of processor time, {peak:.0f} MiB")
    assert all(peak < 500 for *_, peak in figures)
    # Others may use the processor meanwhile; alone, the clock shows no more than this.
    assert all(processor < 3 for *_, processor, _ in figures[1:3])


@pytest.mark.parametrize("configs", [60, pytest.param(1000, marks=FULL)])
def test_a_sweep_adds_little_to_what_its_rounds_take(tmp_path: Path, configs: int) -> None:
    environment = attack.install(tmp_path / "plugin", "from tiny import pairbench_components\n")
    words = ("dataset=tiny_pairs", "encoder=tiny_encoder", "head=tiny_head", "loss=tiny_loss", "train.rounds=1")
    rest = ("train.epochs=1", "train.device=cpu", "--no-timing", "-q", "--workers", 2)

    def swept(count: int) -> tuple[float, float, float]:
        """Seconds by the clock, of processor time of all processes, and those of them that rounds trained."""
        root = tmp_path / str(count)
        rates = ",".join(f"{0.001 + number * 1e-6:.6f}" for number in range(count))
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = attack.finish(
            "run", *words, f"train.learning_rate={rates}", *rest, "--store", root, environment=environment
        )
        seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 0, done.stderr
        records = Store(root).read().records
        assert len(records) == count
        processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return seconds, processor, sum(record["cost"]["train_seconds"] for record in records)

    # One config alone shows what loading torch takes, which has to be paid once.
    once, (seconds, processor, trained) = swept(1), swept(configs)
    each = 1000 * (processor - once[1] - trained) / configs
    print(
        f"\n{configs} configs of one round and epoch, two workers: {seconds:.1f} s, {processor:.1f} s of processor "
        f"time, {trained:.1f} s of training; {once[0]:.1f} s and {once[1]:.1f} s with one config alone.\n"
        f"Beyond training, each config adds {each:.1f} ms of processor time, and all things counted the sweep takes "
        f"{1000 * (seconds - trained / 2) / configs:.1f} ms for each by the clock; load {os.getloadavg()[0]:.1f}"
    )
    assert each < 50
