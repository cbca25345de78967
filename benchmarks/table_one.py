"""Table I by the obvious loop and by pairbench: the same networks, data, rounds and epochs, curves each epoch.

    python benchmarks/table_one.py                                  # all of it, as the report trains: hours
    python benchmarks/table_one.py --share 0.05 --obvious-rounds 1  # minutes, carried on to the whole

Both sides run as programs of their own and take turns in an order drawn anew for each repeat; the obvious loop runs
with one and with two threads, and the better counts. With --share below 1, pairbench runs at that share of the epochs
and at twice it, and the line through both tells what all epochs take: its start is paid once. The obvious loop is
proportional to epochs and rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from obvious import Row, shortened, table_one

HERE = Path(__file__).parent


def obvious(rows: Sequence[Row], share: float, rounds: int, threads: int) -> dict[str, Any]:
    """What benchmarks/obvious.py prints, and the wall seconds of the whole program."""
    command = [sys.executable, str(HERE / "obvious.py"), "--rows", ",".join(row.name for row in rows)]
    command += ["--share", str(share), "--rounds", str(rounds), "--threads", str(threads)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    found: dict[str, Any] = json.loads(done.stdout)
    return found | {"wall": time.perf_counter() - started}


def ours(rows: Sequence[Row], share: float, rounds: int, words: Sequence[str], workers: int | None) -> dict[str, Any]:
    """What pairbench takes for `share` of the epochs: wall seconds, and for each row CPU seconds and accuracies."""
    names = [row.name for row in rows]
    with tempfile.TemporaryDirectory(prefix="table-one-") as store:
        order = json.dumps([names, share, rounds, list(words), workers, store])
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, __file__, "--inside", order], capture_output=True, text=True, check=False
        )
        wall = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"pairbench failed:\n{done.stderr[-2000:]}")
    records = json.loads(done.stdout)
    if any(len(item) != rounds for item in records):
        raise SystemExit("pairbench did not finish every round.")
    return {
        "wall": wall,
        "rows": [
            {
                "name": name,
                "cpu_seconds": sum(record["cpu_seconds"] for record in item),
                "accuracies": [record["accuracy"] for record in item],
                "engine": item[0]["how"].get("engine", "loop"),
                "precision": item[0]["how"].get("precision", "fp32"),
            }
            for name, item in zip(names, records, strict=True)
        ],
    }


def inside(order: str) -> None:
    """Train what `order` asks for with pairbench, and print the cost and accuracy of each round."""
    import pairbench
    from pairbench.config.train_options import TrainOptions

    names, share, rounds, words, workers, store = json.loads(order)
    changes = dict(word.removeprefix("train.").split("=", 1) for word in words)
    configs = []
    for row in table_one(names):
        values = row.config.train.values() | {"rounds": rounds, "epochs": shortened(row.epochs, share)} | changes
        configs.append(replace(row.config, train=TrainOptions.model_validate(values)))
    results = pairbench.run(*configs, workers=workers, timing=False, store=store)
    found = [
        [
            record["cost"] | {"accuracy": record["metrics"].get("accuracy"), "how": record["environment"]}
            for record in item.records
        ]
        for item in results
    ]
    print(json.dumps(found))


def whole_obvious(rows: Sequence[Row], run: dict[str, Any], rounds: int) -> list[float]:
    """Seconds of each row at all epochs and `rounds` rounds, then those of the start."""
    found = [
        part["seconds"] * row.epochs / part["epochs"] * rounds / run["rounds"]
        for row, part in zip(rows, run["rows"], strict=True)
    ]
    return [*found, run["wall"] - sum(part["seconds"] for part in run["rows"])]


def whole_ours(rows: Sequence[Row], small: dict[str, Any], large: dict[str, Any] | None, share: float) -> float:
    """Wall seconds at all epochs: the line through two shares, or the one run that had all of them."""
    if large is None:
        return float(small["wall"])
    done = [
        sum(shortened(row.epochs, part) * weight for row, weight in zip(rows, _weights(large), strict=True))
        for part in (share, 2 * share)
    ]
    target = sum(row.epochs * weight for row, weight in zip(rows, _weights(large), strict=True))
    slope = max(large["wall"] - small["wall"], 0.0) / max(done[1] - done[0], 1e-9)
    return float(small["wall"] + slope * (target - done[0]))


def _weights(run: dict[str, Any]) -> list[float]:
    """The CPU seconds of each row in `run`: what an epoch of one row costs beside another's."""
    return [max(part["cpu_seconds"], 1e-9) for part in run["rows"]]


