"""The config of a run: a component for each slot, a pairing, and how to train; as values, as text and as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from pairbench.config.options import read, validated, written_option
from pairbench.config.spec import Settings, parse, single
from pairbench.config.train_options import TrainOptions
from pairbench.errors import DataError, MismatchError, PairbenchError, SpecError
from pairbench.plugin.components import (
    INTERFACES,
    ComparisonHead,
    Component,
    Encoder,
    LossStrategy,
    Options,
    PairDataset,
)
from pairbench.plugin.registry import Origin, Registry, installed
from pairbench.plugin.selection import BUNDLED
from pairbench.text import quoted, unknown

Pairing = Literal["siamese", "pseudo_siamese", "two_channel"]
PAIRINGS: tuple[str, ...] = get_args(Pairing)
DEFAULTS: Settings = {
    "dataset": "mnist_pairs",
    "encoder": "deep_cnn",
    "pairing": "siamese",
    "head": "concat_linear",
    "loss": "aux",
}


@dataclass(frozen=True)
class RunConfig:
    """One combination of components and options, complete and validated."""

    dataset: PairDataset
    encoder: Encoder
    head: ComparisonHead
    loss: LossStrategy
    pairing: Pairing = "siamese"
    train: TrainOptions = field(default_factory=TrainOptions)

    def __post_init__(self) -> None:
        if self.pairing not in PAIRINGS:
            raise unknown("pairing", str(self.pairing), PAIRINGS)
        wanted = self.encoder.normalize
        if wanted not in (None, self.train.normalize):
            raise MismatchError(
                f"encoder '{self.encoder.name}' has weights that were made for train.normalize={wanted}, "
                f"got {self.train.normalize}. Set train.normalize={wanted}."
            )

    def components(self) -> dict[str, Component]:
        """The component in each slot."""
        return {"dataset": self.dataset, "encoder": self.encoder, "head": self.head, "loss": self.loss}

    def flat(self) -> dict[str, Any]:
        """Every option, defaults included, by its key in a spec: {"encoder": "cnn", "train.epochs": 20, ...}."""
        flat: dict[str, Any] = {}
        for slot, component in self.components().items():
            flat[slot] = component.name
            flat |= {f"{slot}.{option}": value for option, value in component.values().items()}
        flat["pairing"] = self.pairing
        return flat | {f"train.{option}": value for option, value in self.train.values().items()}

    def qualified(self) -> dict[str, Any]:
        """The flat form with each component as `distribution:name`, unambiguous if two plugins share a name."""
        origins = self.origins()
        return self.flat() | {
            slot: f"{origins[slot].distribution}:{component.name}"
            for slot, component in self.components().items()
            if origins[slot].plugin
        }

    @property
    def config_id(self) -> str:
        """Twelve hexadecimal digits that identify this config, ignoring the number of rounds and file locations.

        A user's own data, and weights that lie in a file, count by their content.

        Raises:
            DataError: the data or the weights cannot be read.
        """
        # Anew each time where there are files: others may have taken their place.
        return self.id_with(self.data() if self.dataset.own_files else "", self.weights())

    def id_with(self, data: str, weights: str) -> str:
        """The config_id where the digests of data and weights are known already; reads no file."""
        return id_of(self.flat(), self.locations(), weights=weights, data=data if self.dataset.own_files else None)

    def locations(self) -> list[str]:
        """The keys of options that are only locations of data or weights."""
        places = {"dataset": type(self.dataset).locations, "encoder": self.encoder.locations}
        return [f"{slot}.{option}" for slot, options in places.items() for option in options]

    def data(self) -> str:
        """The digest of the data that the dataset reads; "" where it reads no file.

        Raises:
            DataError: the data cannot be read.
        """
        try:
            return self.dataset.digest()
        except PairbenchError:
            raise
        except Exception as error:
            raise DataError(
                f"dataset '{self.dataset.name}' failed to digest its data ({type(error).__name__}: {error}). "
                "Fix its plugin, or check the paths in its options."
            ) from error

    def weights(self) -> str:
        """The digest of the weights that the encoder loads; "" if all of them are initialised at random.

        Raises:
            DataError: they cannot be read.
        """
        try:
            return self.encoder.digest()
        except PairbenchError:
            raise
        except Exception as error:
            raise DataError(
                f"encoder '{self.encoder.name}' failed to digest its weights ({type(error).__name__}: {error}). "
                "Fix its plugin, or check the paths in its options."
            ) from error

    def words(self) -> list[str]:
        """The shortest spec of this config: each slot, and every option that is not at its default."""
        return config_words(self.flat(), self)

    def origins(self, registry: Registry | None = None) -> dict[str, Origin]:
        """The origin of the component in each slot."""
        registry = registry or installed()
        return {slot: registry.origin_of(type(component)) for slot, component in self.components().items()}

    def __str__(self) -> str:
        return " ".join(self.words())


def config_words(flat: Mapping[str, Any], config: RunConfig) -> list[str]:
    """The words of `config`, without options at their defaults."""
    models: dict[str, Options] = {**config.components(), "train": config.train}
    names = _clear_names(config)
    words = [f"{slot}={names[slot]}" for slot in ("encoder", "head", "loss")]
    if names["dataset"] != DEFAULTS["dataset"]:
        words.insert(0, f"dataset={names['dataset']}")
    if flat["pairing"] != DEFAULTS["pairing"]:
        words.append(f"pairing={flat['pairing']}")
    for owner, model in models.items():
        for name, info in type(model).model_fields.items():
            option = info.alias or name
            value = flat[f"{owner}.{option}"]
            if info.is_required() or getattr(model, name) != info.get_default(call_default_factory=True):
                words.append(f"{owner}.{option}={written_option(info, value)}")
    return words


def _clear_names(config: RunConfig) -> dict[str, str]:
    """The name of the component in each slot, with its distribution if the name is not unique."""
    registry = installed()
    qualified = config.qualified()
    return {
        slot: str(qualified[slot]) if len(registry.components[slot].get(component.name, [])) > 1 else component.name
        for slot, component in config.components().items()
    }


def resolve(settings: Settings, registry: Registry | None = None, home: str = "") -> RunConfig:
    """The config that `settings` ask for, with defaults for the rest.

    home: the distribution preferred if several provide the same name, for its own suites.

    Raises:
        SpecError: a key, a component or an option is unknown or wrong; the message says how to fix it.
    """
    registry = registry or installed()
    _check_keys(settings, registry)
    chosen = {**DEFAULTS, **{key: value for key, value in settings.items() if "." not in key}}
    if chosen["pairing"] not in PAIRINGS:
        raise unknown("pairing", chosen["pairing"], PAIRINGS)
    models: dict[str, Any] = {
        slot: read(
            registry.find(slot, chosen[slot], home if slot in settings else BUNDLED).component,
            slot,
            _options(settings, slot),
        )
        for slot in INTERFACES
    }
    train = read(TrainOptions, "train", _options(settings, "train"))
    return RunConfig(**models, pairing=chosen["pairing"], train=train)  # type: ignore[arg-type]


def known_id(config: RunConfig, what: str) -> str:
    """The config_id of `config`, by which `what` is looked up.

    Raises:
        DataError: the data or the weights are not there, and so cannot say which of them are meant.
    """
    try:
        return config.config_id
    except DataError as error:
        raise DataError(f"{error} A spec finds {what} by the content of its data: or name it by config_id.") from None


def changed_dataset(config: RunConfig, words: Iterable[str]) -> PairDataset:
    """The dataset of `config` with the options that `words` name, such as "dataset.delimiter=semicolon".

    Raises:
        SpecError: a word is wrong, or names no option of this dataset.
    """
    changes = _options(single(parse(words)), "dataset")
    kind = type(config.dataset)
    given = read(kind, "dataset", _required(config.dataset) | changes).values()
    changed: PairDataset = validated(kind, "dataset", config.dataset.values() | {key: given[key] for key in changes})
    return changed


def _required(dataset: PairDataset) -> Settings:
    """What `dataset` has for the options that have no default, as a spec writes it."""
    fields = type(dataset).model_fields.items()
    return {
        info.alias or name: written_option(info, dataset.values()[info.alias or name])
        for name, info in fields
        if info.is_required()
    }


def from_flat(flat: Mapping[str, Any], registry: Registry | None = None) -> RunConfig:
    """The config whose `flat` form this is.

    Raises:
        SpecError: a component or an option does not exist here, or its value is wrong.
    """
    registry = registry or installed()

    def options(owner: str) -> dict[str, Any]:
        return {key.split(".", 1)[1]: value for key, value in flat.items() if key.startswith(owner + ".")}

    try:
        models: dict[str, Any] = {
            slot: validated(registry.find(slot, str(flat[slot])).component, slot, options(slot)) for slot in INTERFACES
        }
        pairing = flat["pairing"]
    except KeyError as error:
        raise SpecError(f"a config without {error}: expected every slot. Create it with RunConfig.flat().") from None
    return RunConfig(**models, pairing=pairing, train=validated(TrainOptions, "train", options("train")))


def id_of(flat: Mapping[str, Any], locations: Iterable[str] = (), *, weights: str = "", data: str | None = None) -> str:
    """The config_id of the config whose `flat` form this is.

    Args:
        flat: every option.
        locations: keys of options that only say where files lie; what lies there counts in their place.
        weights: the digest of the weights that lie at an encoder's locations.
        data: the digest of the data that lie at a dataset's locations; None where the other options name them.
    """
    nowhere = {key: weights if key.startswith("encoder.") else data for key in locations}
    identity = {key: value for key, value in (dict(flat) | nowhere).items() if key != "train.rounds"}
    return hashlib.sha256(canonical(identity).encode()).hexdigest()[:12]


def canonical(value: object) -> str:
    """`value` as JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _options(settings: Settings, owner: str) -> Settings:
    return {key.split(".", 1)[1]: text for key, text in settings.items() if key.startswith(owner + ".")}


