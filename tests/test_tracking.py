"""Trackers: each in a process of its own, and whatever one does, the run ends as it would without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
import tiny
from conftest import Install

import pairbench
from pairbench.cli import invoke
from pairbench.execution.tracking import WAITING_BYTES, TrackerProcess, chosen_trackers
from pairbench.plugin.registry import installed

WORDS = (*tiny.SPECS, "train.epochs=2", "train.rounds=2")
# A tracker that writes each call into the file `seen` of the working folder; `extra` may replace its methods.
SOURCE = """
import os
import sys
import time

import pairbench


def say(*words):
    with open("seen", "a") as file:
        print(*words, file=file)


class Mine(pairbench.Tracker):
    '''Writes what it is told into a file.'''

    name = "mine"

    def run_started(self, run):
        say("run", run.configs[0].config_id, run.configs[0].pending)

    def epoch_finished(self, epoch):
        say("epoch", epoch.round_index, epoch.epoch)

    def round_finished(self, finished):
        say("round", finished.round_index, finished.record["metrics"]["accuracy"])

    def run_finished(self, finished):
        say("finished", finished.exit_code)

    def close(self):
        say("close")

    def place(self):
        return "the file seen"

{extra}

@pairbench.hookimpl
def pairbench_trackers():
    return [Mine]
"""


@pytest.fixture
def tracker(install_plugin: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that installs the tracker `mine`, with methods of its own, beside the tiny recipes."""
    install_plugin("tiny", "from tiny import *\nfrom tiny import pairbench_components\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PAIRBENCH_TRACK", raising=False)

    def install(extra: str = "", **options: Any) -> None:
        text = SOURCE.format(extra=textwrap.indent(textwrap.dedent(extra), "    "))
        install_plugin("mine", text, **{"distribution": "acme-mine", **options})

    return install


def run(**options: Any) -> pairbench.Results:
    return pairbench.run(*WORDS, workers=0, timing=False, **{"track": "mine", **options})


def seen() -> list[str]:
    return Path("seen").read_text().splitlines()


def test_a_tracker_is_told_of_a_run_from_start_to_close(tracker: Any) -> None:
    tracker()
    results = run()
    calls = seen()
    assert calls[0] == f"run {results[0].config_id} (0, 1)"
    assert [call for call in calls if call.startswith("round")] == [
        f"round {record['round']} {record['metrics']['accuracy']}" for record in results[0].records
    ]
    assert {"epoch 0 2", "epoch 1 2"} <= set(calls)
    assert calls[-2:] == ["finished 0", "close"]
    assert list(results.notes) == ["tracked by mine: the file seen"]


@pytest.mark.parametrize("track", ["mine", ["mine"], "acme-mine:mine", ",mine, mine"])
def test_trackers_are_named_in_python_as_on_the_command_line(tracker: Any, track: Any) -> None:
    tracker()
    assert list(run(track=track).notes) == ["tracked by mine: the file seen"]


