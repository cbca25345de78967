"""Draws the pictures of the pages into docs/images: `python docs/pictures.py WORK`.

WORK is the folder that `docs/refresh.py --work WORK` has worked in: rounds in its store are not trained again.
"""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import drawing
import refresh

IMAGES = Path(__file__).parent / "images"
README_COMMAND = "pairbench run encoder=deep_cnn head=concat_linear loss=aux"
REPORTS_BEST = "pairbench run --suite report --only Best\\ Model"
BLUE, ORANGE, GRAY = "#1565c0", "#ef6c00", "#7b8794"
TERMINAL = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" class="rich-terminal" role="img">
<title>A terminal session</title>
<style>
.{unique_id}-matrix {{ font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: {char_height}px;
line-height: {line_height}px; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def plots() -> Any:
    """matplotlib's pyplot, drawing without a display, with text kept as text."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "pairbench", "font.size": 10, "axes.grid": True})
    plt.rcParams.update(
        {"grid.alpha": 0.3, "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True}
    )
    return plt


def save(figure: Any, name: str) -> None:
    """Write a figure without the date, so that equal figures are equal files."""
    kind = name.rpartition(".")[2]
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    figure.savefig(IMAGES / name, bbox_inches="tight", dpi=110, metadata=metadata)


def digits() -> None:
    """Pairs of the training digits of round 0, each with its answer."""
    from pairbench_report import MnistPairs

    plt = plots()
    pool = MnistPairs().load("train", rounds=1, seed=0)
    figure, axes = plt.subplots(2, 4, figsize=(9, 3.6), layout="constrained")
    for place, axis in enumerate(axes.flat):
        first, second = pool.pairs[0, place].tolist()
        pair = [pool.images[row, 0].numpy() for row in (first, second)]
        for number, image in enumerate(pair):
            left = 16 * number
            axis.imshow(image, cmap="gray_r", vmin=0, vmax=255, extent=(left, left + 14, 14, 0))
        axis.set(xlim=(-0.5, 30.5), ylim=(14.5, -0.5), xticks=[], yticks=[])
        answer = "at_most" if int(pool.target[0, place]) else "greater"
        axis.set_title(f"{int(pool.classes[first])}, {int(pool.classes[second])}: {answer}", fontsize=12)
        axis.grid(visible=False)
        for spine in axis.spines.values():
            spine.set_visible(False)
    save(figure, "digits.png")


def records(command: str, work: Path) -> list[dict[str, Any]]:
    """The records that `command` trains, or finds in the store, without timing."""
    done = subprocess.run(
        ["bash", "-c", f"{command} --no-timing --quiet --format json"], cwd=work, capture_output=True, check=True
    )
    return [record for item in json.loads(done.stdout)["results"] for record in item["rounds"]]


def curves(work: Path) -> None:
    """The report's Figure 8: the best model over its epochs, mean over the rounds and their range."""
    import numpy as np

    plt = plots()
    rounds = records(REPORTS_BEST, work)
    panels = [("accuracy", "accuracy"), ("class_accuracy", "digit accuracy"), ("total_loss", "loss"), ("auc", "AUC")]
    figure, axes = plt.subplots(2, 2, figsize=(9, 6), sharex=True, layout="constrained")
    for axis, (metric, title) in zip(axes.flat, panels, strict=True):
        for part, colour, label in (("train", BLUE, "training, dropout on"), ("test", ORANGE, "test")):
            lines = np.array([record["curves"][part][metric] for record in rounds], dtype=float)
            epochs = np.arange(1, lines.shape[1] + 1)
            axis.fill_between(epochs, lines.min(0), lines.max(0), color=colour, alpha=0.18, linewidth=0)
            axis.plot(epochs, lines.mean(0), color=colour, label=label)
        axis.set_title(title)
    axes[0, 0].legend(frameon=False)
    for axis in axes[1]:
        axis.set_xlabel("epoch")
    save(figure, "learning-curves.svg")


def paired_rounds(work: Path) -> None:
    """Two configs round by round: the data's own spread is common to both."""
    plt = plots()
    first, second = (
        {record["round"]: 100 * record["metrics"]["accuracy"] for record in records(command, work)}
        for command in ("pairbench run encoder=cnn loss=aux", "pairbench run encoder=deep_cnn loss=aux")
    )
    common = sorted(set(first) & set(second))
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for number in common:
        left.plot([0, 1], [first[number], second[number]], color=GRAY, marker="o", markersize=4, linewidth=1)
    left.set(xticks=[0, 1], xlim=(-0.4, 1.4), title="accuracy of each round, %")
    left.set_xticklabels(["cnn", "deep_cnn"])
    right.axhline(0, color=GRAY, linewidth=1)
    right.bar([str(number) for number in common], [second[n] - first[n] for n in common], color=BLUE)
    right.set(title="deep_cnn - cnn, points", xlabel="round")
    save(figure, "paired-rounds.svg")


def terminal(work: Path) -> None:
    """The README's command in a terminal of 104 columns, as it really prints."""
    from rich.console import Console
    from rich.text import Text

    shown = in_terminal(README_COMMAND, work, columns=104)
    console = Console(record=True, width=104, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115, PTH123
    console.print(Text.from_ansi(f"$ {README_COMMAND}\n{shown.strip()}"))
    svg = console.export_svg(title="pairbench", code_format=TERMINAL, unique_id="terminal")
    (IMAGES / "terminal.svg").write_text(svg)


def in_terminal(command: str, work: Path, columns: int) -> str:
    """What `command` prints on a terminal of its own, colours included, without its progress."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": str(columns), "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    process = subprocess.Popen(
        ["bash", "-c", command], cwd=work, env=environment, stdout=theirs, stderr=subprocess.DEVNULL, close_fds=True
    )
    os.close(theirs)
    parts = []
    try:
        while part := os.read(ours, 65536):
            parts.append(part)
    except OSError:  # the terminal is closed when the process ends
        pass
    process.wait()
    return b"".join(parts).decode().replace("\r\n", "\n")


def main() -> None:
    """Draw them all."""
    IMAGES.mkdir(exist_ok=True)
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    (IMAGES / "flow.svg").write_text(drawing.flow())
    (IMAGES / "pairings.svg").write_text(drawing.pairings())
    digits()
    if len(sys.argv) > 1:
        work = Path(sys.argv[1]).resolve() / refresh.SHARED
        terminal(work)
        paired_rounds(work)
        curves(work)
    for file in sorted(IMAGES.iterdir()):
        print(f"{file.name}: {file.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
