"""Between the text of a spec and typed options: reading, writing, and errors in words."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, field_validator, model_validator

from pairbench.config.options import expected, field_expected, read, validated, written_option
from pairbench.errors import SpecError
from pairbench.plugin.components import NonNegativeFloat, Options, PositiveFloat, PositiveInt, Probability


class Colour(Enum):
    RED = "red"
    SEVEN = "7"


class Many(Options):
    """One option of each kind.

    whole: a whole number
        on two lines.
    """

    whole: PositiveInt = 1
    share: Probability = 0.5
    real: float = 1.5
    positive: PositiveFloat = 1.0
    flag: bool = False
    text: str = "cnn"
    maybe: str | None = None
    number_or_none: PositiveInt | None = None
    choice: Literal["none", "linear", 14] = "none"
    count: PositiveInt | Literal["all"] = 10
    numbers: tuple[PositiveInt, ...] = (1, 2)
    pair: tuple[int, str] = (1, "a")
    one_or_many: PositiveInt | tuple[PositiveInt, ...] = 3
    nested: tuple[tuple[int, ...], ...] = ()
    words: tuple[str, ...] = ()
    mapping: dict[str, bool | int | float | str] = Field(default_factory=dict)
    colour: Colour = Colour.RED
    path: Path | None = None
    renamed: Annotated[int, Field(alias="other")] = 4


@pytest.mark.parametrize(
    ("option", "text", "value"),
    [
        ("whole", "7", 7),
        ("whole", "1e3", 1000),
        ("share", "0", 0.0),
        ("real", "-1e-5", -1e-5),
        ("real", "3", 3.0),
        ("flag", "true", True),
        ("flag", "FALSE", False),
        ("text", "5", "5"),
        ("text", "none", "none"),
        ("text", "true", "true"),
        ("text", '"a, b"', "a, b"),
        ("text", '""', ""),
        ("text", "[1,2]", "[1,2]"),
        ("maybe", "none", None),
        ("maybe", "null", None),
        ("maybe", '"none"', "none"),
        ("number_or_none", "3", 3),
        ("choice", "none", "none"),
        ("choice", '"none"', "none"),
        ("choice", "14", 14),
        ("count", "all", "all"),
        ("count", "5", 5),
        ("numbers", "[3, 6,12]", (3, 6, 12)),
        ("numbers", "3", (3,)),
        ("numbers", "[]", ()),
        ("pair", "[3,4]", (3, "4")),
        ("one_or_many", "5", 5),
        ("one_or_many", "[5]", (5,)),
        ("nested", "[[1,2],[3],[]]", ((1, 2), (3,), ())),
        ("words", "[a,none,5]", ("a", "none", "5")),
        ("words", '["a=1"]', ("a=1",)),
        ("mapping", "[lr=0.9,nesterov=true,kind=x,steps=10]", {"lr": 0.9, "nesterov": True, "kind": "x", "steps": 10}),
        ("mapping", '[a="1",b="true"]', {"a": "1", "b": "true"}),
        ("mapping", "[]", {}),
        ("colour", "7", Colour.SEVEN),
        ("path", "7", Path("7")),
        ("other", "5", 5),
    ],
)  # fmt: skip
def test_text_is_read_as_the_type_of_its_option(option: str, text: str, value: object) -> None:
    found = read(Many, "encoder", {option: text})
    got = getattr(found, "renamed" if option == "other" else option)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("option", "text", "message"),
    [
        ("whole", "many", "encoder.whole=many: expected a whole number of at least 1"),
        ("whole", "0", "encoder.whole=0: expected a whole number of at least 1"),
        ("whole", "1.5", "encoder.whole=1.5: expected a whole number of at least 1"),
        ("whole", "none", "encoder.whole=none: expected a whole number of at least 1"),
        ("whole", "[1]", "encoder.whole=[1]: expected a whole number of at least 1"),
        ("whole", "1e400", "encoder.whole=1e400: expected a whole number of at least 1"),
        ("whole", "true", "encoder.whole=true: expected a whole number of at least 1"),
        ("share", "1", "encoder.share=1: expected a number of at least 0 and below 1"),
        ("share", "nan", "encoder.share=nan: expected a number of at least 0 and below 1"),
        ("real", "inf", "encoder.real=inf: expected a number"),
        ("real", "-infinity", "encoder.real=-infinity: expected a number"),
        ("real", "nan", "encoder.real=nan: expected a number"),
        ("positive", "0", "encoder.positive=0: expected a number above 0"),
        ("positive", "1e999", "encoder.positive=1e999: expected a number above 0"),
        ("flag", "maybe", "encoder.flag=maybe: expected true or false"),
        ("choice", "conv", "encoder.choice=conv: expected one of none, linear, 14"),
        ("count", "some", "encoder.count=some: expected a whole number of at least 1 or all"),
        ("numbers", "[1,x]", "encoder.numbers=[1,x]: expected a whole number of at least 1, got x"),
        ("numbers", "[1,,2]", 'encoder.numbers=[1,,2]: expected a whole number of at least 1, got ""'),
        ("mapping", "x", "encoder.mapping=x: expected a mapping such as [name=value], each value true or false"),
        ("mapping", "[lr=nan]", "encoder.mapping=[lr=nan]: expected true or false or a whole number or a number"),
        ("wholes", "1", "unknown option of encoder 'wholes'. Did you mean 'whole'?"),
        ("renamed", "1", "unknown option of encoder 'renamed'."),
        ("numbers", "[a]x[b]", "encoder.numbers='a]x[b': unmatched ]. Balance the brackets."),
    ],
)  # fmt: skip
def test_a_wrong_value_says_what_was_expected(option: str, text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(Many, "encoder", {option: text})
    assert str(caught.value).startswith(message)
    assert str(caught.value).isprintable()


def test_a_missing_option_says_how_to_add_it() -> None:
    class Needy(Options):
        model: str

    with pytest.raises(SpecError) as caught:
        read(Needy, "encoder", {})
    assert str(caught.value) == "encoder.model is missing: expected text. Add encoder.model=VALUE."


def test_a_component_without_options_says_so() -> None:
    class Bare(Options):
        pass

    with pytest.raises(SpecError) as caught:
        read(Bare, "loss", {"weight": "1"})
    assert str(caught.value) == "unknown option of loss 'weight'. It has no options."


def test_what_a_validator_says_reaches_the_user() -> None:
    class Checked(Options):
        low: int = 0
        high: int = 1

        @model_validator(mode="after")
        def _ordered(self) -> Checked:
            if self.low > self.high:
                raise ValueError("low is above high. Swap them.")
            return self

        @field_validator("high")
        @classmethod
        def _even(cls, value: int) -> int:
            if value == 13:
                raise AssertionError("13 is\nunlucky")
            return value

    with pytest.raises(SpecError, match=r"^head: low is above high\. Swap them\.$"):
        read(Checked, "head", {"low": "2"})
    with pytest.raises(SpecError, match=r"^head\.high=13: 13 is unlucky$"):
        read(Checked, "head", {"high": "13"})


def test_typed_values_are_checked_as_text_is() -> None:
    with pytest.raises(SpecError, match=r"^train\.whole=-1: expected a whole number of at least 1$"):
        validated(Many, "train", {"whole": -1})


def test_the_default_of_a_hostile_value_is_safe_to_print() -> None:
    with pytest.raises(SpecError) as caught:
        read(Many, "encoder", {"whole": "\x1b[2J\u202e" + "x" * 10_000})
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (int, "a whole number"),
        (PositiveInt, "a whole number of at least 1"),
        (NonNegativeFloat | None, "none or a number of at least 0"),
        (tuple[PositiveInt, ...], "a list, each item a whole number of at least 1"),
        (dict[str, float], "a mapping such as [name=value], each value a number"),
        (Literal["a"], "a"),
        (Literal["a", "b c"], 'one of a, "b c"'),
        (Path, "Path"),
    ],
)
def test_a_type_is_told_in_words(annotation: Any, words: str) -> None:
    assert expected(annotation) == words


def test_a_description_comes_from_the_docstring() -> None:
    texts = Many.option_texts()
    assert texts["whole"] == "a whole number on two lines."
    assert texts["share"] == ""
    assert "other" in texts


def test_options_with_a_mapping_are_hashable_and_equal_values_hash_alike() -> None:
    assert hash(Many(mapping={"a": 1, "b": 2})) == hash(Many(mapping={"b": 2, "a": 1}))
    assert len({Many(), Many(), Many(whole=2)}) == 2


def test_options_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Many().whole = 3  # type: ignore[misc]


def test_a_name_in_a_mapping_that_no_spec_can_write_is_no_crash() -> None:
    field = Many.option_fields()["mapping"]
    assert written_option(field, {"a]": 1}) == "[a]=1]"


SCALARS = st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=12)


@given(
    st.builds(
        Many,
        whole=st.integers(1, 2**70),
        real=st.floats(allow_nan=False, allow_infinity=False),
        flag=st.booleans(),
        text=st.text(),
        maybe=st.none() | st.text(max_size=12) | st.sampled_from(["none", "true", "5", '"', "[a=1]", "a=1", " x "]),
        number_or_none=st.none() | st.integers(1, 9),
        choice=st.sampled_from(["none", "linear", 14]),
        count=st.integers(1, 9) | st.just("all"),
        numbers=st.lists(st.integers(1, 9), max_size=3).map(tuple),
        pair=st.tuples(st.integers(), st.text(max_size=5)),
        one_or_many=st.integers(1, 9) | st.lists(st.integers(1, 9), max_size=3).map(tuple),
        nested=st.lists(st.lists(st.integers(), max_size=2).map(tuple), max_size=2).map(tuple),
        words=st.lists(st.text(max_size=8) | st.sampled_from(["none", "a=1", "[", '"', ""]), max_size=3).map(tuple),
        mapping=st.dictionaries(st.from_regex(r"[a-z_][a-z0-9_]*", fullmatch=True), SCALARS, max_size=3),
        colour=st.sampled_from(list(Colour)),
        other=st.integers(),
    )
)
def test_options_written_as_text_are_read_back_equal(options: Many) -> None:
    fields = Many.option_fields()
    text = {option: written_option(fields[option], value) for option, value in options.values().items()}
    assert read(Many, "encoder", text).values() == options.values()


@given(
    st.sampled_from(sorted(Many.option_fields())), st.text(max_size=40) | st.from_regex(r'[\[\]={},"0-9a-z. -]{0,12}')
)
def test_any_text_is_read_or_refused_in_one_line(option: str, text: str) -> None:
    try:
        found = read(Many, "encoder", {option: text})
    except SpecError as error:
        assert str(error).isprintable(), str(error)  # noqa: PT017
    else:
        assert hash(found) == hash(validated(Many, "encoder", found.values()))


def test_the_words_for_every_field_are_one_line() -> None:
    for field in Many.option_fields().values():
        assert field_expected(field).isprintable()