def main() -> None:
    """Measure both, and print the ratio of each row and of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="train.* words for pairbench, such as train.precision=auto")
    parser.add_argument("--rows", default="", help="rows of Table I with commas between; all where none is named")
    parser.add_argument("--share", type=float, default=1.0, help="the share of each row's epochs that is trained")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--obvious-rounds", type=int, help="rounds of the obvious loop, carried on to --rounds")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, help="pairbench's workers; one a core where none is named")
    parser.add_argument("--threads", default="1,2", help="threads of the obvious loop; the better counts")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, help="a file for everything that was measured")
    chosen = parser.parse_args()
    if chosen.inside:
        inside(chosen.inside)
        return
    if not 0 < chosen.share <= 1 or any(not word.startswith("train.") for word in chosen.words):
        parser.error("--share is above 0 and at most 1; words start with train.")
    rows = table_one([name.strip() for name in chosen.rows.split(",") if name.strip()])
    threads = [int(part) for part in chosen.threads.split(",")]
    few = chosen.obvious_rounds or chosen.rounds
    scaled = chosen.share < 0.5
    shares = [chosen.share, 2 * chosen.share] if scaled else [chosen.share]
    taken: dict[str, list[Any]] = {f"obvious {count}": [] for count in threads} | {f"ours {s}": [] for s in shares}
    order = random.Random(0)
    for repeat in range(chosen.repeats):
        turns = list(taken)
        order.shuffle(turns)
        for turn in turns:
            side, _, value = turn.partition(" ")
            if side == "obvious":
                taken[turn].append(obvious(rows, chosen.share, few, int(value)))
            else:
                taken[turn].append(ours(rows, float(value), chosen.rounds, chosen.words, chosen.workers))
            print(f"repeat {repeat + 1}: {turn}: {taken[turn][-1]['wall']:.1f} s", file=sys.stderr)
    if chosen.json:
        chosen.json.write_text(json.dumps({"share": chosen.share, "load": os.getloadavg(), "taken": taken}, indent=1))
    report(rows, chosen, threads, shares, taken, few)


def report(
    rows: Sequence[Row], chosen: Any, threads: Sequence[int], shares: Sequence[float], taken: dict[str, Any], few: int
) -> None:
    """Print the table: medians over the repeats, and the lowest and highest ratio of all."""
    whole = {count: [whole_obvious(rows, run, chosen.rounds) for run in taken[f"obvious {count}"]] for count in threads}
    best = min(threads, key=lambda count: statistics.median(sum(parts) for parts in whole[count]))
    small, large = taken[f"ours {shares[0]}"], taken.get(f"ours {shares[-1]}") if len(shares) > 1 else None
    walls = [whole_ours(rows, run, large[place] if large else None, chosen.share) for place, run in enumerate(small)]
    last = large or small
    print(f"{'row':20} {'epochs':>6} {'obvious s':>10} {'pairbench s':>12} {'ratio':>7}  {'accuracy %':>15}  engine")
    for place, row in enumerate(rows):
        # The better thread count is that of the row, so a row is never judged by another's.
        theirs = min(statistics.median(parts[place] for parts in whole[count]) for count in threads)
        parts = []
        for wall, run in zip(walls, last, strict=True):
            work = [w * r.epochs / shortened(r.epochs, shares[-1]) for w, r in zip(_weights(run), rows, strict=True)]
            parts.append(wall * work[place] / sum(work))
        mine = statistics.median(parts)
        first = taken[f"obvious {best}"][0]["rows"][place]["accuracies"]
        second = small[0]["rows"][place]["accuracies"]
        known = [value for value in second if value is not None]
        figures = f"{100 * statistics.mean(first):.1f} {100 * statistics.mean(known):.1f}" if known else "-"
        part = last[0]["rows"][place]
        print(
            f"{row.name:20} {row.epochs:6} {theirs:10.1f} {mine:12.1f} {theirs / mine:7.2f}  {figures:>15}  "
            f"{part['engine']} {part['precision']}"
        )
    totals = [sum(parts) for parts in whole[best]]
    ratios = sorted(a / b for a, b in zip(totals, walls, strict=True))
    print(
        f"{'all':20} {'':6} {statistics.median(totals):10.1f} {statistics.median(walls):12.1f} "
        f"{statistics.median(ratios):7.2f}  from {ratios[0]:.2f} to {ratios[-1]:.2f} in {len(ratios)} repeats"
    )
    carried = f", carried on from {chosen.share:g} of the epochs" if chosen.share < 1 else ""
    carried += f" and {few} of {chosen.rounds} rounds of the obvious loop" if few != chosen.rounds else ""
    print(
        f"{chosen.rounds} rounds, the report's epochs{carried}; the obvious loop at its better of {chosen.threads} "
        f"threads ({best}); pairbench {' '.join(chosen.words) or 'as the suite says'}; seconds of wall time, "
        f"pairbench's shared out by processor time; accuracies at {chosen.share:g} of the epochs, obvious loop and "
        f"pairbench; load {os.getloadavg()[0]:.1f} at the end"
    )


if __name__ == "__main__":
    main()
