"""The spec language: what a word, a list of words and a grid may be, and the errors where they are not."""

from __future__ import annotations

import contextlib
import math
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pairbench.config.spec import (
    MAX_GRID,
    expand,
    literal,
    override,
    parse,
    parse_word,
    split_commas,
    split_specs,
    split_words,
    unquoted,
    written,
)
from pairbench.errors import SpecError
from pairbench.text import unknown


def one_line(error: BaseException) -> str:
    """The message, after checking that it is one printable line."""
    message = str(error)
    assert message
    assert message.isprintable(), message
    return message


def test_a_word_names_a_key_and_its_values() -> None:
    assert parse_word("encoder=cnn,deep_cnn") == ("encoder", ["cnn", "deep_cnn"])


def test_brackets_and_quotes_protect_commas() -> None:
    assert parse_word('loss.weights=[0.8,0.8,1],[1,1,(2,3)],"a,b"') == (
        "loss.weights",
        ["[0.8,0.8,1]", "[1,1,(2,3)]", '"a,b"'],
    )


def test_spaces_around_a_value_do_not_count() -> None:
    assert parse_word("encoder= cnn , mlp ") == ("encoder", ["cnn", "mlp"])


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("encoder", "malformed word 'encoder': expected KEY=VALUE, such as encoder=cnn or train.epochs=20."),
        ("", "malformed word '': expected KEY=VALUE, such as encoder=cnn or train.epochs=20."),
        ("=cnn", "malformed word '=cnn': expected KEY=VALUE, such as encoder=cnn or train.epochs=20."),
        ("a.b.c=1", "malformed word 'a.b.c=1': expected KEY=VALUE, such as encoder=cnn or train.epochs=20."),
        (
            "--encoder=cnn",
            "malformed word '--encoder=cnn': expected KEY=VALUE, such as encoder=cnn or train.epochs=20.",
        ),
        ("encoder=", "malformed word 'encoder=': no value, so the grid is empty. Write encoder=VALUE[,VALUE]."),
        (
            "encoder=cnn,",
            "malformed word 'encoder=cnn,': an empty value, so the grid is empty. Write encoder=VALUE[,VALUE].",
        ),
        ("encoder=cnn,cnn", "encoder names 'cnn' twice. Name each value of a grid once."),
        ("loss.weights=[1,2", "loss.weights='[1,2': a bracket is not closed. Add the missing ]."),
        ("loss.weights=1]", "loss.weights='1]': unmatched ]. Balance the brackets."),
        ("loss.weights=[1)", "loss.weights='[1)': unmatched ). Balance the brackets."),
        ('dataset.root="a', "dataset.root='\"a': a quote is not closed. Add the missing \"."),
    ],
)
def test_a_malformed_word_says_what_is_wrong_and_the_mend(word: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_word(word)
    assert str(caught.value) == message


def test_a_key_that_stands_twice_shows_the_grid_that_was_meant() -> None:
    with pytest.raises(SpecError) as caught:
        parse(["encoder=cnn", "encoder=mlp"])
    assert str(caught.value) == "duplicated key 'encoder'. Name it once; a grid is encoder=cnn,mlp."


def test_a_grid_has_a_point_for_each_combination_the_last_key_varying_fastest() -> None:
    assert expand(parse(["a=1,2", "b=x,y"])) == [
        {"a": "1", "b": "x"},
        {"a": "1", "b": "y"},
        {"a": "2", "b": "x"},
        {"a": "2", "b": "y"},
    ]


def test_no_words_are_one_point_without_settings() -> None:
    assert expand(parse([])) == [{}]


def test_a_grid_that_is_too_large_is_refused_before_it_is_made() -> None:
    with pytest.raises(SpecError, match=f"the grid has 1000000 configs: expected at most {MAX_GRID}"):
        expand(parse([f"{key}=" + ",".join(map(str, range(100))) for key in "abc"]))


def test_a_grid_whose_size_has_thousands_of_digits_is_refused_in_words() -> None:
    with pytest.raises(SpecError, match=r"the grid has over 10\^12 configs"):
        expand(parse([f"k{number}=0,1" for number in range(16_000)]))


@pytest.mark.parametrize(
    "word",
    [
        "train.epochs=" + ",".join(map(str, range(150_000))),
        "train.epochs=" + "[" * 300_000 + "]" * 300_000,
        "train.epochs=" + "[" * 600_000,
        "train.epochs=" + '"' * 600_001,
        "train.epochs=" + "a" * 1_000_000,
        "a" * 1_000_000,
        "a " * 300_000 + "=",
    ],
    ids=["many values", "deep brackets", "open brackets", "many quotes", "long value", "long key", "many spaces"],
)
def test_a_word_of_a_megabyte_is_read_or_refused_at_once(word: str) -> None:
    started = time.process_time()
    with contextlib.suppress(SpecError):
        expand(parse(split_words(word)))
    assert time.process_time() - started < 3


def test_a_slot_that_gets_another_component_drops_the_options_of_the_old_one() -> None:
    base = {"encoder": "cnn", "encoder.kernel_size": "5", "loss": "aux"}
    assert override(base, {"encoder": "mlp"}) == {"encoder": "mlp", "loss": "aux"}


def test_a_slot_that_keeps_its_component_keeps_its_options() -> None:
    base = {"encoder": "cnn", "encoder.kernel_size": "5"}
    change = {"encoder": "cnn", "encoder.channels": "[1]"}
    assert override(base, change) == {"encoder": "cnn", "encoder.kernel_size": "5", "encoder.channels": "[1]"}


def test_text_is_cut_into_words_where_a_key_follows_white_space() -> None:
    assert split_words(" encoder=cnn\n\tloss=aux  train.epochs=2 ") == ["encoder=cnn", "loss=aux", "train.epochs=2"]


def test_a_value_may_have_spaces_in_it() -> None:
    assert split_words("encoder=cnn dataset.root=/home/me/my data loss=aux") == [
        "encoder=cnn",
        "dataset.root=/home/me/my data",
        "loss=aux",
    ]


def test_quotes_and_brackets_keep_a_word_whole() -> None:
    word = 'dataset.root="a b=c"'
    options = "train.optimizer_options=[lr=1, eps=2]"
    assert split_words(f"{word} {options}") == [word, options]


def test_text_of_white_space_has_no_words() -> None:
    assert split_words(" \n\t") == []


def test_quoted_specs_share_the_words_that_stand_alone() -> None:
    assert split_specs(["encoder=cnn loss=aux", "train.epochs=2", "encoder=mlp loss=aux"]) == [
        ["train.epochs=2", "encoder=cnn", "loss=aux"],
        ["train.epochs=2", "encoder=mlp", "loss=aux"],
    ]


def test_words_without_quotes_are_one_spec() -> None:
    assert split_specs(["encoder=cnn", "loss=aux"]) == [["encoder=cnn", "loss=aux"]]


def test_words_that_name_a_key_twice_are_a_spec_each() -> None:
    assert split_specs(["encoder=cnn", "encoder=mlp"]) == [["encoder=cnn"], ["encoder=mlp"]]


def test_no_arguments_are_no_spec() -> None:
    assert split_specs([]) == []
    assert split_specs(["", " "]) == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("cnn", "cnn"),
        ('"a,b"', "a,b"),
        ('"say ""hi"""', 'say "hi"'),
        ("[]", []),
        ("[ ]", []),
        ("[1, 2]", ["1", "2"]),
        ("[[1,2],[3]]", ["[1,2]", "[3]"]),
        ("[a=1,b=[2,3]]", {"a": "1", "b": "[2,3]"}),
        ('["a=1"]', ["a=1"]),
        ('[a="x,y"]', {"a": '"x,y"'}),
        ("[1,a=2]", ["1", "a=2"]),
        ('"', '"'),
    ],
)
def test_a_literal_is_text_a_list_or_a_mapping(text: str, value: object) -> None:
    assert literal(text) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "none"),
        (True, "true"),
        (3, "3"),
        (1e-05, "1e-05"),
        (0.1, "0.1"),
        ((1, 2), "[1,2]"),
        ([], "[]"),
        ({"a": 1, "b": (2,)}, "[a=1,b=[2]]"),
        ("cnn", "cnn"),
        ("", '""'),
        ("my data", '"my data"'),
        ('say "hi"', '"say ""hi"""'),
        ("[1]", '"[1]"'),
    ],
)
def test_a_value_is_written_as_a_spec_would(value: object, text: str) -> None:
    assert written(value) == text


