"""What is installed, as plain values and as tables: for `list` and `show`."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from pydantic_core import to_jsonable_python

from pairbench.config.options import field_expected
from pairbench.config.run_config import DEFAULTS, PAIRINGS
from pairbench.config.spec import written
from pairbench.config.suite import find_suite
from pairbench.config.train_options import TrainOptions
from pairbench.errors import SpecError
from pairbench.plugin.components import INTERFACES, Options
from pairbench.plugin.metrics import known_metrics
from pairbench.plugin.registry import Registry
from pairbench.results.render import Document, Table
from pairbench.text import did_you_mean, printable, quoted, unknown

PAIRING_TEXTS = {
    "siamese": "One encoder with shared weights for all images.",
    "pseudo_siamese": "A separate encoder for each image; no shared weights.",
    "two_channel": "One encoder that sees all images at once, stacked along the channels.",
}


def catalogue(registry: Registry, slot: str | None = None) -> dict[str, Any]:
    """Every component, pairing and suite, or every metric: what `pairbench list --format json` prints.

    Raises:
        SpecError: there is no such slot.
    """
    slots = [*INTERFACES, "pairing", "suite", "metric"]
    plurals = {"losses": "loss"} | {f"{name}s": name for name in slots if name != "loss"}
    # Metrics are no part of a spec: they are listed where they are asked for.
    wanted = slots[:-1] if slot is None else [plurals.get(slot, slot)]
    if wanted[0] not in slots:
        raise unknown("slot", str(slot), slots)
    found: list[dict[str, str]] = []
    for name in wanted:
        found += _of_slot(registry, name)
    failures = [
        {"plugin": failure.plugin, "distribution": failure.distribution, "reason": failure.reason}
        for failure in registry.failures
    ]
    return {"schema": 1, "components": found, "failures": failures, "conflicts": registry.conflicts()}


def _of_slot(registry: Registry, slot: str) -> list[dict[str, str]]:
    if slot == "pairing":
        return [_row("pairing", name, PAIRING_TEXTS[name], "pairbench") for name in PAIRINGS]
    if slot == "metric":
        found = known_metrics(registry).items()
        return [_row("metric", name, metric.spec.text, metric.origin.distribution) for name, metric in found]
    if slot == "suite":
        rows = []
        for name in sorted(registry.suites):
            try:
                text = find_suite(name, registry).description
            except SpecError as error:
                text = str(error)
            rows.append(_row("suite", name, text, ""))
        return rows
    rows = []
    for name in registry.names(slot):
        claims = registry.components[slot][name]
        for claim in claims:
            shown = name if len(claims) == 1 else f"{claim.origin.distribution}:{name}"
            rows.append(_row(slot, shown, claim.component.summary(), claim.origin.distribution))
    return rows


def _row(slot: str, name: str, summary: str, distribution: str) -> dict[str, str]:
    return {"slot": slot, "name": name, "summary": summary, "distribution": distribution}


def models(registry: Registry, encoder: str, pattern: str | None = None) -> dict[str, Any]:
    """The models of an encoder such as timm whose names match: what `pairbench list --encoder NAME PATTERN` prints.

    pattern: part of a name, or a glob with * and ? for the whole name; None lists every model.

    Raises:
        SpecError: there is no such encoder, it has no models to choose from, or none matches.
    """
    known = registry.find("encoder", encoder).component.models()  # type: ignore[attr-defined]
    if not known:
        raise SpecError(
            f"encoder {quoted(encoder)} is one network, with no models to list. Its options: "
            f"pairbench show encoder={printable(encoder, 60)}"
        )
    wanted = (pattern or "*").lower()
    if not any(sign in wanted for sign in "*?["):
        wanted = f"*{wanted}*"
    found = [
        {"name": name, "pretrained": pretrained} for name, pretrained in known if fnmatchcase(name.lower(), wanted)
    ]
    if not found:
        # Suggest similar names; never print the whole list of a thousand.
        hint = did_you_mean(str(pattern), [name for name, _ in known])
        hint = hint if hint.startswith(" Did") else " Use a shorter part of the name."
        raise SpecError(f"no model of encoder {quoted(encoder)} matches {quoted(str(pattern))}.{hint}")
    return {"schema": 1, "encoder": encoder, "models": found}


def models_document(value: dict[str, Any]) -> Document:
    """The models as one table."""
    rows = tuple((item["name"], "yes" if item["pretrained"] else "no") for item in value["models"])
    notes = (f"use one: pairbench run encoder={value['encoder']} encoder.model={rows[0][0]}",)
    return Document((Table("", ("encoder.model", "weights to download"), rows, 1),), notes)


def catalogue_document(value: dict[str, Any]) -> Document:
    """The catalogue as one table."""
    rows = []
    for item in value["components"]:
        default = " (default)" if DEFAULTS.get(item["slot"]) == item["name"] else ""
        rows.append((item["slot"], item["name"] + default, item["summary"], item["distribution"]))
    notes = [f"FAILED plugin {f['plugin']} of {f['distribution']}: {f['reason']}" for f in value["failures"]]
    notes += [f"TAKEN {conflict}" for conflict in value["conflicts"]]
    notes.append("options of one: pairbench show encoder=deep_cnn")
    return Document((Table("", ("slot", "name", "what it is", "from"), tuple(rows), 4),), tuple(notes))


def described(registry: Registry, words: Sequence[str]) -> dict[str, Any]:
    """Describes whatever each of `words` names, with its options: what `pairbench show --format json` prints.

    Raises:
        SpecError: a word names nothing.
    """
    return {"schema": 1, "shown": [_described(registry, word) for word in words]}


def _described(registry: Registry, word: str) -> dict[str, Any]:
    key, equals, name = word.partition("=")
    if key == "train" and equals:
        raise SpecError("train is a group of options, not a slot. Write: pairbench show train")
    if word == "train":
        return _options("train", "", TrainOptions, "pairbench")
    if not equals:
        homes = [slot for slot in INTERFACES if word in registry.components[slot]]
        if len(homes) == 1:
            key, name = homes[0], word
        elif word in PAIRINGS or word == "pairing":
            key, name = "pairing", word if word in PAIRINGS else "siamese"
        elif word in registry.suites:
            key, name = "suite", word
        else:
            names = [n for slot in INTERFACES for n in registry.components[slot]]
            hint = did_you_mean(word, [*names, "train", *registry.suites])
            raise SpecError(f"nothing called {quoted(word)} to show: expected SLOT=NAME, train or suite=NAME.{hint}")
    if key in INTERFACES:
        found = registry.find(key, name)
        return _options(key, name, found.component, found.origin.distribution)
    if key == "pairing":
        if name not in PAIRINGS:
            raise unknown("pairing", name, PAIRINGS)
        return {
            "slot": "pairing",
            "name": name,
            "text": PAIRING_TEXTS[name],
            "distribution": "pairbench",
            "options": [],
        }
    if key == "suite":
        suite = find_suite(name, registry)
        entries = [{"name": entry.name, "words": list(entry.words), "note": entry.note} for entry in suite.entries]
        return {
            "slot": "suite",
            "name": suite.name,
            "text": suite.description,
            "entries": entries,
            "options": [],
        }
    raise unknown("slot", key, [*INTERFACES, "pairing", "suite", "train"])


def _options(slot: str, name: str, model: type[Options], distribution: str) -> dict[str, Any]:
    texts = model.option_texts()
    options = [
        {
            "option": f"{slot}.{option}",
            "expected": field_expected(field),
            "default": None
            if field.is_required()
            else written(to_jsonable_python(field.get_default(call_default_factory=True))),
            "required": field.is_required(),
            "text": texts[option],
        }
        for option, field in model.option_fields().items()
    ]
    return {
        "slot": slot,
        "name": name,
        "text": model.summary(),
        "distribution": distribution,
        "options": options,
    }


def described_document(value: dict[str, Any]) -> Document:
    """The descriptions as tables."""
    tables = []
    for item in value["shown"]:
        title = f"{item['slot']}={item['name']}" if item["name"] else item["slot"]
        if "entries" in item:
            rows = tuple((entry["name"], " ".join(entry["words"])) for entry in item["entries"])
            notes = [item["text"]] + [f"{entry['name']}: {entry['note']}" for entry in item["entries"] if entry["note"]]
            tables.append(Table(title, ("entry", "words"), rows, 2, tuple(note for note in notes if note)))
            continue
        options = tuple(
            (o["option"], o["expected"], "required" if o["required"] else o["default"], o["text"])
            for o in item["options"]
        )
        columns = ("option", "expected", "default", "what it does")
        tables.append(Table(f"{title}: {printable(item['text'], 200)}", columns, options, 4))
    return Document(tuple(tables))
