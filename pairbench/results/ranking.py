"""Which config is better, claimed only where the evidence supports it."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pairbench.config.run_config import canonical
from pairbench.config.suite import Published
from pairbench.errors import SpecError
from pairbench.plugin.metrics import is_known, plain, ranks, spec_of
from pairbench.plugin.registry import installed
from pairbench.results.results import Result
from pairbench.results.statistics import LEVEL, Difference, Summary, all_p_values, holm, holm_among, paired, welch
from pairbench.text import quoted, unknown

Key = TypeVar("Key", bound=Hashable)
# Above this many results, pairs are tested row by row.
MANY = 100
# Above this many, not all pairs are tested.
TOO_MANY = 1500


@dataclass(frozen=True)
class Verdict:
    """A difference first - second in `metric`, its Holm-corrected p-value, and the word: "better", "worse", "tie", or
    "unknown" where there are too few rounds to tell."""

    metric: str
    difference: Difference
    corrected: float | None
    word: str


def check_metric(metric: str, known: Iterable[str]) -> None:
    """Refuse a metric that results cannot be ranked by.

    Raises:
        SpecError: it is not one of `known`, or it has no better direction.
    """
    known = set(known)
    if metric in known and ranks(metric):
        return
    if conflict := installed().metric_conflict(plain(metric)):
        raise SpecError(conflict)
    if ranks(metric):
        raise SpecError(
            f"no round here has metric {quoted(metric)}: it is newer than these rounds, or for another kind of task. "
            "Train them again with pairbench run --fresh, or choose another metric."
        )
    if is_known(metric):
        fix = "Use accuracy_at_threshold" if metric == "threshold" else "Choose another metric"
        raise SpecError(f"metric {quoted(metric)} cannot be ranked by: neither high nor low values are better. {fix}.")
    if metric in known:
        raise SpecError(
            f"metric {quoted(metric)} is not installed here, so it is not known whether high or low values are better. "
            "Install the plugin that brings it, or choose another metric."
        )
    raise unknown("metric", metric, filter(ranks, known))


def same_data_key(result: Result) -> str:
    """Results with the same key saw the same pairs in the same rounds."""
    return canonical([comparable_key(result), result.config.get("train.seed")])


def comparable_key(result: Result) -> str:
    """Results with the same key answer the same question on the same data, perhaps with other seeds."""
    return result.question


def difference(first: Result, second: Result, metric: str) -> Difference | None:
    """first - second in `metric`: paired over the rounds that both have, or Welch's where they share no data."""
    if same_data_key(first) == same_data_key(second):
        left, right = first.values(metric), second.values(metric)
        common = sorted(set(left) & set(right))
        return paired([left[r] for r in common], [right[r] for r in common]) if common else None
    if metric in first.summary and metric in second.summary:
        return welch(first.summary[metric], second.summary[metric])
    return None


def verdicts(results: Sequence[Result], metric: str) -> dict[tuple[int, int], Verdict]:
    """The verdict on every pair of results, i before j, all p-values corrected together."""
    pairs = itertools.combinations(range(len(results)), 2)
    return verdicts_on({(i, j): difference(results[i], results[j], metric) for i, j in pairs}, metric)


def verdicts_on(found: Mapping[Key, Difference | None], metric: str) -> dict[Key, Verdict]:
    """The verdict on each existing difference, by its key, all p-values corrected together."""
    kept = {key: value for key, value in found.items() if value is not None}
    tested = [key for key, value in kept.items() if value.p is not None]
    corrected = dict(zip(tested, holm([kept[key].p or 0.0 for key in tested]), strict=True))
    return {
        key: Verdict(metric, value, corrected.get(key), word(value, corrected.get(key), metric))
        for key, value in kept.items()
    }


def word(value: Difference, corrected: float | None, metric: str) -> str:
    """The word that a corrected p-value justifies for the first result."""
    if corrected is None:
        return "unknown"
    if corrected > 1 - LEVEL or value.mean == 0:
        return "tie"
    return "better" if (value.mean > 0) == spec_of(metric).higher_is_better else "worse"


