"""Promise 12: a hostile image is named in one line; it neither crashes the command nor takes its memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import attack
import malformed
import pytest
from pictures import picture

FULL = pytest.mark.slow
# Runs the command on each list of pairs, in one process, so that its memory counts for all of them.
COMMANDS = """
import contextlib, io, resource, sys
from pathlib import Path
from pairbench.cli import invoke
words = ["dataset=csv", "dataset.image_size=8", "encoder=mlp", "loss=cross_entropy"]
words += ["--workers", "0", "-q", "--no-timing"]
for path in sorted(Path(sys.argv[1]).glob("*.csv")):
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        code = invoke(["run", *words, f"dataset.path={path}", "--store", sys.argv[1] + "/store"])
    print(code, path.stem, repr(said.getvalue()), sep="\\t")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.parametrize("count", [15, pytest.param(100, marks=FULL)])
def test_each_hostile_image_is_named_in_one_line_within_memory(tmp_path: Path, count: int) -> None:
    seed = attack.chance("images", count).randrange(2**31)
    wrong = dict(malformed.malformed(120, seed=seed))
    # The first are made by hand, the others drawn.
    files = {name: wrong[name] for name in list(wrong)[:: len(wrong) // count][:count]}
    files |= {f"bomb-{name}": content for name, content in malformed.bombs().items()}
    rows = ["first,second,label,split"]
    for number, split in enumerate(("train", "val", "test")):
        names = [picture(tmp_path / f"sound{2 * number + half}.png", 2 * number + half).name for half in (0, 1)]
        rows.append(f"{','.join(names)},1,{split}")
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        (tmp_path / f"{name}.csv").write_text("\n".join([*rows, f"{name},sound0.png,0,train"]))
    environment = os.environ | {"PAIRBENCH_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, str(tmp_path)], capture_output=True, text=True, env=environment, check=True
    )
    *lines, peak = done.stdout.splitlines()
    assert len(lines) == len(files)
    for line in lines:
        code, name, said = line.split("\t")
        assert code == "2", line
        assert name in said, line
        assert said.count("\\n") == 1, line
    print(
        f"\n{len(files) - 5} malformed images and 5 bombs, each in a command: each named in one line, peak {peak} MiB"
    )
    assert int(peak) < 1500
