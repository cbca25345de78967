"""Promises 11 and 13: wrong words and wrong suites give one line and exit code 2, fast and whatever they hold."""

from __future__ import annotations

import contextlib
import io
import os
import random
import string
import time
from collections.abc import Callable
from pathlib import Path

import attack
import pytest

from pairbench.cli import invoke
from pairbench.config.run_config import DEFAULTS
from pairbench.config.train_options import TrainOptions
from pairbench.plugin.components import INTERFACES
from pairbench.plugin.registry import installed

FULL = pytest.mark.slow
ODD = [
    "=",
    ",",
    ".",
    "[",
    "]",
    "'",
    '"',
    "\\",
    "\0",
    "\n",
    "\x1b[2J",
    "\u202e",
    "\ud800",
    "é",
    "数",
    "-",
    "%s",
    "{0}",
    "~",
    "/",
    "..",
    " ",
]
VALUES = [
    "",
    "1",
    "-1",
    "0",
    "1e999",
    "nan",
    "inf",
    "true",
    "none",
    "many",
    "9" * 400,
    "[",
    "[1,2",
    "]",
    "[a=1]",
    "x" * 10_000,
    "[" * 3000,
]


def asked(*arguments: str) -> tuple[int, str, str, float]:
    """Exit code, standard output, standard error and seconds of a command in this process."""
    out, error = io.StringIO(), io.StringIO()
    started = time.perf_counter()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        code = invoke(list(arguments))
    return code, out.getvalue(), error.getvalue(), time.perf_counter() - started


def word(choose: random.Random) -> str:
    """A word that is nearly right, or not at all."""
    slots = [*INTERFACES, "pairing", "train"]
    names = [name for slot in INTERFACES for name in installed().names(slot)] + list(DEFAULTS.values())
    options = [f"train.{name}" for name in TrainOptions.option_fields()] + ["encoder.embedding_dim", "loss.weights"]
    kind = choose.randrange(5)
    if kind == 0:
        text = f"{choose.choice(slots)}={choose.choice(names)}"
    elif kind == 1:
        text = f"{choose.choice(options)}={choose.choice(VALUES)}"
    elif kind == 2:
        text = f"{choose.choice(slots)}.{choose.choice(names)}={choose.choice(VALUES)}"
    elif kind == 3:
        text = "".join(choose.choice(string.printable) for _ in range(choose.randrange(40)))
    else:
        text = choose.choice(["train.epochs=3,5", "dataset.path=../..", "encoder=acme:x", "loss.weights=[1,1,1]"])
    for _ in range(choose.randrange(3)):
        at = choose.randrange(len(text) + 1)
        cut = at + choose.randrange(3)
        text = text[:at] + choose.choice([*ODD, *string.ascii_letters]) + text[cut:]
    return text


