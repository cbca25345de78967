"""Worker processes, from outside: crashes, timeouts, interruption, resuming, determinism.

Each test pays torch's start-up in a process of its own, so there are few and each looks at much.
"""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import pairbench
from pairbench.store.store import Store

SMALL = [
    "encoder=mlp", "loss=cross_entropy", "dataset.train_pairs=60", "dataset.validation_pairs=20",
    "dataset.test_pairs=40", "train.epochs=2", "train.rounds=3",
]  # fmt: skip


@pytest.fixture(scope="module")
def plugin(tmp_path_factory) -> Path:
    """A folder to put on PYTHONPATH: a distribution whose encoders go wrong in every way."""
    folder = tmp_path_factory.mktemp("wrong")
    (folder / "wrongdoers.py").write_text(
        textwrap.dedent(
            '''
            import os, sys, tempfile, time
            from pathlib import Path
            import pairbench

            USED = []

            class Wrong(pairbench.Encoder):
                """Goes wrong.

                how: in which way.
                """
                name = "wrong"
                how: str

                def build(self, image_shape):
                    import torch
                    from torch import nn

                    class Module(nn.Module):
                        def __init__(self, how):
                            super().__init__()
                            self.how, self.linear = how, nn.LazyLinear(10)
                        def forward(self, images):
                            if self.training:
                                if self.how == "exit": os._exit(3)
                                if self.how == "quit": sys.exit("had enough")
                                if self.how == "kill": os.kill(os.getpid(), 9)
                                if self.how == "hang": time.sleep(600)
                                if self.how == "spoil":
                                    for path in Path(tempfile.gettempdir()).rglob("train/target.npy"):
                                        # Not in place: what another worker has mapped must not end under it.
                                        draft = path.with_suffix(".spoilt")
                                        draft.write_bytes(path.read_bytes()[:-8] + bytes(8))
                                        draft.replace(path)
                                if self.how == "greedy" and self not in USED:
                                    USED.append(self)
                                    if len(USED) > 1: raise MemoryError("the round before took it all")
                                if self.how == "raise": raise RuntimeError("no more")
                            out = self.linear(images.flatten(1))
                            if self.how == "nan": out = out * float("nan")
                            return images if self.how == "shape" else out
                    return Module(self.how)

            @pairbench.hookimpl
            def pairbench_components():
                return [Wrong]
            '''
        )
    )
    info = folder / "wrongdoers-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wrongdoers\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pairbench]\nwrongdoers = wrongdoers\n")
    return folder


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pairbench", "run", *arguments]


