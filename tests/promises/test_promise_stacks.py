"""Promise 2 where rounds are trained at once: a worker that is killed costs no bit."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import attack
import pytest

from pairbench.store.store import Store


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the workers in /proc")
@pytest.mark.parametrize("times", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_stack_whose_worker_is_killed_is_trained_again_and_one_that_is_killed_twice_round_by_round(
    tmp_path: Path, times: int
) -> None:
    environment, root = attack.install(tmp_path / "plugin"), tmp_path / "store"
    words = (*attack.WORDS[:-1], "train.engine=stacked", "encoder.pause=0.2", "train.rounds=5", "train.epochs=5")
    arguments = ("run", *words, "--no-timing", "-q", "--workers", 1, "--store")
    process, killed = attack.start((*arguments, root), environment), set[int]()
    for _ in range(times):
        # A claim says that the stack is being trained, and not only checked or prepared.
        attack.wait_for(lambda: list(root.glob("*/.*.claim")) and set(attack.workers(process.pid)) - killed)
        (pid,) = set(attack.workers(process.pid)) - killed
        killed.add(pid)
        assert attack.kill(pid)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    engines = Counter(record["environment"]["engine"] for record in Store(root).read().records)
    assert engines == {"stacked" if times == 1 else "loop": 5}
    if times == 1:
        straight = attack.finish(*arguments, tmp_path / "straight", environment=environment)
        assert straight.returncode == 0, straight.stderr
        assert attack.finished(root) == attack.finished(tmp_path / "straight")
