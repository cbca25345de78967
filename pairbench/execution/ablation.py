"""What each ingredient of a config is worth: the same config without it, round by round on the same data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pairbench.config.run_config import DEFAULTS, RunConfig, resolve
from pairbench.config.spec import Settings, expand, override, parse, single, split_words
from pairbench.config.suite import find_suite
from pairbench.errors import SpecError
from pairbench.execution.runner import Run, plan_of
from pairbench.plugin.executors import Executor
from pairbench.plugin.metrics import rankable
from pairbench.plugin.registry import Registry, installed
from pairbench.results.ablation_result import Ablation, ablation_of
from pairbench.results.ranking import check_metric
from pairbench.store.store import Store

# Options that make one ingredient: one of them alone at its default would be another recipe, not the recipe without it.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "optimiser": (
        "train.optimizer",
        "train.learning_rate",
        "train.weight_decay",
        "train.decay_all",
        "train.optimizer_options",
    ),
    "schedule": ("train.schedule", "train.warmup", "train.schedule_options"),
    "augmentation": ("train.augment", "train.tta"),
    "test-time augmentation": ("train.tta",),
    "pair swap": ("train.swap",),
    "re-pairing": ("train.repair",),
    "weight averaging": ("train.ema",),
    "ensemble": ("train.members",),
    "gradient clipping": ("train.clip_norm",),
    "normalisation": ("train.normalize",),
    "precision": ("train.precision",),
    "batch size": ("train.batch_size",),
}


def without_each(settings: Settings, registry: Registry, off: Sequence[str] = ()) -> list[tuple[str, RunConfig]]:
    """(name, config) of the whole config and of the same without each ingredient.

    An ingredient is a component, a pairing or a group of train options that `settings` put away from the default.

    Args:
        settings: the whole config.
        registry: where components are found.
        off: further variants, each as words that are laid over the whole config, such as "loss=cross_entropy".

    Raises:
        SpecError: a word is wrong, or there is nothing to turn off.
    """
    whole = resolve(settings, registry)
    found = [("whole", whole)]
    for name, smaller in [*_slots(settings), *_groups(settings)]:
        config = resolve(smaller, registry)
        if config.config_id not in {other.config_id for _, other in found}:
            found.append((f"without {name}", config))
    for words in off:
        if not words.strip():
            raise SpecError("--off names no word: expected words such as loss=cross_entropy.")
        points = expand(parse(split_words(words)))
        found += [(f"with {_spelt(point)}", resolve(override(settings, point), registry)) for point in points]
    if len(found) == 1:
        raise SpecError("nothing to turn off: every option is at its default. Name options, or use --off KEY=VALUE.")
    return found


def _slots(settings: Settings) -> list[tuple[str, Settings]]:
    found = []
    for slot in ("encoder", "head", "loss", "pairing"):
        mine = [key for key in settings if key.split(".")[0] == slot]
        if mine:
            smaller = {key: value for key, value in settings.items() if key not in mine}
            name = settings.get(slot, DEFAULTS[slot])
            found.append(
                (f"{slot}={name}" + (f" ({DEFAULTS[slot]})" if name != DEFAULTS[slot] else "'s options"), smaller)
            )
    return found


def _groups(settings: Settings) -> list[tuple[str, Settings]]:
    grouped = {option for options in GROUPS.values() for option in options}
    # Data, seeds and how long to train are no ingredients: without them there is no recipe.
    apart = {f"train.{name}" for name in ("rounds", "seed", "epochs", "evaluate_every", "device", "evaluation")}
    single = {key: (key,) for key in settings if key.startswith("train.") and key not in grouped | apart}
    found = []
    for name, options in [*GROUPS.items(), *single.items()]:
        if any(option in settings for option in options):
            found.append((name, {key: value for key, value in settings.items() if key not in options}))
    return found


def _spelt(settings: Settings) -> str:
    return " ".join(f"{key}={value}" for key, value in settings.items())


def ablate(
    *words: str,
    suite: str | None = None,
    only: str | None = None,
    off: Sequence[str] = (),
    metric: str = "accuracy",
    store: str | Path | None = None,
    workers: int | None = None,
    executor: str | Executor | None = None,
    track: str | Sequence[str] | None = None,
    display: Any = None,
) -> Ablation:
    """Train a config and the same without each of its ingredients, and say what each is worth.

    Args:
        words: the config; with `suite`, words that lie over its entry.
        suite: take the config from this suite.
        only: the entry to take; needed where the suite has more than one.
        off: further variants, each as words that are laid over the config.
        metric: the figure whose differences are shown.
        store: the folder of the records.
        workers: processes that train at once; 0 trains in this process.
        executor: where rounds are trained; None takes the one that PAIRBENCH_EXECUTOR names, else `local`.
        track: trackers that log the run; None takes those that PAIRBENCH_TRACK names.
        display: an object with event hooks.

    Raises:
        InputError: a word is wrong, there is nothing to turn off, or a variant does not fit together.
        StoreError: the store cannot be read or written.
    """
    # Before anything is trained.
    registry = installed()
    check_metric(metric, rankable(registry))
    base: Settings = {}
    if suite is not None:
        entries = find_suite(suite, registry).only([only] if only else []).entries
        if len(entries) != 1:
            raise SpecError(f"suite {suite} has {len(entries)} entries: expected one. Add --only NAME.")
        base = single(parse(entries[0].words))
    elif only:
        raise SpecError("--only names an entry of a suite, and there is none. Add --suite NAME.")
    settings = override(base, single(parse(word for item in words for word in split_words(item))))
    found = without_each(settings, registry, off)
    results = Run(
        plan_of([(name, None, config) for name, config in found], None, registry),
        Store(store),
        registry,
        display,
        track,
    ).go(workers=workers, timing=False, fresh=False, retry_failed=False, round_timeout=None, executor=executor)
    return ablation_of([name for name, _ in found[1:]], results, metric)
