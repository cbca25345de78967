"""What `list` and `show` tell of what is installed."""

from __future__ import annotations

import hostile
import pytest
from conftest import Install

from pairbench.cli.catalogue import PAIRING_TEXTS, catalogue, catalogue_document, described, described_document
from pairbench.config.options import read
from pairbench.config.run_config import DEFAULTS, PAIRINGS
from pairbench.config.spec import parse_word
from pairbench.config.train_options import TrainOptions
from pairbench.errors import SpecError
from pairbench.plugin.components import INTERFACES
from pairbench.plugin.registry import installed, load
from pairbench.results.render import to_csv, to_html, to_markdown, to_text


def names(slot: str | None = None) -> list[tuple[str, str]]:
    return [(item["slot"], item["name"]) for item in catalogue(installed(), slot)["components"]]


def test_everything_is_listed_slot_by_slot() -> None:
    listed = names()
    assert {slot for slot, _ in listed} == {*INTERFACES, "pairing", "suite"}
    assert set(DEFAULTS.items()) <= set(listed)
    assert ("suite", "report") in listed


@pytest.mark.parametrize("slot", [*INTERFACES, "pairing", "suite"])
def test_a_slot_is_listed_alone_in_the_singular_and_in_the_plural(slot: str) -> None:
    plural = "losses" if slot == "loss" else f"{slot}s"
    assert names(slot) == names(plural) == [item for item in names() if item[0] == slot] != []


@pytest.mark.parametrize("slot", ["los", "losss", "lossencoder", "encoderss", "train", "", "\x1b", "x" * 9999])
def test_an_unknown_slot_is_refused_in_one_line(slot: str) -> None:
    with pytest.raises(SpecError, match="unknown slot") as caught:
        catalogue(installed(), slot)
    assert str(caught.value).isprintable()


def test_every_component_says_what_it_is_in_a_sentence() -> None:
    for item in catalogue(installed())["components"]:
        assert item["summary"].endswith((".", "?")), item
        assert item["summary"].isprintable()


def test_the_default_of_each_slot_is_marked() -> None:
    shown = to_text(catalogue_document(catalogue(installed())), 300)
    for name in DEFAULTS.values():
        assert f"{name} (default)" in shown


def test_a_suite_whose_file_is_gone_is_listed_with_the_reason(install_plugin: Install) -> None:
    source = """
        import pairbench

        @pairbench.hookimpl
        def pairbench_suites():
            return ["/nowhere/gone.toml"]
        """
    install_plugin("gone", source)
    (row,) = [item for item in catalogue(installed(), "suite")["components"] if item["name"] == "gone"]
    assert row["summary"] == "suite /nowhere/gone.toml: No such file or directory. Name a file that can be read."


def test_every_pairing_has_a_text() -> None:
    assert set(PAIRING_TEXTS) == set(PAIRINGS)


@pytest.mark.parametrize("word", ["encoder=cnn", "cnn", "encoder=pairbench:cnn"])
def test_a_component_is_shown_by_its_name_alone_or_with_its_slot(word: str) -> None:
    (item,) = described(installed(), [word])["shown"]
    assert (item["slot"], item["distribution"]) == ("encoder", "pairbench")
    assert [option["option"] for option in item["options"]] == [
        "encoder.channels",
        "encoder.kernel_size",
        "encoder.embedding_dim",
    ]


def test_an_option_comes_with_type_range_default_and_text() -> None:
    (item,) = described(installed(), ["encoder=cnn"])["shown"]
    assert item["options"][1] == {
        "option": "encoder.kernel_size",
        "expected": "a whole number of at least 1",
        "default": "3",
        "required": False,
        "text": "the height and width of each kernel.",
    }


def test_every_default_that_is_shown_can_be_written_in_a_spec() -> None:
    registry = installed()
    for slot in INTERFACES:
        for name in registry.names(slot):
            model = registry.find(slot, name).component
            (item,) = described(registry, [f"{slot}={name}"])["shown"]
            shown = {
                option["option"].split(".")[1]: option["default"]
                for option in item["options"]
                if not option["required"]
            }
            if not any(option["required"] for option in item["options"]):
                words = {option: parse_word(f"x.y={text}")[1][0] for option, text in shown.items()}
                assert read(model, slot, words) == model(), name


