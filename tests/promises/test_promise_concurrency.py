"""Promise 3: writers race without harm, and runs of the same suite share the work."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import attack
import pytest
from conftest import config_of, simulated_record

from pairbench.store.locks import Claim
from pairbench.store.store import Store

FULL = pytest.mark.slow


def write(root: str, writer: int, count: int, start: Any, wins: Any) -> None:
    """The body of a writer: `count` records of its own, then `count` that all race for."""
    store, config = Store(root), config_of("encoder=cnn")
    own = [simulated_record(config, 100_000 + writer * count + number) for number in range(count)]
    raced = [simulated_record(config, number, {"accuracy": writer / 10}) for number in range(count)]
    start.wait()
    written = sum(store.write(record) for record in own)
    wins.put((writer, written, [record["round"] for record in raced if store.write(record)]))


@pytest.mark.parametrize(("writers", "count"), [(4, 20), pytest.param(8, 500, marks=FULL)])
def test_every_writer_keeps_its_own_and_one_keeps_each_raced_round(tmp_path: Path, writers: int, count: int) -> None:
    context = multiprocessing.get_context("spawn")
    start, wins = context.Barrier(writers), context.Queue()
    racing = [
        context.Process(target=write, args=(str(tmp_path), writer, count, start, wins)) for writer in range(writers)
    ]
    for process in racing:
        process.start()
    told = [wins.get(timeout=280) for _ in racing]
    for process in racing:
        process.join(60)
    scan = Store(tmp_path).read()
    assert scan.damaged == {}
    own = [record for record in scan.records if record["round"] >= 100_000]
    raced = [record for record in scan.records if record["round"] < 100_000]
    assert [written for _, written, _ in told] == [count] * writers
    assert len(own) == writers * count
    winner = {number: writer for writer, _, numbers in told for number in numbers}
    assert sum(len(numbers) for _, _, numbers in told) == len(winner) == len(raced) == count
    assert all(round(10 * record["metrics"]["accuracy"]) == winner[record["round"]] for record in raced)
    print(
        f"\n{writers} writers: {len(own)} records of their own, all there; {count} raced for, each kept by the first, "
        "0 overwritten"
    )


def test_a_claim_is_had_by_one_and_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / ".claim"
    first = Claim.take(path)
    assert first is not None
    assert Claim.take(path) is None
    first.release()
    second = Claim.take(path)
    assert second is not None
    second.release()
    assert list(tmp_path.iterdir()) == []


def hold(path: str, ready: Any) -> None:
    kept = Claim.take(Path(path))
    ready.put(kept is not None)
    time.sleep(60)


def test_the_claim_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Queue()
    process = context.Process(target=hold, args=(str(tmp_path / ".claim"), ready))
    process.start()
    assert ready.get(timeout=60)
    assert Claim.take(tmp_path / ".claim") is None
    process.kill()
    process.join()
    claim = Claim.take(tmp_path / ".claim")
    assert claim is not None
    claim.release()


def count_up(path: str, counter: str, times: int) -> None:
    for _ in range(times):
        while (claim := Claim.take(Path(path))) is None:
            pass
        value = int(Path(counter).read_text())
        Path(counter).write_text(str(value + 1))
        claim.release()


def test_no_two_processes_hold_a_claim_at_once(tmp_path: Path) -> None:
    (tmp_path / "counter").write_text("0")
    context = multiprocessing.get_context("spawn")
    arguments = (str(tmp_path / ".claim"), str(tmp_path / "counter"), 300)
    racing = [context.Process(target=count_up, args=arguments) for _ in range(4)]
    for process in racing:
        process.start()
    for process in racing:
        process.join(120)
    assert (tmp_path / "counter").read_text() == "1200"


TRACE = """

    _build = Wrong.build
    def build(self, image_shape):
        module = _build(self, image_shape)
        forward, seen = module.forward, []
        def traced(images):
            if self.how != "well" and module.training:
                seen.append(1)
                if len(seen) in (1, 6):
                    with open(self.how, "a") as file:
                        file.write(f"{len(seen)}\\n")
            return forward(images)
        module.forward = traced
        return module
    Wrong.build = build
