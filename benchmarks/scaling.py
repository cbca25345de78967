"""Cost against the number of pairs, rounds and configs: whole programs, and the straight line through them.

    python benchmarks/scaling.py                       # minutes: three repeats of all sizes
    python benchmarks/scaling.py pairs --repeats 1

Each program is started anew and trains small networks; sizes are measured in an order drawn anew for each repeat. The
line is that of least squares through the medians, with each size weighted by one over itself, so that small
ones count too.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

COMMON = ["encoder=mlp", "encoder.hidden=[16]", "loss=cross_entropy", "train.epochs=1", "train.evaluate_every=0"]
SMALL = ["dataset.train_pairs=200", "dataset.validation_pairs=50", "dataset.test_pairs=200"]
SIZES = {
    "pairs": (1_000, 10_000, 100_000, 1_000_000),
    "rounds": (1, 10, 30, 100),
    "configs": (1, 10, 100, 1_000),
}


def words(axis: str, size: int) -> list[str]:
    """What a program of `size` pairs, rounds or configs is asked for."""
    if axis == "pairs":
        half = size // 2
        pairs = [f"dataset.train_pairs={half}", "dataset.validation_pairs=50", f"dataset.test_pairs={half}"]
        # The bundled digits in pairs of the same or different ones: any number of pairs over 5000 images.
        return ["dataset=digit_pairs", *COMMON, *pairs, "train.rounds=1"]
    if axis == "rounds":
        return [*COMMON, *SMALL, f"train.rounds={size}"]
    rates = ",".join(f"{0.0001 * (number + 1):.4f}" for number in range(size))
    return [*COMMON, *SMALL, "train.rounds=1", f"train.learning_rate={rates}"]


def cost(axis: str, size: int) -> tuple[float, float]:
    """Wall and processor seconds of one program, all its processes included."""
    with tempfile.TemporaryDirectory(prefix="scaling-") as store:
        command = [sys.executable, "-m", "pairbench", "run", *words(axis, size), "--store", store, "--no-timing", "-q"]
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def line(sizes: Sequence[int], seconds: Sequence[float]) -> tuple[float, float, float]:
    """Start (s), slope (s for one more) and R squared of the weighted line."""
    weights = [1 / size for size in sizes]
    total = sum(weights)
    mean_x = sum(w * x for w, x in zip(weights, sizes, strict=True)) / total
    mean_y = sum(w * y for w, y in zip(weights, seconds, strict=True)) / total
    spread = sum(w * (x - mean_x) ** 2 for w, x in zip(weights, sizes, strict=True))
    slope = sum(w * (x - mean_x) * (y - mean_y) for w, x, y in zip(weights, sizes, seconds, strict=True)) / spread
    start = mean_y - slope * mean_x
    left = sum(w * (y - start - slope * x) ** 2 for w, x, y in zip(weights, sizes, seconds, strict=True))
    whole = sum(w * (y - mean_y) ** 2 for w, y in zip(weights, seconds, strict=True))
    return start, slope, 1 - left / whole if whole else 1.0


def main() -> None:
    """Measure the axes that are asked for, and print a table and a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("axes", nargs="*", help=f"some of {', '.join(SIZES)}; all where none is named")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--most", type=int, default=1_000_000, help="leave larger sizes out")
    chosen = parser.parse_args()
    if unknown := set(chosen.axes) - set(SIZES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}. Choose from {', '.join(SIZES)}.")
    for axis in chosen.axes or list(SIZES):
        sizes = [size for size in SIZES[axis] if size <= chosen.most]
        taken: dict[int, list[tuple[float, float]]] = {size: [] for size in sizes}
        for _ in range(chosen.repeats):
            for size in random.sample(sizes, len(sizes)):
                taken[size].append(cost(axis, size))
        print(f"{axis:>10} {'wall s':>8} {'CPU s':>8}  lowest and highest wall")
        for size, found in taken.items():
            walls, used = zip(*found, strict=True)
            middle = statistics.median(walls), statistics.median(used)
            print(f"{size:>10,} {middle[0]:8.2f} {middle[1]:8.2f}  {min(walls):.2f} to {max(walls):.2f}")
        for name, place in (("wall", 0), ("CPU", 1)):
            medians = [statistics.median(each[place] for each in taken[size]) for size in sizes]
            start, slope, fit = line(sizes, medians)
            print(f"{name}: {start:.2f} s + {1e6 * slope:,.1f} us for each of the {axis}, R2 = {fit:.4f}")
    print(f"{chosen.repeats} repeats; load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
