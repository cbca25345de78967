"""Text that is safe to print, and suggestions for misspelt names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairbench.text import did_you_mean, printable, quoted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 数 ±", "plain é 数 ±"),
        ("a\x1b[31mb", "a\ufffd[31mb"),
        ("a\nb\r\tc", "a\ufffdb\ufffd\ufffdc"),
        ("\u202egnp.exe", "\ufffdgnp.exe"),
        ("zero\u200bwidth\ufeff", "zero\ufffdwidth\ufffd"),
        ("c1 \x9b31m", "c1 \ufffd31m"),
        ("lone \ud800", "lone \ufffd"),
        ("lines\u2028\u2029", "lines\ufffd\ufffd"),
        ("no-break\xa0wide\u3000", "no-break wide "),
    ],
)
def test_what_could_move_a_cursor_or_turn_text_round_is_replaced(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_long_text_is_cut_to_the_limit_with_an_ellipsis() -> None:
    assert printable("x" * 10_000, 10) == "x" * 9 + "…"
    assert printable("x" * 10, 10) == "x" * 10


@given(st.text(max_size=30), st.integers(1, 20))
def test_what_is_shown_is_always_printable_and_never_longer_than_the_limit(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert shown.isprintable()
    assert len(shown) == min(len(text), limit)


def test_quoted_text_fits_on_a_line() -> None:
    assert quoted("a\nb") == "'a\ufffdb'"
    assert len(quoted("x" * 10_000)) == 62


def test_near_names_are_offered_nearest_first() -> None:
    assert did_you_mean("deepcnn", ["mlp", "cnn", "deep_cnn"]) == " Did you mean 'deep_cnn' or 'cnn'?"


def test_all_names_are_offered_where_none_is_near() -> None:
    assert did_you_mean("xyz", ["mlp", "cnn"]) == " Choose from cnn, mlp."


def test_a_long_list_of_names_is_cut() -> None:
    names = [f"n{number:03d}" for number in range(500)]
    assert did_you_mean("xyz", names) == f" Choose from {', '.join(names[:20])}, ...."


def test_nothing_is_offered_where_there_is_nothing() -> None:
    assert did_you_mean("xyz", []) == ""


def test_a_hostile_name_is_offered_in_a_form_that_is_safe_to_print() -> None:
    assert did_you_mean("evil", ["evil\x1b[2J"]) == " Did you mean 'evil\ufffd[2J'?"