def test_the_environment_names_trackers_where_nothing_else_does(tracker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker()
    monkeypatch.setenv("PAIRBENCH_TRACK", "mine")
    assert run(track="").notes == ()
    assert list(run(track=None).notes) == ["tracked by mine: the file seen"]
    assert seen()[0].endswith(" ()")


def test_an_ablation_can_be_tracked(tracker: Any) -> None:
    tracker()
    words = ["dataset=tiny_pairs", "dataset.size=14", "dataset.classes=10", "encoder=mlp", "train.swap=true"]
    pairbench.ablate(*words, "train.rounds=1", "train.epochs=1", workers=0, track="mine")
    assert [call.split()[0] for call in seen()].count("round") == 3
    assert seen()[-1] == "close"


def test_an_unknown_tracker_is_one_line_and_nothing_trains(tracker: Any, capsys: pytest.CaptureFixture[str]) -> None:
    tracker()
    assert invoke(["run", *WORDS, "--track", "tensorbord"]) == 2
    assert capsys.readouterr().err == "unknown tracker 'tensorbord'. Did you mean 'tensorboard'?\n"
    assert not Path("store").exists()


def test_a_missing_package_is_one_line_that_says_how_to_install_it(
    tracker: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    tracker("packages = ('not_there',)\ninstall = \"pip install 'acme[mine]'\"\n")
    assert invoke(["run", *WORDS, "--track", "mine"]) == 2
    assert capsys.readouterr().err == (
        "tracker 'mine' needs the package not_there, which is not installed. Run: pip install 'acme[mine]'\n"
    )
    assert not Path("store").exists()


def test_a_name_that_two_plugins_claim_has_to_be_written_with_its_distribution(
    tracker: Any, install_plugin: Install
) -> None:
    tracker()
    install_plugin("other", SOURCE.format(extra=""), distribution="zeta")
    with pytest.raises(pairbench.SpecError, match=r"Write acme-mine:mine or zeta:mine\.$"):
        chosen_trackers("mine", installed())
    (found,) = chosen_trackers("zeta:mine", installed())
    assert found.__module__ == "other_plugin"


@pytest.mark.parametrize("value", ["soon", "0", "-1", "inf", "nan"])
def test_a_wrong_time_limit_is_one_line(
    tracker: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    tracker()
    monkeypatch.setenv("PAIRBENCH_TRACK_SECONDS", value)
    assert invoke(["run", *WORDS, "--track", "mine"]) == 2
    assert f"PAIRBENCH_TRACK_SECONDS={value}: expected a number of seconds above 0." in capsys.readouterr().err


# What a tracker may do wrong: its method, and what the note says. Line 1 of a method is line 45 of the plugin.
FAULTS = {
    "raises when it is made": ("def __init__(self):\n    raise OSError('no')", "failed in start (mine_plugin.py"),
    "raises at the start": ("def run_started(self, run):\n    1 / 0", "failed in run_started (mine_plugin.py"),
    "raises in an epoch": ("def epoch_finished(self, epoch):\n    1 / 0", "failed in epoch_finished (mine_plugin.py"),
    "raises in a round": ("def round_finished(self, finished):\n    1 / 0", "failed in round_finished (mine_plugin.py"),
    "raises at the end": ("def run_finished(self, finished):\n    1 / 0", "failed in run_finished (mine_plugin.py"),
    "raises when it closes": ("def close(self):\n    1 / 0", "failed in close (mine_plugin.py"),
    "exits": ("def run_started(self, run):\n    sys.exit('enough')", "SystemExit: enough"),
    "leaves": (
        "def run_started(self, run):\n    print('bye', file=sys.stderr, flush=True)\n    os._exit(3)",
        "ended early: bye",
    ),
    "crashes": ("def run_started(self, run):\n    os.kill(os.getpid(), 11)", "ended early: "),
    "hangs when it is made": ("def __init__(self):\n    time.sleep(1000)", "gave no answer for 2 s and was stopped"),
    "hangs in an epoch": (
        "def epoch_finished(self, epoch):\n    time.sleep(1000)",
        "gave no answer for 2 s and was stopped",
    ),
    "hangs when it closes": ("def close(self):\n    time.sleep(1000)", "gave no answer for 2 s and was stopped"),
    "takes no such event": ("def run_started(self):\n    pass", "failed in run_started"),
}


@pytest.mark.parametrize(("extra", "told"), FAULTS.values(), ids=FAULTS)
def test_a_tracker_that_fails_or_hangs_ends_in_a_note_and_changes_nothing_else(
    tracker: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], extra: str, told: str
) -> None:
    tracker(extra)
    monkeypatch.setenv("PAIRBENCH_TRACK_SECONDS", "2" if "hang" in str(told) or "gave" in told else "30")
    start = time.monotonic()
    code = invoke(["run", *WORDS, "--workers", "0", "--no-timing", "--quiet", "--format", "json", "--track", "mine"])
    captured = capfd.readouterr()
    assert code == 0
    assert json.loads(captured.out)["results"][0]["summary"]["accuracy"]["rounds"] == 2
    (note,) = captured.err.splitlines()
    assert note.startswith("tracker mine ")
    assert told in note
    assert time.monotonic() - start < 60


def test_a_tracker_that_prints_leaves_standard_output_to_the_results(
    tracker: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    tracker(
        "def run_started(self, run):\n    print('HELLO', flush=True)\n    os.write(1, b'HELLO')\n    input_ = sys.stdin"
    )
    code = invoke(["run", *WORDS, "--workers", "0", "--no-timing", "--quiet", "--format", "json", "--track", "mine"])
    captured = capfd.readouterr()
    assert code == 0
    assert json.loads(captured.out)["schema"] == 1
    assert "HELLO" not in captured.out + captured.err


def test_a_tracker_that_asks_gets_no_answer_and_does_not_wait_for_one(tracker: Any) -> None:
    tracker("def run_started(self, run):\n    input('API key: ')")
    (note,) = run().notes
    assert note.endswith("EOFError: EOF when reading a line")


def test_nothing_that_a_hanging_tracker_has_started_is_left(
    tracker: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tracker(
        """
        def run_started(self, run):
            import subprocess

            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
            say(os.getpid(), child.pid)
            time.sleep(1000)
        """
    )
    monkeypatch.setenv("PAIRBENCH_TRACK_SECONDS", "5")
    run()
    for pid in map(int, seen()[0].split()):
        deadline = time.monotonic() + 10
        while _lives(pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not _lives(pid)


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_a_tracker_that_is_far_behind_is_given_up(tracker: Any) -> None:
    tracker("def run_started(self, run):\n    time.sleep(1000)")
    process = TrackerProcess(chosen_trackers("mine", installed())[0])
    start = time.monotonic()
    for _ in range(20):
        process.send(bytes(WAITING_BYTES // 8))
    assert process.wait(30) == "tracker mine fell too far behind and was stopped; what it wrote is not complete"
    assert time.monotonic() - start < 20


def test_a_slow_tracker_that_goes_on_is_waited_for(tracker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker("def round_finished(self, finished):\n    time.sleep(2)\n    say('slow')")
    monkeypatch.setenv("PAIRBENCH_TRACK_SECONDS", "3.5")
    assert list(run().notes) == ["tracked by mine: the file seen"]
    assert seen().count("slow") == 2


def test_a_tracker_whose_class_cannot_be_found_again_is_named(tracker: Any) -> None:
    tracker("")

    class Local(pairbench.Tracker):
        name = "local"

        def run_started(self, run: pairbench.RunStarted) -> None:
            raise NotImplementedError

    assert TrackerProcess(Local).wait(5).startswith("tracker local could not start: ")


def test_ctrl_c_closes_the_trackers(tracker: Any, install_plugin: Install) -> None:
    tracker()
    install_plugin(
        "rude", "import pairbench\n@pairbench.hookimpl\ndef pairbench_round_finished():\n    raise KeyboardInterrupt\n"
    )
    with pytest.raises(KeyboardInterrupt):
        run()
    calls = seen()
    assert calls[-1] == "close"
    assert "finished 0" not in calls


def test_wrong_input_starts_no_tracker(tracker: Any) -> None:
    tracker()
    with pytest.raises(pairbench.MismatchError):
        pairbench.run("encoder=mlp", "loss=aux", "encoder.embedding_dim=3", workers=0, timing=False, track="mine")
    assert not Path("seen").exists()


def test_a_tracker_process_loads_no_torch(tracker: Any) -> None:
    tracker("def close(self):\n    say('torch' in sys.modules)")
    run()
    assert seen()[-1] == "False"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("return [3]", "pairbench_trackers gave 3: expected subclasses of pairbench.Tracker"),
        ("return Mine", "pairbench_trackers gave <class"),
        ("return [pairbench.Tracker]", "Tracker.name is ''"),
        ("Mine.name = 'a b'\n    return [Mine]", "Mine.name is 'a b'"),
        ("class Bare(pairbench.Tracker):\n        name = 'bare'\n    return [Bare]", "Bare lacks run_started"),
    ],
)
def test_what_is_no_tracker_is_refused_with_its_plugin(install_plugin: Install, source: str, reason: str) -> None:
    install_plugin("mine", SOURCE.format(extra="").replace("return [Mine]", source), distribution="acme")
    (failure,) = installed().failures
    assert failure.distribution == "acme"
    assert reason in failure.reason
    assert "tensorboard" in installed().trackers


def test_a_tracker_ends_when_the_run_is_killed(tracker: Any, tmp_path: Path) -> None:
    tracker("def run_started(self, run):\n    say(os.getpid())")
    code = (
        "import os, sys\nimport pairbench\n"
        "class Stop:\n    def pairbench_round_finished(self, record):\n"
        "        import time\n        while not os.path.exists('seen'): time.sleep(0.05)\n        os._exit(9)\n"
        f"pairbench.run(*{WORDS!r}, workers=0, timing=False, track='mine', display=Stop())"
    )
    path = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path}, check=False, timeout=120)
    assert done.returncode == 9
    deadline = time.monotonic() + 20
    while seen()[-1] != "close" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert seen()[-1] == "close"
