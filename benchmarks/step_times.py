"""Milliseconds of a training step of the report's nine networks, in this checkout and in another one, in turns.

    python benchmarks/step_times.py                          # this checkout alone
    python benchmarks/step_times.py ../before/.venv/bin/python   # and another, by the Python that it is installed in

Each turn trains one round of each network with the engine `loop`, one thread and one worker, and reads the seconds of
training from the record; the median over the turns, and of the ratios of paired turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile

PAIRS, BATCH, EPOCHS = 1000, 64, 4
WORDS = ("--suite", "report", "train.rounds=1", f"train.epochs={EPOCHS}", "train.engine=loop", "train.evaluate_every=0")
OPTIONS = ("--no-timing", "--workers", "1", "--format", "json")


def steps(python: str) -> dict[str, float]:
    """Milliseconds of a step of each network, by its name."""
    with tempfile.TemporaryDirectory() as store:
        command = [python, "-m", "pairbench", "run", *WORDS, *OPTIONS, "--store", store]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    count = EPOCHS * -(-PAIRS // BATCH)
    return {
        item["name"]: 1000 * item["rounds"][0]["cost"]["train_seconds"] / count
        for item in json.loads(done.stdout)["results"]
    }


def main() -> None:
    """Print a row for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", nargs="?", help="the Python of another checkout's virtual environment")
    parser.add_argument("--turns", type=int, default=9)
    options = parser.parse_args()
    pythons = [sys.executable, *([options.other] if options.other else [])]
    turns = [[steps(python) for python in (pythons if turn % 2 else pythons[::-1])] for turn in range(options.turns)]
    ordered = [found if turn % 2 else found[::-1] for turn, found in enumerate(turns)]
    print(f"{'network':40} {'here ms':>8}" + (f" {'other ms':>9} {'here / other':>13}" if options.other else ""))
    for name in ordered[0][0]:
        here = [found[0][name] for found in ordered]
        line = f"{name:40} {statistics.median(here):8.2f}"
        if options.other:
            other = [found[1][name] for found in ordered]
            ratios = [one / two for one, two in zip(here, other, strict=True)]
            line += f" {statistics.median(other):9.2f} {statistics.median(ratios):13.3f}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
