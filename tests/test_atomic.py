"""Files that take the place of others."""

from __future__ import annotations

from pathlib import Path

import pytest

from pairbench import replacing


def test_a_draft_takes_the_place_of_the_file_when_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    with replacing(file) as draft:
        draft.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"
    assert list(tmp_path.iterdir()) == [file]


def test_a_draft_that_fails_leaves_the_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    with pytest.raises(TypeError), replacing(file) as draft:
        draft.write_bytes(b"half") + draft
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]