def test_every_option_of_training_has_a_text() -> None:
    (item,) = described(installed(), ["train"])["shown"]
    assert {option["option"] for option in item["options"]} == {
        f"train.{name}" for name in TrainOptions.option_fields()
    }
    assert [option["option"] for option in item["options"] if not option["text"]] == []


def test_a_suite_is_shown_with_its_entries() -> None:
    (item,) = described(installed(), ["suite=report"])["shown"]
    assert next(entry["name"] for entry in item["entries"]) == "Baseline"
    assert "Baseline" in to_text(described_document({"schema": 1, "shown": [item]}))
    assert described(installed(), ["report"])["shown"] == [item]


def test_several_things_are_shown_in_their_order() -> None:
    shown = described(installed(), ["pairing", "train", "two_channel", "loss=aux"])["shown"]
    assert [(item["slot"], item["name"]) for item in shown] == [
        ("pairing", "siamese"),
        ("train", ""),
        ("pairing", "two_channel"),
        ("loss", "aux"),
    ]
    hostile.check_terminal(to_text(described_document({"schema": 1, "shown": shown})))


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("cnnn", "nothing called 'cnnn' to show: expected SLOT=NAME, train or suite=NAME. Did you mean 'cnn'"),
        ("", "nothing called '' to show"),
        ("encoder", "nothing called 'encoder' to show"),
        ("encoder=", "unknown encoder ''."),
        ("encoder=cnnn", "unknown encoder 'cnnn'. Did you mean 'cnn'"),
        ("encodr=cnn", "unknown slot 'encodr'. Did you mean 'encoder'?"),
        ("pairing=siam", "unknown pairing 'siam'."),
        ("suite=reprt", "unknown suite 'reprt'."),
        ("suite=/nowhere.toml", "suite /nowhere.toml: No such file or directory."),
        ("train=epochs", "train is a group of options, not a slot."),
        ("=", "unknown slot ''."),
        ("\x1b[2J=x", "unknown slot '\ufffd[2J'."),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_line(word: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        described(installed(), [word])
    assert str(caught.value).startswith(message)
    assert str(caught.value).isprintable()


def test_a_component_of_a_plugin_with_odd_defaults_and_texts_is_shown(install_plugin: Install) -> None:
    source = '''
        from enum import Enum
        from pathlib import Path
        from pydantic import Field
        import pairbench

        class Colour(Enum):
            RED = "red"

        class Odd(pairbench.Encoder):
            """[/red] <b> *x* | \\x1b[2J. More.

            label: [link=http://a]text[/link] | `x`
            """

            name = "odd"
            label: str = "a, b"
            colour: Colour = Colour.RED
            place: Path = Path("a b")
            pairs: tuple[tuple[int, ...], ...] = ((1, 2), ())
            extra: dict[str, float] = Field(default_factory=lambda: {"a": 1.5})
            needed: int

            def build(self, image_shape):
                from torch import nn

                return nn.Flatten()

        @pairbench.hookimpl
        def pairbench_components():
            return [Odd]
        '''
    install_plugin("odd", source)
    value = described(installed(), ["encoder=odd"])
    assert {option["option"].split(".")[1]: option["default"] for option in value["shown"][0]["options"]} == {
        "label": '"a, b"',
        "colour": "red",
        "place": '"a b"',
        "pairs": "[[1,2],[]]",
        "extra": "[a=1.5]",
        "needed": None,
    }
    for document in (described_document(value), catalogue_document(catalogue(installed()))):
        hostile.check_terminal(to_text(document))
        hostile.check_html(to_html(document))
        hostile.check_csv(to_csv(document))
        (table,) = document.tables
        hostile.check_markdown(to_markdown(document), [len(table.columns)] * (len(table.rows) + 1))


def test_a_registry_without_plugins_still_lists_pairings() -> None:
    empty = load("no such group")
    assert {item["slot"] for item in catalogue(empty)["components"]} == {"pairing"}