def _unknown_option(key: str, registry: Registry) -> SpecError:
    """The error for an option of an unknown group: suggests real options of that name, or lists the groups."""
    option = key.partition(".")[2]
    models: dict[str, list[type[Options]]] = {
        slot: [claim.component for claims in registry.components[slot].values() for claim in claims]
        for slot in INTERFACES
    }
    models["train"] = [TrainOptions]
    real = [f"{owner}.{option}" for owner, kinds in models.items() if any(option in k.option_fields() for k in kinds)]
    if real:
        return unknown("key", key, real)
    return SpecError(f"unknown key {quoted(key)}. Options belong to {', '.join(models)}: write SLOT.OPTION=VALUE.")


def _check_keys(settings: Settings, registry: Registry) -> None:
    plain = [*INTERFACES, "pairing"]
    for key in settings:
        owner, dot, _ = key.partition(".")
        if dot and owner not in (*INTERFACES, "train"):
            raise _unknown_option(key, registry)
        if not dot and owner == "train":
            raise SpecError("malformed word: 'train' is a group of options. Write train.OPTION=VALUE.")
        if not dot and owner not in plain:
            owners = [name for name in INTERFACES if owner in registry.components[name]]
            hint = f" Did you mean {owners[0]}={owner}?" if owners else ""
            options = [f"train.{option}" for option in TrainOptions.option_fields() if option == owner]
            if options:
                hint = f" Did you mean {options[0]}?"
            raise SpecError(f"unknown key {quoted(key)}.{hint}") if hint else unknown("key", key, plain)
