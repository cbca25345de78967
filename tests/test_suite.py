"""Suites: named lists of configs in TOML files."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import Install
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pairbench.config.suite import MAX_BYTES, Entry, Published, Suite, find_suite, read_suite
from pairbench.errors import SpecError
from pairbench.plugin.core_metrics import CORE
from pairbench.plugin.registry import Registry, installed

ONE = """
description = "Two  networks\\nside by side."
words = ["train.epochs=2", "loss=aux"]

[[run]]
name = "Small"
words = ["encoder=mlp"]
note = "A remark."
[run.published]
accuracy = { mean = 0.77, std = 0.01, rounds = 10 }
loss = 0.5

[[run]]
name = "Large"
words = "encoder=cnn  train.epochs=3"
"""


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """A function that writes a suite and reads it."""

    def write(text: str | bytes) -> Suite:
        path = tmp_path / "mine.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_suite(path)

    return write


def specs(suite: Suite, *words: str) -> dict[str, list[str]]:
    return {name: config.words() for name, _, config in suite.configs(words, installed())}


def test_a_suite_is_read_as_it_is_written(write: Any) -> None:
    assert write(ONE) == Suite(
        "mine",
        "Two networks side by side.",
        (
            Entry(
                "Small",
                ("train.epochs=2", "loss=aux", "encoder=mlp"),
                {"accuracy": Published(0.77, 0.01, 10), "loss": Published(0.5)},
                "A remark.",
            ),
            Entry("Large", ("loss=aux", "encoder=cnn", "train.epochs=3")),
        ),
    )


def test_the_words_of_a_command_lie_over_each_entry(write: Any) -> None:
    assert specs(write(ONE), "train.epochs=9", "loss=cross_entropy") == {
        "Small": ["encoder=mlp", "head=concat_linear", "loss=cross_entropy", "train.epochs=9"],
        "Large": ["encoder=cnn", "head=concat_linear", "loss=cross_entropy", "train.epochs=9"],
    }


def test_a_grid_in_a_suite_names_what_varies(write: Any) -> None:
    suite = write('[[run]]\nname = "A"\nwords = ["encoder=mlp,cnn", "train.epochs=2"]\n')
    assert list(specs(suite)) == ["A encoder=mlp", "A encoder=cnn"]
    assert list(specs(suite, "train.seed=1,2", "train.rounds=3")) == [
        "A encoder=mlp train.seed=1",
        "A encoder=mlp train.seed=2",
        "A encoder=cnn train.seed=1",
        "A encoder=cnn train.seed=2",
    ]


def test_shared_options_of_a_slot_hold_for_whatever_component_an_entry_names(write: Any) -> None:
    suite = write(
        'words = ["encoder.embedding_dim=20"]\n[[run]]\nname = "A"\nwords = ["encoder=mlp", "loss=cross_entropy"]\n'
    )
    assert specs(suite)["A"][3:] == ["encoder.embedding_dim=20"]


def test_options_of_a_shared_component_go_where_an_entry_names_another(write: Any) -> None:
    suite = write('words = ["encoder=cnn", "encoder.kernel_size=5"]\n[[run]]\nname = "A"\nwords = ["encoder=mlp"]\n')
    assert suite.entries[0].words == ("encoder=mlp",)


def test_options_of_a_shared_component_stay_where_an_entry_names_it_again(write: Any) -> None:
    suite = write('words = ["encoder=cnn", "encoder.kernel_size=5"]\n[[run]]\nname = "A"\nwords = ["encoder=cnn"]\n')
    assert suite.entries[0].words == ("encoder.kernel_size=5", "encoder=cnn")


def test_some_entries_can_be_chosen_in_any_case_and_keep_their_order(write: Any) -> None:
    suite = write(ONE)
    assert [entry.name for entry in suite.only(["LARGE", "small"]).entries] == ["Small", "Large"]
    assert [entry.name for entry in suite.only(["large"]).entries] == ["Large"]
    assert suite.only([]) == suite
    with pytest.raises(SpecError) as caught:
        suite.only(["Smal"])
    assert str(caught.value) == "unknown entry of suite mine 'Smal'. Did you mean 'Small'?"


def test_an_error_in_an_entry_names_the_entry(write: Any) -> None:
    suite = write('[[run]]\nname = "A"\nwords = ["encoder=mlpp"]\n')
    with pytest.raises(SpecError, match=r"^A: unknown encoder 'mlpp'\. Did you mean 'mlp'"):
        specs(suite)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no runs: expected at least one [[run]]."),
        ("run = []", "no runs: expected at least one [[run]]."),
        ("run = 3", "no runs: expected at least one [[run]]."),
        ("run = [1]", "no runs: expected at least one [[run]]."),
        ("x", "not TOML (Expected '=' after a key in a key/value pair (at end of document)). Fix that line."),
        ("a = 1\na = 2", "not TOML (Cannot overwrite a value (at end of document)). Fix that line."),
        (b"\xff", "not TOML ('utf-8' codec can't decode byte 0xff in position 0: invalid start byte)."),
        ("a = " + "9" * 5000, "not TOML (Exceeds the limit (4300 digits) for integer string conversion"),
        ("a = " + "[" * 5000, "not TOML ("),
        ('descripton = "x"', "unknown key 'descripton'. Did you mean 'description'?"),
        ("description = 3\n[[run]]", "run 1: name is missing"),
        ('description = 3\n[[run]]\nname = "A"', "description: expected text."),
        ("[[run]]", 'run 1: name is missing. Write name = "...".'),
        ('[[run]]\nname = " "', "run 1: name is missing."),
        ("[[run]]\nname = 3", "run 1: name: expected text."),
        ('[[run]]\nnames = "A"', "run 1: unknown key 'names'. Did you mean 'name'?"),
        ('[[run]]\nname = "A"\nnote = []', "run 1: note: expected text."),
        ('[[run]]\nname = "A"\nwords = 3', 'run 1: words: expected a list such as ["encoder=cnn", "loss=aux"].'),
        ('[[run]]\nname = "A"\nwords = [3]', "run 1: words: expected a list"),
        ('[[run]]\nname = "A"\nwords = ["encoder"]', "malformed word 'encoder'"),
        ('[[run]]\nname = "A"\nwords = ["a=1", "a=2"]', "duplicated key 'a'."),
        ('words = ["a=1", "a=2"]\n[[run]]\nname = "A"', "duplicated key 'a'."),
        ('[[run]]\nname = "A"\n[[run]]\nname = "a"', "two runs are called 'a'. Give each a unique name."),
        ('[[run]]\nname = "A"\npublished = 3', "run 1: published: expected figures such as accuracy ="),
        ('[[run]]\nname = "A"\npublished = { acuracy = 1 }', "run 1: published: unknown metric 'acuracy'."),
        ('[[run]]\nname = "A"\npublished = { accuracy = "high" }', "run 1: published.accuracy: expected a number or"),
        ('[[run]]\nname = "A"\npublished = { accuracy = true }', "run 1: published.accuracy: expected a number or"),
        ('[[run]]\nname = "A"\npublished = { accuracy = nan }', "run 1: published.accuracy: expected a number or"),
        ('[[run]]\nname = "A"\npublished = { accuracy = inf }', "run 1: published.accuracy: expected a number or"),
        ('[[run]]\nname = "A"\npublished = { accuracy = {} }', "run 1: published.accuracy: expected a number or"),
        ('[[run]]\nname = "A"\npublished.accuracy = { mean = 1, std = -1 }', "run 1: published.accuracy: "),
        ('[[run]]\nname = "A"\npublished.accuracy = { mean = 1, rounds = 0 }', "run 1: published.accuracy: "),
        ('[[run]]\nname = "A"\npublished.accuracy = { mean = 1, rounds = 2.5 }', "run 1: published.accuracy: "),
        ('[[run]]\nname = "A"\npublished.accuracy = { mean = 1, rounds = true }', "run 1: published.accuracy: "),
        ('[[run]]\nname = "A"\npublished.accuracy = { mean = 1, spread = 1 }', "run 1: published.accuracy: "),
        ('[[run]]\nname = "A"\npublished.accuracy = { mean = 1' + "0" * 400 + " }", "run 1: published.accuracy: "),
    ],
)  # fmt: skip
def test_a_suite_that_is_wrong_is_refused_in_one_line(write: Any, text: str | bytes, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        write(text)
    assert "mine.toml: " in str(caught.value)
    assert str(caught.value).partition("mine.toml: ")[2].startswith(message)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["gone.toml", "folder.toml", "nul\0.toml", "x" * 5000 + ".toml"])
def test_a_file_that_cannot_be_read_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(SpecError) as caught:
        find_suite(f"{tmp_path}/{name}", installed())
    assert str(caught.value).endswith(". Name a file that can be read.")
    assert str(caught.value).isprintable()


def test_a_suite_larger_than_a_megabyte_is_refused(write: Any) -> None:
    with pytest.raises(SpecError, match=f"larger than {MAX_BYTES} bytes"):
        write("#" * (MAX_BYTES + 1))


@pytest.mark.parametrize(
    "text",
    [
        "".join(f'[[run]]\nname = "{number}"\n' for number in range(30_000)),
        'words = ["' + '", "'.join(f"k{number}=1" for number in range(60_000)) + '"]\n[[run]]\nname = "A"',
        'words = "' + " ".join(f"k{number}=1" for number in range(30_000)) + '"\n'
        + "".join(f'[[run]]\nname = "{number}"\n' for number in range(900)),
        'words = "' + " ".join(f"k{number}=1" for number in range(999)) + '"\n'
        + "".join(f'[[run]]\nname = "{number}"\nwords = "a=1"\n' for number in range(900)),
        '[[run]]\nname = "A"\nwords = "encoder=' + ",".join(map(str, range(140_000))) + '"',
        '[[run]]\nname = "A"\nwords = ["train.epochs=' + ",".join(map(str, range(40_000))) + '", "encoder=mlp,cnn,x"]',
    ],
    ids=["runs", "words", "both", "as many as may be", "grid", "large grid"],
)  # fmt: skip
def test_a_suite_of_a_megabyte_is_read_or_refused_in_seconds(write: Any, text: str) -> None:
    started = time.process_time()
    with pytest.raises(SpecError):
        specs(write(text))
    assert time.process_time() - started < 20


def test_a_suite_and_a_command_cannot_multiply_beyond_the_limit_of_a_grid(write: Any) -> None:
    suite = write('[[run]]\nname = "A"\nwords = ["train.seed=' + ",".join(map(str, range(1000))) + '"]')
    with pytest.raises(SpecError, match="the suite has more than 100000 configs"):
        specs(suite, "train.epochs=" + ",".join(map(str, range(1, 1000))))


def test_an_unknown_suite_comes_with_the_nearest() -> None:
    with pytest.raises(SpecError) as caught:
        find_suite("reprt", installed())
    assert str(caught.value).startswith("unknown suite 'reprt'. Did you mean 'report'")


def test_a_suite_of_a_plugin_is_found_by_its_name(install_plugin: Install) -> None:
    source = """
        from pathlib import Path
        import pairbench

        @pairbench.hookimpl
        def pairbench_suites():
            return [Path(__file__).parent / "shiny.toml", Path(__file__).parent / "gone.toml"]
        """
    install_plugin("shiny", source, files={"shiny.toml": '[[run]]\nname = "A"\n'}, distribution="acme")
    assert find_suite("shiny", installed()).home == "acme"
    with pytest.raises(SpecError, match=r"gone\.toml: No such file or directory\. Name a file"):
        find_suite("gone", installed())


def test_a_suite_that_two_plugins_claim_has_to_be_named_by_its_file(install_plugin: Install) -> None:
    source = """
        from pathlib import Path
        import pairbench

        @pairbench.hookimpl
        def pairbench_suites():
            return [Path(__file__).parent / "shiny.toml"]
        """
    for name in ("one", "two"):
        install_plugin(name, source, files={"shiny.toml": '[[run]]\nname = "A"\n'})
    with pytest.raises(SpecError, match=r"suite 'shiny' exists in 2 plugins\. Write --suite .*shiny\.toml or "):
        find_suite("shiny", installed())


@pytest.mark.parametrize("name", sorted(installed().suites))
def test_every_bundled_suite_makes_configs_of_different_names_and_ids(name: str) -> None:
    found = find_suite(name, installed()).configs([], installed())
    assert len({label for label, _, _ in found}) == len({config.config_id for _, _, config in found}) == len(found)


WORDS = st.lists(
    st.sampled_from(["encoder=mlp", "encoder=cnn,mlp", "train.epochs=2", "x", "a=[", "loss.weights=[1,1]"]), max_size=3
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
RUNS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.text(max_size=6) | st.integers(),
        "words": WORDS | WORDS.map(" ".join) | LEAVES,
        "note": st.text(max_size=6) | st.lists(st.integers(), max_size=1),
        "published": st.dictionaries(
            st.sampled_from([*(spec.name for spec in CORE), "x"]),
            st.floats() | st.fixed_dictionaries({}, optional={"mean": LEAVES, "std": LEAVES, "rounds": LEAVES}),
            max_size=2,
        )
        | LEAVES,
        "odd": LEAVES,
    },
)


def toml(value: Any) -> str:
    """`value` as TOML writes it; None, which TOML lacks, as an empty string."""
    match value:
        case bool():
            return str(value).lower()
        case float():
            return {math.inf: "inf", -math.inf: "-inf"}.get(value, "nan" if math.isnan(value) else repr(value))
        case int():
            return str(value)
        case dict():
            return "{" + ", ".join(f"{toml(str(key))} = {toml(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(toml, value)) + "]"
    escaped = "".join(char if char.isalnum() and char.isascii() else f"\\U{ord(char):08x}" for char in value or "")
    return f'"{escaped}"'


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.fixed_dictionaries(
        {"run": st.lists(RUNS, max_size=3)}, optional={"words": WORDS | LEAVES, "description": LEAVES, "odd": LEAVES}
    ).map(lambda value: "\n".join(f"{key} = {toml(item)}" for key, item in value.items()))
    | st.text(max_size=60)
)
def test_any_suite_makes_configs_or_one_line(write: Any, tiny_registry: Registry, text: str) -> None:
    try:
        # TOML cannot hold what is not Unicode.
        suite = write(text.encode(errors="replace"))
        found = suite.configs([], tiny_registry)
    except SpecError as error:
        assert str(error).isprintable(), str(error)  # noqa: PT017
    else:
        assert len(found) >= len(suite.entries) > 0


def test_the_candidates_of_the_choosing_script_are_a_sound_suite() -> None:
    suite = read_suite(Path(__file__).parent.parent / "benchmarks" / "candidates.toml")
    found = suite.configs([], installed())
    assert len({config.config_id for _, _, config in found}) == len(suite.entries) == 10
    assert {config.dataset.test_pairs for _, _, config in found} == {1}  # type: ignore[attr-defined]
