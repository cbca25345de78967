"""What a dataset tells while it reads reaches whoever listens."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import tiny_config
from pictures import pairs_of_classes

import pairbench
from pairbench import tell_note, tell_progress
from pairbench.plugin.events import DataProgressed
from pairbench.plugin.notify import heard, heard_by
from pairbench.plugin.registry import Registry


def test_where_nobody_listens_nothing_is_told() -> None:
    assert not heard()
    tell_note("a note")
    tell_progress(1, 2, "reading")


def test_the_innermost_listener_hears() -> None:
    outer: list[str] = []
    inner: list[str] = []
    with heard_by(note=outer.append):
        with heard_by(note=inner.append):
            tell_note("inside")
        tell_note("outside")
        tell_progress(1, 2, "reading")
    assert (outer, inner) == (["outside"], ["inside"])


class Seen:
    """A display that keeps what it is told."""

    def __init__(self) -> None:
        self.progress: list[DataProgressed] = []

    def pairbench_data_progressed(self, progress: DataProgressed) -> None:
        self.progress.append(progress)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_shows_progress_and_keeps_notes_once(tmp_path: Path, workers: int) -> None:
    seen = Seen()
    words = ["dataset=csv", f"dataset.path={pairs_of_classes(tmp_path / 'set')}", "encoder=mlp", "loss=cross_entropy"]
    words += ["train.rounds=1", "train.epochs=1"]
    results = pairbench.run(*words, workers=workers, timing=False, display=seen)
    assert DataProgressed("decoding images", 120, 120) in seen.progress
    assert [note for note in results.notes if "pairs split by image" in note] == [
        "same.csv: pairs split by image into 42 train, 6 validation, 12 test"
    ]


def test_a_dataset_that_tells_nothing_is_as_good(tiny_registry: Registry) -> None:
    results = pairbench.run(tiny_config("train.rounds=1", "train.epochs=1"), workers=0, timing=False)
    assert results.notes == ()
