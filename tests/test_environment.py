"""Where pairbench keeps what may be deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

import pairbench
from pairbench_vision.places import folder_of


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "~/.cache/pairbench/data"),
        ({"XDG_CACHE_HOME": "/some/cache"}, "/some/cache/pairbench/data"),
        ({"XDG_CACHE_HOME": "/some/cache", "PAIRBENCH_CACHE": "/own"}, "/own/data"),
        ({"PAIRBENCH_CACHE": "~/own"}, "~/own/data"),
        ({"PAIRBENCH_CACHE": "", "XDG_CACHE_HOME": ""}, "~/.cache/pairbench/data"),
    ],
)
def test_the_cache_is_where_its_variables_say(
    variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PAIRBENCH_CACHE", "XDG_CACHE_HOME", "PAIRBENCH_DATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert pairbench.user_cache("data") == folder_of(None) == Path(expected).expanduser()
    assert pairbench.user_cache() == Path(expected).expanduser().parent


def test_a_folder_that_is_named_comes_before_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAIRBENCH_DATA", "/named")
    assert folder_of(None) == Path("/named")
    assert folder_of("/given") == Path("/given")
