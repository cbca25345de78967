"""Random lists of pairs: each is read, or refused in one line; none hangs or shows a traceback."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from pictures import picture

from pairbench.cli import invoke

SOUND = (("a.png", "b.png"), ("c.png", "d.png"), ("sub/e.png", "f.png"))
NAMES = ("a.png", "c.png", "sub/e.png", "../a.png", "/etc/passwd", "missing.png", "", " a.png", "a.png\u202e", "=1+1")
LABELS = ("0", "1", "same", "different", "0.5", "2", "-1", "nan", "inf", "1e999", "", "٣", "true")
HEADERS = ("first", "second", "label", "split", "group", "first_class", "", "third", "first ", "FIRST", "\u200b")
SPLITS = ("train", "val", "test", "", "other", "Training")
JUNK = (
    b"\x00",
    b"\xff",
    b'"',
    b"\r",
    b"\n\n",
    b",",
    b";",
    b"\t",
    b"'",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\\",
    b"\x1b[31m",
)


def listing(draw: random.Random) -> bytes:
    """A list that is nearly right, with some of its bytes changed."""
    header = ["first", "second", "label"]
    if draw.random() < 0.8:
        header.append("split")
    if draw.random() < 0.3:
        header[draw.randrange(len(header))] = draw.choice(HEADERS)
    rows = [header]
    for number in range(draw.randrange(12)):
        tame = draw.random() < 0.9
        names = [draw.choice(SOUND[number % 3] if tame else NAMES) for _ in range(2)]
        row = [*names, draw.choice(LABELS[:2] if tame else LABELS), SPLITS[number % 3] if tame else draw.choice(SPLITS)]
        rows.append(row[: len(header)] if draw.random() < 0.97 else row[: draw.randrange(6)])
    data = bytearray("\n".join(",".join(row) for row in rows).encode())
    for _ in range(draw.choice((0, 0, 1, 1, 2, 5, 20))):
        place = draw.randrange(len(data) + 1)
        match draw.randrange(4):
            case 0:
                data[place:place] = draw.choice(JUNK)
            case 1:
                del data[place : place + draw.randrange(5)]
            case 2:
                data[place:place] = bytes(draw.randrange(256) for _ in range(draw.randrange(6)))
            case _:
                data[place:place] = data[place : place + 40] * draw.randrange(20)
    return bytes(data)


@pytest.fixture
def read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[int], bool]:
    """A function that runs a random list, checks what is printed, and tells whether the list was refused."""
    for number, name in enumerate(name for pair in SOUND for name in pair):
        picture(tmp_path / name, number)

    def run(seed: int) -> bool:
        draw = random.Random(seed)
        (tmp_path / "pairs.csv").write_bytes(listing(draw))
        words = ["run", "dataset=csv", f"dataset.path={tmp_path / 'pairs.csv'}", "dataset.image_size=4", "encoder=mlp"]
        words += [f"dataset.on_error={draw.choice(('raise', 'skip'))}", "loss=cross_entropy", "dataset.train_pairs=999"]
        words += [f"dataset.task={draw.choice(('verification', 'ordering', 'preference'))}"]
        # So many training pairs there never are: what is read is refused in the end, and nothing trains.
        code = invoke([*words, "--workers", "0", "--quiet", "--no-timing"])
        printed = capsys.readouterr()
        assert code == 2, (seed, printed)
        assert printed.out == ""
        lines = printed.err.splitlines()
        assert len(lines) == 1, (seed, printed.err)
        assert lines[0].isprintable()
        assert "Traceback" not in lines[0]
        return "expected at most" not in lines[0]

    return run


def test_fifty_random_lists_are_read_or_refused_in_a_line(read: Callable[[int], bool]) -> None:
    assert 20 < sum(read(seed) for seed in range(50)) < 50


@pytest.mark.slow
def test_a_thousand_random_lists_are_read_or_refused_in_a_line(read: Callable[[int], bool]) -> None:
    first = 1000 * (1 + int(os.environ.get("PAIRBENCH_ATTACK_SEED", "0")))
    refused = sum(read(seed) for seed in range(first, first + 1000))
    print(f"{refused} of 1000 refused while reading")
    assert 500 < refused < 1000