"""


@pytest.mark.parametrize(
    ("runs", "killed", "engine"),
    [(2, True, "loop"), pytest.param(4, False, "loop", marks=FULL), pytest.param(4, False, "auto", marks=FULL)],
)
def test_two_runs_of_the_same_suite_at_once_train_each_round_once(
    tmp_path: Path, runs: int, killed: bool, engine: str
) -> None:
    environment = attack.install(tmp_path / "plugin", attack.SOURCE + TRACE)
    # A model leaves a line at its first step and at its last, so that work done twice is seen. Where the engine is
    # open, each run takes a few steps of each config to see whether measuring pays; they are no trainings.
    trace, root, count = tmp_path / "trace", tmp_path / "store", 24
    trace.write_text("")
    own = (f"encoder.how={trace}", "encoder.width=3,4", "encoder.pause=0.02")
    words = (*attack.WORDS[:-1], f"train.engine={engine}", *own, f"train.rounds={count // 2}", "train.epochs=6")
    arguments = ("run", *words, "--no-timing", "--workers", 2)
    together = [
        attack.start((*arguments, "--store", root, "--format", "json"), environment) for _ in range(runs + killed)
    ]
    if killed:
        # One of them dies in the middle, and the others take over.
        attack.wait_for(lambda: len(attack.finished(root)) >= 4)
        attack.kill(together[-1].pid, group=True)
    outputs = [process.communicate(timeout=200) for process in together]
    survivors = list(zip(together, outputs, strict=True))[: runs if killed else None]
    assert [process.returncode for process, _ in survivors] == [0] * runs, outputs
    told = [json.loads(out)["results"] for _, (out, _) in survivors]
    assert all(one == told[0] for one in told)
    assert len(attack.finished(root)) == count
    begun, trained = (trace.read_text().splitlines().count(step) for step in ("1", "6"))
    # A killed run had at most two rounds in hand.
    assert count <= trained <= count + 2 * killed, f"{trained} trainings of {count} rounds"
    assert begun <= count + 2 * killed + (2 * runs if engine == "auto" else 0), f"{begun} models began to train"
    # The one that was killed may have been writing a record, whose draft is removed once it is old.
    assert [path.name for path in root.rglob(".*") if not (killed and path.suffix == ".tmp")] == []
    print(
        f"\n{runs + killed} runs at once, {int(killed)} killed: {count} rounds, {trained} trainings to the end, "
        f"{begun} begun, equal results ({engine})"
    )


@pytest.mark.skipif(os.name == "nt", reason="Windows has no flock")
def test_a_run_in_this_process_picks_up_what_another_has_claimed(tmp_path: Path, tiny_registry: object) -> None:
    import threading

    import tiny

    import pairbench
    from pairbench.execution.claims import SHARED
    from pairbench.execution.runner import make_plan

    words = (*tiny.SPECS, "train.rounds=3", "train.epochs=1")
    (member,) = make_plan(words, registry=tiny_registry).configs
    store, key = Store(tmp_path), member.round_keys()[1]
    claim = store.claim(member.config.config_id, 1, key)
    assert claim is not None
    record = simulated_record(member.config, 1, {"accuracy": 0.125}, context=member.context)

    def finish_it() -> None:
        attack.wait_for(lambda: len(store.read().records) == 2)
        store.write(record)
        claim.release()

    other = threading.Thread(target=finish_it)
    other.start()
    results = pairbench.run(*words, store=tmp_path, workers=0, timing=False)
    other.join()
    assert results[0].values("accuracy")[1] == 0.125
    assert len(results[0].finished) == 3
    assert SHARED in results.notes