def check(code: int, out: str, error: str, seconds: float, cause: object) -> None:
    assert code == 2, (cause, code, error)
    assert out == "", cause
    (line,) = error.splitlines()
    assert line.isprintable(), cause
    assert len(line) < 1100, cause
    assert seconds < 5, cause


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=FULL)])
def test_fuzzed_words_give_one_line_and_exit_code_2(
    tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    choose, slowest, right = attack.chance("words", count), 0.0, 0
    for _ in range(count):
        words = [word(choose) for _ in range(choose.choice((1, 1, 2, 3)))]
        # A wrong word after "--" must be found before anything trains; this one makes sure that one is wrong.
        code, out, error, seconds = asked("run", "--store", str(tmp_path / "store"), "--", *words, "train.epochs=wrong")
        check(code, out, error, seconds, words)
        slowest = max(slowest, seconds)
        # And without it, a config that is right stays unasked: compare looks it up in a store that is empty.
        code, out, error, seconds = asked("compare", "--store", str(tmp_path / "store"), "--", words[0], "encoder=cnn")
        check(code, out, error, seconds, words[0])
        right += "not in store" in error or "no records" in error
        slowest = max(slowest, seconds)
    assert not (tmp_path / "store").exists()
    print(
        f"\n{2 * count} commands of fuzzed words: exit code 2 and one line each; "
        f"{right} were right; slowest {slowest:.2f} s"
    )


SUITE = """
title = "A suite"
base = ["encoder=cnn", "train.epochs=1"]

[[entry]]
name = "one"
words = ["loss=aux"]

[[entry]]
name = "two"
words = ["loss=cross_entropy"]
published = { accuracy = { mean = 0.9, std = 0.01, rounds = 10 } }
"""


def mutated(choose: random.Random, text: str) -> bytes:
    """The text with a few places changed, doubled, cut or replaced by bytes."""
    content = text.encode()
    for _ in range(choose.randrange(1, 6)):
        at = choose.randrange(len(content) + 1)
        kind = choose.randrange(6)
        if kind == 0:
            content = (
                content[:at]
                + choose.choice([*ODD, "[[", "]]", '"""', "{", "}"]).encode(errors="surrogatepass")
                + content[at:]
            )
        elif kind == 1:
            content = content[:at] + content[at + choose.randrange(1, 20) :]
        elif kind == 2:
            content = content[:at]
        elif kind == 3:
            content = content[:at] + choose.randbytes(choose.randrange(1, 5)) + content[at + 1 :]
        elif kind == 4:
            content += content[at : at + 60]
        else:
            value = choose.choice(VALUES)[:400]
            content = content.replace(choose.choice([b'"one"', b"0.9", b'"loss=aux"', b"10"]), value.encode())
        if not content:
            break
    return content


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=FULL)])
def test_fuzzed_suites_give_one_line_and_exit_code_2(
    tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    choose, slowest, file = attack.chance("suites", count), 0.0, tmp_path / "suite.toml"
    for number in range(count):
        file.write_bytes(mutated(choose, SUITE))
        # The last word is wrong whatever the suite says, so nothing trains.
        code, out, error, seconds = asked(
            "run", "train.epochs=wrong", "--suite", str(file), "--store", str(tmp_path / "store")
        )
        check(code, out, error, seconds, (number, file.read_bytes()))
        slowest = max(slowest, seconds)
    assert not (tmp_path / "store").exists()
    print(f"\n{count} fuzzed suites: exit code 2 and one line each; slowest {slowest:.2f} s")


def unusual(file: Path, kind: str) -> Path:
    """`file`, made into a folder, a pipe, a link to a device or an empty file; not made where `kind` is no such."""
    if kind == "folder":
        file.mkdir()
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind.startswith("/"):
        file.symlink_to(kind)
    elif kind == "empty":
        file.write_text("")
    return file


@pytest.mark.parametrize("kind", ["folder", "pipe", "/dev/zero", "missing", "empty", "huge"])
def test_what_is_no_suite_is_refused_and_not_waited_for(tmp_path: Path, kind: str) -> None:
    file = unusual(tmp_path / "suite.toml", kind)
    if kind == "huge":
        file.write_bytes(b"[" * 10**6)
    check(*asked("run", "--suite", str(file), "--store", str(tmp_path / "store")), kind)


@pytest.mark.parametrize("name", ["\ud800", "a\0b", "x" * 5000, "~nobody-of-this-name/x", "/dev/null"])
def test_what_cannot_be_a_store_is_refused(name: str) -> None:
    check(*asked("leaderboard", "--store", name), name)


DATASETS = """
    import pairbench
    from tiny import TinyPairs

    class Telling(pairbench.PairDataset):
        \"\"\"Cannot tell its digest, and says so at length.\"\"\"
        name = "telling"
        task = property(lambda self: TinyPairs().task)
        def load(self, split, *, rounds, seed):
            raise NotImplementedError
        def digest(self):
            raise pairbench.DataError("one\\ntwo\\x1b[2J\\u202e " + "x" * 5000)

    class Leaking(pairbench.PairDataset):
        \"\"\"Has one of its training images among its test images.\"\"\"
        name = "leaking"
        task = property(lambda self: TinyPairs().task)
        def load(self, split, *, rounds, seed):
            pool = TinyPairs().load(split, rounds=rounds, seed=seed)
            if split == "test":
                pool.images[3] = TinyPairs().load("train", rounds=rounds, seed=seed).images[5]
            return pool

    @pairbench.hookimpl
    def pairbench_components():
        return [Telling, Leaking]
"""


@pytest.mark.parametrize(
    ("name", "told"),
    [("telling", "one two"), ("leaking", "image 3 of the test split is image 5 of the train split")],
)
def test_what_is_wrong_with_data_is_one_line_before_anything_trains(
    name: str, told: str, tmp_path: Path, install_plugin: Callable[..., Path], tiny_registry: object
) -> None:
    install_plugin("datasets", DATASETS)
    words = (f"dataset={name}", "encoder=tiny_encoder", "head=tiny_head", "loss=tiny_loss", "--workers", "0", "-q")
    code, out, error, seconds = asked("run", *words, "--store", str(tmp_path / "store"))
    check(code, out, error, seconds, name)
    assert told in error
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("kind", ["folder", "pipe", "/dev/zero", "/dev/null", "missing", "a\0b", "empty"])
def test_what_is_no_list_of_pairs_is_refused_and_not_waited_for(tmp_path: Path, kind: str) -> None:
    from pairbench.errors import DataError
    from pairbench.plugin.pair_list import read_pair_list

    file = unusual(tmp_path / "pairs.csv", kind)
    with pytest.raises(DataError) as caught:
        read_pair_list(tmp_path / kind if "\0" in kind else file, 2)
    assert len(str(caught.value).splitlines()) == 1
