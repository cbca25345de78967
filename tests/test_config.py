"""What a run does, as values, as text and as JSON."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
import tiny
from conftest import config_of, tiny_config
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pairbench.config.run_config import DEFAULTS, PAIRINGS, RunConfig, canonical, from_flat, resolve
from pairbench.config.spec import expand, parse, split_words
from pairbench.config.train_options import TrainOptions
from pairbench.errors import SpecError
from pairbench.plugin.components import INTERFACES
from pairbench.plugin.registry import Registry, installed

SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_no_words_give_the_defaults() -> None:
    config = config_of()
    assert {slot: component.name for slot, component in config.components().items()} | {
        "pairing": config.pairing
    } == DEFAULTS
    assert config.train == TrainOptions()


def test_words_choose_components_options_and_the_pairing(tiny_registry: Registry) -> None:
    config = tiny_config("encoder.embedding_dim=7", "pairing=pseudo_siamese", "train.epochs=3")
    assert config.encoder == tiny_registry.find("encoder", "tiny_encoder").component(embedding_dim=7)  # type: ignore[call-arg]
    assert (config.pairing, config.train.epochs) == ("pseudo_siamese", 3)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("encoder=deepcnn", "unknown encoder 'deepcnn'. Did you mean 'deep_cnn' or '"),
        ("encoder=DEEP_CNN", "unknown encoder 'DEEP_CNN'."),
        ("pairing=siam", "unknown pairing 'siam'. Did you mean 'siamese'"),
        ("encodr=cnn", "unknown key 'encodr'. Did you mean 'encoder'?"),
        ("cnn=3", "unknown key 'cnn'. Did you mean encoder=cnn?"),
        ("epochs=3", "unknown key 'epochs'. Did you mean train.epochs?"),
        ("train=3", "malformed word: 'train' is a group of options. Write train.OPTION=VALUE."),
        ("trian.epochs=3", "unknown key 'trian.epochs'. Did you mean 'train.epochs'"),
        ("pairing.kind=siamese", "unknown key 'pairing.kind'."),
        ("train.epoch=3", "unknown option of train 'epoch'. Did you mean 'epochs'?"),
        ("train.epochs=many", "train.epochs=many: expected a whole number of at least 1"),
        ("train.epochs=0", "train.epochs=0: expected a whole number of at least 1"),
        ("train.normalize=0-255", "train.normalize=0-255: expected one of unit, raw, standard"),
        ("train.rounds=10001", "train.rounds=10001: expected a whole number of at least 1 and of at most 10000"),
        ("train.seed=-1", "train.seed=-1: expected a whole number of at least 0"),
        ("encoder.channels=[3,x]", "unknown option of encoder 'channels'"),
        ("dataset.size=15", "dataset.size=15: expected one of 14, 28"),
        ("train.optimizer_options=[a b=1]", "train.optimizer_options=[a b=1]: expected a mapping"),
        ("encoder=pairbench:nope", "unknown encoder 'pairbench:nope'."),
        ("encoder=nobody:cnn", "unknown encoder 'nobody:cnn'."),
    ],
)
def test_a_wrong_word_says_what_is_wrong_and_the_mend(word: str, message: str) -> None:
    words = [word] if word.startswith("encoder") and "." not in word else ["encoder=mlp", word]
    with pytest.raises(SpecError) as caught:
        config_of(*words)
    assert str(caught.value).startswith(message)
    assert str(caught.value).isprintable()


def test_a_config_without_a_pairing_that_exists_cannot_be_made() -> None:
    config = config_of()
    with pytest.raises(SpecError, match="unknown pairing 'twins'"):
        RunConfig(config.dataset, config.encoder, config.head, config.loss, "twins")  # type: ignore[arg-type]


def test_the_flat_form_names_every_option(tiny_registry: Registry) -> None:
    config = tiny_config()
    expected = {*INTERFACES, "pairing", *(f"train.{option}" for option in TrainOptions.option_fields())}
    for slot, component in config.components().items():
        expected |= {f"{slot}.{option}" for option in component.option_fields()}
    assert set(config.flat()) == expected


def test_the_shortest_spec_leaves_out_what_is_at_its_default(tiny_registry: Registry) -> None:
    config = tiny_config("encoder.embedding_dim=3", "train.epochs=2")
    assert config.words() == [*tiny.SPECS, "train.epochs=2"]


def test_the_id_is_twelve_digits_that_rounds_do_not_change() -> None:
    config = config_of("encoder=cnn")
    assert len(config.config_id) == 12
    assert set(config.config_id) <= set("0123456789abcdef")
    assert config_of("encoder=cnn", "train.rounds=3").config_id == config.config_id


def test_the_id_does_not_depend_on_the_order_of_words_or_on_defaults_being_named() -> None:
    first = config_of("encoder=cnn", "loss=aux", "encoder.kernel_size=5")
    second = config_of("encoder.kernel_size=5", "pairing=siamese", "loss=aux", "encoder=cnn", "train.seed=0")
    assert first == second
    assert first.config_id == second.config_id
    assert hash(first) == hash(second)


def test_every_option_but_rounds_changes_the_id(tiny_registry: Registry) -> None:
    others = {
        "dataset.size": "5",
        "encoder.embedding_dim": "4",
        "head.bias": "false",
        "loss.weight": "2",
        "loss.label": "x",
        "pairing": "two_channel",
        "train.seed": "1",
        "train.epochs": "99",
        "train.optimizer_options": "[eps=1]",
        "train.evaluation": "train",
    }
    ids = {tiny_config(f"{key}={value}").config_id for key, value in others.items()}
    assert len(ids | {tiny_config().config_id}) == len(others) + 1


def test_text_that_looks_like_something_else_makes_another_config(tiny_registry: Registry) -> None:
    configs = [
        tiny_config(f"train.optimizer_options=[a={value}]") for value in ("1", "1.0", '"1"', "true", '"true"', "none")
    ]
    assert len({config.config_id for config in configs}) == len(configs)


def test_a_config_can_be_copied_and_pickled(tiny_registry: Registry) -> None:
    config = tiny_config("train.optimizer_options=[eps=1]")
    for twin in (copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
        assert twin == config
        assert twin.config_id == config.config_id


def test_a_flat_form_without_a_slot_is_refused() -> None:
    flat = config_of().flat()
    del flat["encoder"]
    with pytest.raises(SpecError, match=r"a config without 'encoder': expected every slot"):
        from_flat(flat)


@pytest.mark.parametrize(
    "change",
    [
        {"encoder": "nope"},
        {"encoder": 3},
        {"encoder.size": 3},
        {"train.epochs": "many"},
        {"train.epochs": None},
        {"pairing": "twins"},
        {"pairing": None},
        {"train.optimizer_options": [1]},
    ],
)
def test_a_flat_form_that_this_pairbench_cannot_read_is_refused_in_one_line(change: dict[str, Any]) -> None:
    with pytest.raises(SpecError) as caught:
        from_flat(config_of("encoder=mlp").flat() | change)
    assert str(caught.value).isprintable()


def test_canonical_json_is_the_same_for_equal_values() -> None:
    assert canonical({"b": [1, 2.5, "é"], "a": None}) == '{"a":null,"b":[1,2.5,"\\u00e9"]}'
    with pytest.raises(ValueError, match="Out of range float"):
        canonical(float("nan"))


def round_trips(config: RunConfig, registry: Registry) -> None:
    """Check that the config comes back from its words, its text and its JSON."""
    (points,) = expand(parse(config.words()))
    (again,) = expand(parse(split_words(str(config))))
    for twin in (
        resolve(points, registry),
        resolve(again, registry),
        from_flat(json.loads(json.dumps(config.flat())), registry),
        from_flat(json.loads(json.dumps(config.qualified())), registry),
    ):
        assert twin == config
        assert twin.flat() == config.flat()
        assert canonical(twin.flat()) == canonical(config.flat())
        assert twin.config_id == config.config_id


TEXTS = st.text(max_size=12) | st.sampled_from(["none", "true", "5", "1e5", "a=1", "[a]", '"', "a b c=d", " ", ""])
SCALARS = st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
MAPPINGS = st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True), SCALARS, max_size=3)


@SHARED
@given(
    st.fixed_dictionaries({}, optional={"size": st.integers(1, 99), "pairs": st.integers(1, 2**70)}),
    st.fixed_dictionaries({}, optional={"bias": st.booleans()}),
    st.fixed_dictionaries(
        {},
        optional={
            "weight": st.floats(0, allow_nan=False, allow_infinity=False),
            "style": st.sampled_from(["none", "true", "7"]),
            "label": st.none() | TEXTS,
            "weights": st.lists(st.floats(0, 1), max_size=3).map(tuple),
        },
    ),
    st.sampled_from(PAIRINGS),
    st.fixed_dictionaries(
        {},
        optional={
            "rounds": st.integers(1, 10_000),
            "seed": st.integers(0, 2**63 - 1),
            "learning_rate": st.floats(0, exclude_min=True, allow_nan=False, allow_infinity=False),
            "weight_decay": st.none() | st.floats(0, 1),
            "optimizer": TEXTS,
            "optimizer_options": MAPPINGS,
            "device": st.sampled_from(["auto", "cpu"]),
        },
    ),
)
def test_any_config_comes_back_from_text_and_from_json(
    tiny_registry: Registry,
    dataset: dict[str, Any],
    head: dict[str, Any],
    loss: dict[str, Any],
    pairing: Any,
    train: dict[str, Any],
) -> None:
    config = RunConfig(
        tiny.TinyPairs(**dataset),
        tiny.TinyEncoder(),
        tiny.TinyHead(**head),
        tiny.TinyLoss(**loss),
        pairing,
        TrainOptions(**train),
    )
    round_trips(config, tiny_registry)


def test_every_bundled_component_comes_back_from_its_words() -> None:
    registry = installed()
    for slot in INTERFACES:
        for name in registry.names(slot):
            fields = registry.find(slot, name).component.option_fields()
            if not any(field.is_required() for field in fields.values()):
                round_trips(config_of(f"{slot}={name}"), registry)


KEYS = [*INTERFACES, "pairing", "train", "encoder.embedding_dim", "loss.label", "loss.weights", "loss.style", "nope"]
KEYS += [f"train.{option}" for option in TrainOptions.option_fields()]
VALUES = st.from_regex(r'[\[\]={},"0-9a-z. -]{0,15}', fullmatch=True) | st.sampled_from(
    ["cnn", "tiny_loss", "none", "true", "[]", "[a=1]", "1e400", "-0", "nan", "inf", "[1,2]", "0x10", "1_000", "\uff19"]
)


@SHARED
@given(st.lists(st.tuples(st.sampled_from(KEYS), VALUES), max_size=4))
@example([("train.optimizer_options", "[lr=nan]")])
@example([("train.learning_rate", "1e-400")])
@example([("train.epochs", "9" * 4000)])
@example([("train.epochs", "9" * 6000)])
def test_any_words_make_configs_or_one_line(tiny_registry: Registry, pairs: list[tuple[str, str]]) -> None:
    words = [f"{key}={value}" for key, value in pairs]
    given_keys = {key for key, _ in pairs}
    words += [word for word in tiny.SPECS if word.partition("=")[0] not in given_keys]
    try:
        configs = [resolve(settings, tiny_registry) for settings in expand(parse(words))]
    except SpecError as error:
        assert str(error).isprintable(), str(error)  # noqa: PT017
    else:
        for config in configs:
            round_trips(config, tiny_registry)