def ranked(results: Sequence[Result], metric: str) -> list[Result]:
    """Best mean first; results without a finite value come last, and ties are ordered by name."""

    higher = spec_of(metric).higher_is_better

    def order(result: Result) -> tuple[bool, float, str]:
        summary = result.summary_of(metric)
        if summary is None:
            return (True, 0.0, result.name)
        return (False, -summary.mean if higher else summary.mean, result.name)

    return sorted(results, key=order)


def against_best(results: Sequence[Result], metric: str, *, many: int = MANY, too_many: int = TOO_MANY) -> list[str]:
    """For each ranked result, the verdict against the first: "", "tie", "worse" or "unknown".

    Up to `too_many` results the correction is Holm's over all pairs; beyond, Bonferroni's, which is more conservative.
    Above `many` the pairs are tested row by row, with the same verdicts.
    """
    if len(results) > many:
        return _many_against_best(results, metric, too_many)
    found = verdicts(results, metric)
    words = []
    for number in range(len(results)):
        verdict = found.get((0, number))
        flipped = {"better": "worse", "worse": "better"}
        words.append("" if number == 0 else flipped.get(verdict.word, verdict.word) if verdict else "unknown")
    return words


def _many_against_best(results: Sequence[Result], metric: str, too_many: int) -> list[str]:
    """What `against_best` returns, where there are too many pairs to test one by one."""
    values = [result.values(metric) for result in results]
    keys = [same_data_key(result) for result in results]
    best = results[0].summary_of(metric)
    firsts: dict[int, Difference] = {}
    for j in range(1, len(results)):
        if keys[0] == keys[j]:
            common = sorted(set(values[0]) & set(values[j]))
            if common:
                firsts[j] = paired([values[0][r] for r in common], [values[j][r] for r in common])
        elif best is not None and (other := results[j].summary_of(metric)) is not None:
            firsts[j] = welch(best, other)
    tested = {j: value.p for j, value in firsts.items() if value.p is not None}
    if len(results) <= too_many:
        every = all_p_values(values, keys)
        corrected = dict(zip(tested, holm_among(every, list(tested.values())), strict=True))
    else:
        pairs = len(results) * (len(results) - 1) // 2
        corrected = {j: min(1.0, pairs * p) for j, p in tested.items()}
    flipped = {"better": "worse", "worse": "better"}
    words = [word(firsts[j], corrected.get(j), metric) if j in firsts else "unknown" for j in range(1, len(results))]
    return ["", *(flipped.get(said, said) for said in words)]


def agreement(ours: Summary, published: Published) -> str:
    """Whether our mean and a published one agree: "agrees", "higher" or "lower" at the 5% level of Welch's test, or
    within two of our standard deviations where the published spread is unknown.

    "unclear" is a gap of more than two published standard deviations that our own spread is too large to test.
    """
    gap = ours.mean - published.mean
    side = "higher" if gap > 0 else "lower"
    if ours.std is None:
        return "one round"
    if published.std is not None and published.rounds is not None and published.rounds > 1:
        p = welch(ours, Summary(published.mean, published.std, None, None, published.rounds)).p
        if p is not None and p <= 1 - LEVEL:
            return side
        if p is not None:
            return "agrees" if abs(gap) <= 2 * published.std else "unclear"
    return "agrees" if abs(gap) <= 2 * ours.std else side


def verdict_dict(first: Result, second: Result, verdict: Verdict) -> dict[str, Any]:
    """A verdict as plain values."""
    value = verdict.difference
    return {
        "first": first.name,
        "second": second.name,
        "metric": verdict.metric,
        "difference": value.mean,
        "low": value.low,
        "high": value.high,
        "p": value.p,
        "p_corrected": verdict.corrected,
        "rounds": value.rounds,
        "test": value.test,
        "verdict": verdict.word,
    }