def test_text_can_be_written_in_quotes_that_it_does_not_need() -> None:
    assert written({"a": "1", "b": ["none"], "c": 1}, quote=True) == '[a="1",b=["none"],c=1]'


def test_an_unknown_name_comes_with_the_nearest() -> None:
    assert str(unknown("encoder", "deepcnn", ["cnn", "deep_cnn", "mlp"])) == (
        "unknown encoder 'deepcnn'. Did you mean 'deep_cnn' or 'cnn'?"
    )


TEXTS = st.text(max_size=60)
MARKS = st.text(st.sampled_from("=,.[](){}\"'a1_ \n\t\\\0é\x1b\u202e"), max_size=60)


@given(st.lists(MARKS | TEXTS, max_size=4))
@example(["a=[[]]]"])
@example(["train.epochs=\ud800"])
def test_any_words_are_read_or_refused_in_one_line(words: list[str]) -> None:
    try:
        points = expand(parse(words))
    except SpecError as error:
        one_line(error)
    else:
        assert len(points) == math.prod(len(values) for values in parse(words).values())


@given(MARKS | TEXTS)
def test_splitting_text_into_words_loses_nothing_but_white_space(text: str) -> None:
    assert "".join("".join(split_words(text)).split()) == "".join(text.split())


@given(MARKS | TEXTS)
def test_splitting_at_commas_gives_the_text_back(text: str) -> None:
    try:
        parts = split_commas(text)
    except SpecError as error:
        one_line(error)
    else:
        assert ",".join(parts) == text


@given(TEXTS | MARKS)
def test_written_text_is_read_back_as_it_was(text: str) -> None:
    for quote in (False, True):
        word = f"a.b={written(text, quote=quote)}"
        assert split_words(f"{word} c=d") == [word.strip(), "c=d"]
        (value,) = parse_word(word)[1]
        assert unquoted(value) == text


VALUES = st.recursive(
    st.integers() | st.booleans() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(VALUES, max_size=4))
def test_written_lists_survive_commas_brackets_and_spaces(value: list[object]) -> None:
    (text,) = parse_word(f"a={written(value, quote=True)}")[1]
    found = literal(text)
    assert isinstance(found, list)
    assert found == [unquoted(written(item, quote=True)) for item in value]
