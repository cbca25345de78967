"""Promises 1, 2 and 8: whatever is killed when, nothing is lost, doubled or half; what goes wrong stays alone."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import attack
import pytest

import pairbench
from pairbench.cli import invoke
from pairbench.store.store import Store

ONE, FULL = 1, pytest.mark.slow


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the workers in /proc")
@pytest.mark.parametrize(("kills", "groups"), [(8, 1), pytest.param(200, 10, marks=FULL)])
def test_a_sweep_that_is_killed_again_and_again_ends_as_if_it_had_not_been(
    tmp_path: Path, kills: int, groups: int
) -> None:
    environment = attack.install(tmp_path / "plugin")
    choose, root = attack.chance("kills", kills), tmp_path / "store"
    configs, rounds, seeds = *((6, 10) if kills < 100 else (12, 20)), 1

    def arguments(*seeds: int, store: Path = root) -> tuple[object, ...]:
        options = ("--no-timing", "-q", "--workers", 4, "--store", store, "--retry-failed")
        widths = ",".join(str(width) for width in range(2, 2 + configs))
        words = (f"encoder.width={widths}", "encoder.pause=0.01", f"train.rounds={rounds}", "train.epochs=3")
        return ("run", *attack.WORDS, *words, f"train.seed={','.join(map(str, seeds))}", *options)

    sent, group_kills, kept = 0, 0, dict[tuple[str, int], str]()
    while group_kills < groups:
        process = attack.start(arguments(seeds - 1), environment)
        attack.wait_for(lambda p=process: p.poll() is not None or attack.workers(p.pid))
        # Sometimes at once, while pools and profiles are made; mostly when rounds are training.
        stop = time.monotonic() + choose.choice((0, 0.3, 3, 4)) * choose.random()
        share = (kills - groups - (sent - group_kills)) / (groups - group_kills)
        for _ in range(round(share)):
            time.sleep(choose.uniform(0, 0.2))
            alive = attack.workers(process.pid)
            sent += bool(alive) and attack.kill(choose.choice(alive))
        time.sleep(max(0.0, stop - time.monotonic()))
        # The server leads a group of its own: the user's whole tree is both groups. Where the command's alone is
        # killed, the server has to notice, and the next command meets its workers.
        command, server = [process.pid], attack.children(process.pid)
        victims = choose.choice((command + server, server + command, command))
        hit = [attack.kill(victim, group=True) for victim in victims if process.poll() is None or victim != process.pid]
        process.communicate()
        # A sweep that has reached its end offers nothing more to kill: the next one has another seed.
        seeds += process.returncode == 0
        group_kills += any(hit)
        sent += any(hit)
        time.sleep(0.05)
        now = attack.finished(root)
        assert kept.items() <= now.items(), "a finished round is lost or has changed"
        kept = now
    before = len(kept)
    while sent < kills:
        process = attack.start(arguments(seeds - 1), environment)
        while process.poll() is None and sent < kills:
            alive = attack.workers(process.pid)
            sent += bool(alive) and attack.kill(choose.choice(alive))
            time.sleep(choose.uniform(0, 0.1))
        process.communicate()
        seeds += process.returncode == 0
    done = attack.finish(*arguments(*range(seeds)), environment=environment)
    assert done.returncode == 0, done.stderr
    found = attack.finished(root)
    assert kept.items() <= found.items()
    straight = attack.finish(*arguments(*range(seeds), store=tmp_path / "straight"), environment=environment)
    assert straight.returncode == 0, straight.stderr
    assert found == attack.finished(tmp_path / "straight")
    assert len(found) == configs * rounds * seeds
    print(
        f"\n{sent} SIGKILLs, {group_kills} of them to the whole tree: {len(found)} rounds, 0 lost, 0 doubled, "
        f"0 damaged, all equal to those of an uninterrupted sweep ({before} had ended before the last kill of the tree)"
    )
    assert sent >= kills


def test_what_segfaults_takes_all_memory_or_will_not_end_fails_only_its_own_rounds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environment, root = attack.install(tmp_path / "plugin"), tmp_path / "store"
    ways = ("segfault", "memory", "python_memory", "closed", "thread", "well")
    words = (*attack.WORDS, f"encoder.how={','.join(ways)}", "train.rounds=1", "train.epochs=1", "--no-timing")
    limits = ("--memory-limit", 700, "--round-timeout", 60)
    started = time.monotonic()
    done = attack.finish("run", *words, *limits, "--store", root, "--format", "json", environment=environment)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    results = {item["config"]["encoder.how"]: item["rounds"][0] for item in json.loads(done.stdout)["results"]}
    failed = ("segfault", "memory", "python_memory", "closed")
    assert {how: item["status"] for how, item in results.items()} == {
        how: "failed" if how in failed else "finished" for how in ways
    }
    reasons = {how: results[how]["error"]["reason"] for how in failed}
    assert "SIGSEGV" in reasons["segfault"]
    assert "string_at" in results["segfault"]["error"]["traceback"]
    assert "memory" in reasons["memory"]
    assert "MemoryError" in reasons["python_memory"]
    assert "closed its pipe" in reasons["closed"]
    assert time.monotonic() - started < 60, "the run waited for the round timeout"
    # Told by the commands that look, and tried again when asked.
    assert invoke(["leaderboard", "--failed", "--store", str(root), "--format", "json"]) == 0
    told = {item["reason"]: item["traceback"] for item in json.loads(capsys.readouterr().out)["failures"]}
    assert set(told) == set(reasons.values())
    assert "string_at" in told[reasons["segfault"]]
    invoke(["doctor", "--store", str(root), "--format", "json"])
    store = json.loads(capsys.readouterr().out)["store"]
    assert {item["reason"]: item["traceback"] for item in store["failures"]} == told


SHARED = '''
    import os
    import pairbench
    from tiny import TinyHead, TinyLoss, TinyPairs

    class Shared(pairbench.Encoder):
        """Says in which process it trains, and crashes some of them.

        width: makes configs differ.
        """
        name = "shared"
        width: int = 3

        def build(self, image_shape):
            from torch import nn

            class Module(nn.Module):
                def __init__(self, width):
                    super().__init__()
                    self.width, self.linear = width, nn.LazyLinear(width)
                def forward(self, images):
                    if self.training:
                        with open(os.environ["PIDS"], "a") as file:
                            file.write(f"{os.getpid()} {self.width}\\n")
                        if self.width in (7, 8, 12):
                            import ctypes
                            ctypes.string_at(0)
                    return self.linear(images.flatten(1))
            return Module(self.width)

    @pairbench.hookimpl
    def pairbench_components():
        return [TinyPairs, TinyHead, TinyLoss, Shared]
'''


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a new process takes longer than any of this")
def test_short_rounds_that_share_a_process_do_not_share_its_crash(tmp_path: Path) -> None:
    environment = attack.install(tmp_path / "plugin", SHARED, "shared") | {"PIDS": str(tmp_path / "pids")}
    words = ("dataset=tiny_pairs", "encoder=shared", "head=tiny_head", "loss=tiny_loss", "train.engine=loop")
    widths = f"encoder.width={','.join(map(str, range(2, 22)))}"
    rest = ("train.rounds=1", "train.epochs=1", "--no-timing", "--workers", 1, "--store", tmp_path / "store")
    done = attack.finish("run", *words, widths, *rest, "--format", "json", environment=environment)
    assert done.returncode == 1, done.stderr
    rounds = {item["config"]["encoder.width"]: item["rounds"][0] for item in json.loads(done.stdout)["results"]}
    assert [width for width, record in rounds.items() if record["status"] == "failed"] == [7, 8, 12]
    assert all("SIGSEGV" in rounds[width]["error"]["reason"] for width in (7, 8, 12))
    told = dict.fromkeys(tuple(map(int, line.split())) for line in (tmp_path / "pids").read_text().splitlines())
    at = {width: [pid for pid, other in told if other == width] for width in rounds}
    assert len({pid for pid, _ in told}) < len(rounds), "every round had a process of its own"
    assert all(len(pids) == 1 for width, pids in at.items() if width not in (7, 8, 12))
    alone = [at[width][-1] for width in (7, 8, 12)]
    assert all([pid for pid, _ in told].count(pid) == 1 for pid in alone), "what failed may not be to blame"


def test_rounds_that_failed_are_trained_again_only_when_asked(tmp_path: Path, tiny_registry: object) -> None:
    import tiny
    from conftest import simulated_record

    from pairbench.execution.runner import make_plan

    words = (*tiny.SPECS, "train.rounds=3", "train.epochs=1")
    (member,) = make_plan(words, registry=tiny_registry).configs
    error = {"reason": "boom", "traceback": "Traceback: boom"}
    failure = simulated_record(member.config, 1, {}, context=member.context, status="failed", cost={}, error=error)
    Store(tmp_path).write(failure)
    first = pairbench.run(*words, store=tmp_path, workers=0, timing=False)
    assert [record["status"] for record in first[0].records] == ["finished", "failed", "finished"]
    again = pairbench.run(*words, store=tmp_path, workers=0, timing=False, retry_failed=True)
    assert [record["status"] for record in again[0].records] == ["finished"] * 3
