"""Tables in narrow terminals: every name and its figure can be read."""

from __future__ import annotations

import pytest
from conftest import config_of, fill

from pairbench.results.query import leaderboard
from pairbench.results.render import Document, Table, to_text
from pairbench.results.tables import of_results
from pairbench.store.store import Store

FIGURES = Table(
    "a config",
    ("test figure", "mean", "std", "95% interval"),
    (("accuracy at threshold", "84.38 %", "1.37", "83.40 to 85.36"), ("F1", "85.55 %", "1.24", "84.66 to 86.44")),
    1,
    spare=("std",),
)


@pytest.mark.parametrize("width", [30, 40, 50, 60, 80, 120])
def test_no_name_and_no_figure_is_cut(width: int) -> None:
    text = to_text(Document((FIGURES,)), width)
    assert max(map(len, text.splitlines())) <= width
    for word in ("threshold", "F1", "84.38 %", "85.55 %", "83.40 to 85.36"):
        assert word in text


def test_figures_that_do_not_fit_stand_below_their_name() -> None:
    assert to_text(Document((FIGURES,)), 40).splitlines()[:4] == [
        "a config",
        "accuracy at threshold",
        "  mean          84.38 %",
        "  95% interval  83.40 to 85.36",
    ]


def test_a_leaderboard_of_40_columns_has_its_figures(store: Store) -> None:
    fill(store, config_of("encoder=cnn"), (0.9, 0.8))
    fill(store, config_of("encoder=mlp"), (0.8, 0.7))
    text = to_text(of_results(leaderboard(store=store.root)), 40)
    assert "85.00" in text
    assert "75.00" in text
    assert max(map(len, text.splitlines())) <= 40
