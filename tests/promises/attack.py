"""What the attacks share: a plugin whose encoders go wrong, commands in processes of their own, and what to compare."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pairbench.store.record import SPENT
from pairbench.store.store import Store

TESTS = Path(__file__).parents[1]
# Equal runs draw equal attacks; another seed draws others.
SEED = int(os.environ.get("PAIRBENCH_ATTACK_SEED", "0"))
# Small rounds that train for real; `encoder.how` and `encoder.pause` say what goes wrong and how long a step takes.
# The engine is named, since `auto` measures which is faster and the record says what it chose.
WORDS = (
    "dataset=tiny_pairs", "encoder=wrong", "head=tiny_head", "loss=tiny_loss", "train.device=cpu", "train.engine=loop",
)  # fmt: skip
SOURCE = '''
    import os, sys, time
    import pairbench
    from tiny import TinyHead, TinyLoss, TinyPairs

    class Wrong(pairbench.Encoder):
        """Goes wrong while it trains.

        how: in which way.
        width: makes configs differ.
        pause: seconds that each step takes longer.
        """
        name = "wrong"
        how: str = "well"
        width: int = 3
        pause: float = 0.0

        def build(self, image_shape):
            import torch
            from torch import nn
            kept = []

            class Module(nn.Module):
                def __init__(self, how, width, pause):
                    super().__init__()
                    self.how, self.pause, self.linear = how, pause, nn.LazyLinear(width)
                def forward(self, images):
                    if self.training:
                        time.sleep(self.pause)
                        if self.how == "segfault":
                            import ctypes
                            ctypes.string_at(0)
                        if self.how == "memory":
                            while True:
                                kept.append(torch.ones(2**22))
                        if self.how == "python_memory":
                            while True:
                                kept.append(bytes(2**24))
                        if self.how == "closed":
                            os.closerange(3, 4096)
                            time.sleep(600)
                        if self.how == "thread":
                            import threading
                            threading.Thread(target=time.sleep, args=(600,)).start()
                    return self.linear(images.flatten(1))
            return Module(self.how, self.width, self.pause)

    @pairbench.hookimpl
    def pairbench_components():
        return [TinyPairs, TinyHead, TinyLoss, Wrong]
'''


def chance(*parts: object) -> random.Random:
    """What an attack named by `parts` draws from."""
    return random.Random(repr((SEED, *parts)))


def install(folder: Path, source: str = SOURCE, name: str = "attack") -> dict[str, str]:
    """Make a distribution of `source` below `folder`; gives back the environment in which commands find it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}_plugin.py").write_text(textwrap.dedent(source))
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[pairbench]\n{name} = {name}_plugin\n")
    given = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": os.pathsep.join((str(folder), str(TESTS), *([given] if given else [])))}


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "pairbench", *map(str, arguments)]


def start(arguments: tuple[object, ...], environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """The command as the leader of a process group of its own."""
    return subprocess.Popen(
        command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        start_new_session=True,
    )


def finish(
    *arguments: object, environment: Mapping[str, str], timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """The command, run to its end."""
    process = start(arguments, environment)
    try:
        out, error = process.communicate(timeout=timeout)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, out, error)


def children(pid: int) -> list[int]:
    """The processes that `pid` has started and that have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def workers(pid: int) -> list[int]:
    """The worker processes of the command `pid`: the children of its server."""
    return [worker for server in children(pid) for worker in children(server)]


def kill(pid: int, *, group: bool = False) -> bool:
    """Send SIGKILL; whether there was anybody to receive it."""
    try:
        if group:
            os.killpg(os.getpgid(pid), signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def wait_for(condition: Any, seconds: float = 60.0) -> Any:
    """What `condition()` gives as soon as it is true."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError(f"nothing happened within {seconds} s")


def essence(record: Mapping[str, Any]) -> str:
    """A record without what depends on when and how fast it was made, as text."""
    kept = {key: value for key, value in record.items() if key not in ("checksum", "provenance")}
    kept["cost"] = {key: value for key, value in record["cost"].items() if key not in SPENT}
    return json.dumps(kept, sort_keys=True)


def finished(root: Path) -> dict[tuple[str, int], str]:
    """The essence of each finished round, after checking that none is there twice and no file is damaged."""
    scan = Store(root).read()
    assert scan.damaged == {}
    found: dict[tuple[str, int], str] = {}
    for record in scan.records:
        if record["status"] != "failed":
            key = (record["config_id"], record["round"])
            assert key not in found, f"{key} is there twice"
            found[key] = essence(record)
    return found
