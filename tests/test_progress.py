"""What a run shows while it goes."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import Any

import hostile
import pytest
from conftest import config_of, simulated_record
from rich.console import Console

from pairbench.cli.progress import Lines, Live, Quiet, display, ending, opening
from pairbench.plugin import hooks
from pairbench.plugin.events import ConfigStarted, DataProgressed, EpochFinished, RoundFinished, RunStarted


def record(name: str = "mine", number: int = 0, status: str = "finished", **changes: Any) -> dict[str, Any]:
    metrics = {"accuracy": 0.8577} if status == "finished" else {}
    return simulated_record(config_of("encoder=cnn"), number, metrics, name=name, status=status, **changes)


def failed(name: str = "mine", reason: str = "ValueError: boom") -> dict[str, Any]:
    return record(name, 1, "failed", cost={}, error={"reason": reason, "traceback": ""})


def started(
    names: tuple[str, ...], pending: tuple[int, ...], epochs: tuple[int, ...], workers: int, timed: int = 0
) -> RunStarted:
    configs = tuple(
        ConfigStarted(name, "0" * 12, {}, count, tuple(range(count)), epoch)
        for name, count, epoch in zip(names, pending, epochs, strict=True)
    )
    return RunStarted("20260101T000000-00000000", None, Path("store"), configs, timed, workers)


RUN = started(("mine",), (2,), (3,), 2)


def epoch(number: int, accuracy: float | None = 0.5, loss: float = 0.25, index: int = 0) -> EpochFinished:
    figures = {"train.total_loss": loss} | ({} if accuracy is None else {"test.accuracy": accuracy})
    return EpochFinished(0, index, "0" * 12, number, 3, figures)


def ended(record: dict[str, Any]) -> RoundFinished:
    return RoundFinished(0, record["round"], record["config_id"], "", record["status"], record)


@pytest.mark.parametrize(
    ("run", "line"),
    [
        (RUN, "training 2 rounds of 1 config on 2 workers"),
        (started(("a", "b"), (1, 0), (3, 3), 1), "training 1 round of 1 config on 1 worker"),
        (started(("a", "b"), (4, 5), (3, 3), 0), "training 9 rounds of 2 configs in this process"),
        (started(("a",), (0,), (3,), 2, timed=1), "every round is in the store already; measuring speed"),
    ],
)
def test_the_opening_says_what_is_about_to_happen(run: RunStarted, line: str) -> None:
    assert opening(run) == line


def test_the_ending_of_a_round_says_how_it_went() -> None:
    assert ending(record()) == "mine: round 0 finished, accuracy 85.77 %, 0.5 s"
    assert ending(failed()) == "mine: round 1 failed: ValueError: boom"
    assert ending(record(status="diverged")) == "mine: round 0 diverged"


def test_a_run_counts_the_epochs_that_are_left() -> None:
    assert started(("a", "b"), (2, 1), (3, 10), 1).total_epochs == 16


def test_lines_tell_the_start_each_round_and_little_in_between() -> None:
    now = [100.0]
    stream = io.StringIO()
    shown = Lines(stream, lambda: now[0])
    shown.pairbench_run_started(RUN)
    for number in (1, 2, 3):
        now[0] += 3
        shown.pairbench_epoch_finished(epoch(number, None if number == 2 else 0.5))
    shown.pairbench_round_finished(ended(record()))
    shown.pairbench_round_finished(ended(failed()))
    assert stream.getvalue().splitlines() == [
        "training 2 rounds of 1 config on 2 workers",
        "mine: round 0, epoch 2/3, loss 0.2500",
        "[1/2] mine: round 0 finished, accuracy 85.77 %, 0.5 s",
        "[2/2] mine: round 1 failed: ValueError: boom",
    ]


def live(run: RunStarted = RUN) -> tuple[Live, io.StringIO]:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, color_system="truecolor", width=120)
    shown = Live(console)
    shown.pairbench_run_started(run)
    return shown, stream


def frame(shown: Live) -> str:
    """The rows of the live display as they are now, without colours."""
    console = Console(file=io.StringIO(), width=120, no_color=True)
    console.print(shown._progress.get_renderable())
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_a_live_display_has_a_bar_for_the_run_and_a_line_for_each_round() -> None:
    with (shown := live()[0]):
        shown.pairbench_epoch_finished(epoch(2))
        assert re.search(r"all rounds .* 2/6 ", frame(shown))
        assert re.search(r"mine, round 0 .* 2/3 .*loss 0\.2500, accuracy 50\.0 %", frame(shown))
        shown.pairbench_round_finished(ended(record()))
        assert "mine, round 0" not in frame(shown)
        assert re.search(r"all rounds .* 3/6 ", frame(shown))


def test_a_round_that_ends_early_still_fills_its_share_of_the_bar() -> None:
    with (shown := live()[0]):
        shown.pairbench_epoch_finished(epoch(1, index=1))
        shown.pairbench_round_finished(ended(failed()))
        assert re.search(r"all rounds .* 3/6 ", frame(shown))


def test_a_round_that_fails_before_its_first_epoch_still_fills_its_share_of_the_bar() -> None:
    with (shown := live()[0]):
        shown.pairbench_round_finished(ended(failed()))
        assert re.search(r"all rounds .* 3/6 ", frame(shown))


def test_a_live_display_keeps_what_went_wrong_above_the_bars() -> None:
    shown, stream = live()
    with shown:
        shown.pairbench_round_finished(ended(record()))
        shown.pairbench_round_finished(ended(failed()))
    assert "mine: round 1 failed: ValueError: boom" in stream.getvalue()
    assert "finished" not in stream.getvalue()


def test_a_run_that_only_measures_speed_shows_no_error() -> None:
    with (shown := live(started(("mine",), (0,), (3,), 1, timed=1))[0]):
        assert "all rounds" in frame(shown)


def test_a_run_that_has_nothing_to_do_shows_nothing() -> None:
    nothing = started(("mine",), (0,), (3,), 1)
    shown, stream = live(nothing)
    with shown:
        assert "all rounds" not in frame(shown)
    lines = io.StringIO()
    Lines(lines).pairbench_run_started(nothing)
    assert stream.getvalue() + lines.getvalue() == ""


@pytest.mark.parametrize("name", list(hostile.NAMES.values()), ids=list(hostile.NAMES))
def test_hostile_names_and_reasons_are_inert_in_both_displays(name: str) -> None:
    run = started((name,), (2,), (3,), 1)
    lines = io.StringIO()
    for shown in (Lines(lines), live(run)[0]):
        with shown:
            shown.pairbench_run_started(run)
            shown.pairbench_epoch_finished(epoch(1))
            hostile.check_terminal(frame(shown) if isinstance(shown, Live) else "")
            shown.pairbench_round_finished(ended(record(name)))
            shown.pairbench_round_finished(ended(failed(name, name)))
    hostile.check_terminal(lines.getvalue())
    told, stream = live(run)
    with told:
        told.pairbench_round_finished(ended(failed(name, name)))
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.getvalue()).replace("\r", "")
    hostile.check_terminal(plain)


def test_the_display_suits_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(display(io.StringIO())) is Lines
    assert type(display(io.StringIO(), quiet=True)) is Quiet
    monkeypatch.setattr(sys, "stderr", stream := io.StringIO())
    shown = display()
    assert isinstance(shown, Lines)
    shown.pairbench_run_started(RUN)
    assert stream.getvalue() == "training 2 rounds of 1 config on 2 workers\n"
    monkeypatch.setattr(sys, "stderr", None)
    assert type(display()) is Quiet


def test_a_terminal_gets_the_live_display(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    assert type(display(Terminal())) is Live
    monkeypatch.setenv("TERM", "dumb")
    assert type(display(Terminal())) is Lines


def test_displays_implement_hooks_that_exist() -> None:
    known = {name for name in vars(hooks) if name.startswith("pairbench_")}
    for shown in (Lines, Live):
        assert {name for name in vars(shown) if name.startswith("pairbench_")} <= known


def test_lines_tell_of_data_that_take_long_and_not_of_others() -> None:
    now = [100.0]
    stream = io.StringIO()
    lines = Lines(stream, lambda: now[0])
    for seconds, done in ((0.0, 1), (0.5, 2), (0.9, 3)):
        now[0] = 100.0 + seconds
        lines.pairbench_data_progressed(DataProgressed("reading files", done, 3))
    assert stream.getvalue() == ""
    for seconds, done in ((1.0, 1), (3.0, 2), (4.0, 3), (9.0, 4), (9.5, 9)):
        now[0] = 100.0 + seconds
        lines.pairbench_data_progressed(DataProgressed("decoding images", done, 9))
    assert stream.getvalue().splitlines() == ["decoding images: 2/9", "decoding images: 4/9", "decoding images: 9/9"]


def test_a_terminal_shows_a_bar_for_data_until_the_run_starts() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    live = Live(console)
    with live:
        live.pairbench_data_progressed(DataProgressed("decoding images", 3, 9))
        (bar,) = live._progress.tasks
        assert (bar.completed, bar.total, bar.fields["label"]) == (3, 9, "decoding images")
        live.pairbench_run_started(RUN)
        assert [task.fields["label"] for task in live._progress.tasks] == ["all rounds"]