def run(store: Path, *arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    folders = [str(path), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | ({"PYTHONPATH": os.pathsep.join(folders)} if path else {})
    return subprocess.run(
        command(*arguments, "--store", str(store)), capture_output=True, text=True, env=environment, timeout=240
    )


def test_a_component_that_goes_wrong_fails_only_its_own_rounds(plugin, tmp_path):
    ways = "exit,quit,kill,hang,raise,nan,shape,good"
    words = [*SMALL, "encoder=wrong", f"encoder.how={ways}", "train.rounds=1"]
    words = [word for word in words if word not in ("encoder=mlp", "train.rounds=3")]
    done = run(tmp_path, *words, "--no-timing", "--round-timeout", "8", "--format", "json", path=plugin)
    assert done.returncode == 1, done.stderr
    results = {r["config"]["encoder.how"]: r["rounds"][0] for r in json.loads(done.stdout)["results"]}
    statuses = {how: record["status"] for how, record in results.items()}
    assert statuses == dict.fromkeys(ways.split(","), "failed") | {"nan": "diverged", "good": "finished"}
    reasons = {how: record["error"]["reason"] for how, record in results.items() if "error" in record}
    assert "exited with code 3" in reasons["exit"]
    assert "SystemExit: had enough" in reasons["quit"]
    assert "SIGKILL" in reasons["kill"]
    assert "more than 8 s" in reasons["hang"]
    assert reasons["raise"] == "RuntimeError: no more"
    assert "expected a tensor (1, D)" in reasons["shape"]
    assert "no more" in results["raise"]["error"]["traceback"]
    assert "Traceback" not in done.stderr


def test_a_round_that_fails_after_others_in_one_process_is_trained_again_alone(plugin, tmp_path):
    words = [*SMALL[1:-1], "train.rounds=16", "train.engine=loop", "encoder=wrong", "encoder.how=greedy", "--no-timing"]
    done = run(tmp_path, *words, "--workers", "2", path=plugin)
    assert done.returncode == 0, done.stderr
    assert [record["status"] for record in Store(tmp_path).read().records] == ["finished"] * 16


@pytest.mark.parametrize("workers", ["0", "2"])
def test_nothing_is_made_of_pools_that_change_while_they_are_trained_with(plugin, tmp_path, monkeypatch, workers):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    words = [*SMALL[1:], "encoder=wrong", "encoder.how=spoil", "--no-timing", "--workers", workers]
    done = run(tmp_path / "store", *words, path=plugin)
    assert done.returncode == 1
    assert "were changed or removed during the run" in done.stderr.splitlines()[-1]
    assert "run the same command again" in done.stderr
    assert not Store(tmp_path / "store").read().records


def test_workers_give_the_same_records_as_this_process_and_resume_trains_nothing_twice(tmp_path):
    first = run(tmp_path / "workers", *SMALL, "--no-timing", "--format", "json")
    assert first.returncode == 0, first.stderr
    here = pairbench.run(*SMALL, workers=0, timing=False, store=tmp_path / "here")
    (result,) = json.loads(first.stdout)["results"]
    assert [record["metrics"] for record in result["rounds"]] == [record["metrics"] for record in here[0].records]
    assert [record["curves"] for record in result["rounds"]] == [record["curves"] for record in here[0].records]
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "workers").rglob("*.json")}
    started = time.monotonic()
    again = run(tmp_path / "workers", *SMALL, "--no-timing", "--format", "json")
    assert json.loads(again.stdout) == json.loads(first.stdout)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "workers").rglob("*.json")} == times
    assert time.monotonic() - started < 3, "a run that is in the store must not load torch"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_an_interrupt_keeps_what_is_finished_and_leaves_no_worker(tmp_path):
    words = [word for word in SMALL if not word.startswith("train.")]
    arguments = [*words, "train.epochs=60", "train.rounds=200", "--no-timing", "--store", str(tmp_path)]
    with subprocess.Popen(command(*arguments), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        # Names with a dot before them are drafts that are being written.
        while len(list(tmp_path.glob("*/[!.]*.json"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Finished rounds are saved" in error.splitlines()[-1]
    assert "Traceback" not in error
    scan = Store(tmp_path).read()
    assert len(scan.records) >= 2
    assert not scan.damaged
    kept = len(scan.records)
    time.sleep(1)
    assert len(Store(tmp_path).read().records) == kept, "a worker lives on"


def test_timing_is_taken_and_kept_for_the_next_time(tmp_path):
    words = [*SMALL[:-2], "train.epochs=1", "train.rounds=1"]
    first = run(tmp_path, *words, "--format", "json")
    (result,) = json.loads(first.stdout)["results"]
    timing = result["timing"]
    for figure in ("training_pairs_per_second", "inference_pairs_per_second"):
        part = timing[figure]
        assert 0 < part["low"] <= part["median"] <= part["high"]
    assert 0 < timing["latency_ms"]["p50"] <= timing["latency_ms"]["p95"]
    assert timing["environment"]["threads"] == 1
    again = json.loads(run(tmp_path, *words, "--format", "json").stdout)["results"][0]
    assert again["timing"] == timing
    without = json.loads(run(tmp_path, *words, "--no-timing", "--format", "json").stdout)["results"][0]
    assert without["timing"] is None
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and tmp_path / "cache" not in path.parents]
    assert all(path.suffix in (".json", ".timing") for path in kept)


def test_a_mismatch_stops_the_run_before_anything_trains(tmp_path):
    done = run(tmp_path, "encoder=mlp,cnn", "encoder.embedding_dim=10,64", "loss=aux", "--no-timing", "-q")
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "must be 10, the number of classes, got 64. Set encoder.embedding_dim=10 or loss.classifier=linear." in line
    assert not list(tmp_path.rglob("*.json"))
