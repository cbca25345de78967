"""Hooks are called by pluggy itself: order, wrappers and firstresult work, and a plugin that fails is kept apart."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pluggy
import pytest
import tiny
from conftest import Install

import pairbench
from pairbench.plugin.hook_calls import PROJECT, GuardedManager, Watcher, watched_by
from pairbench.plugin.registry import installed

WORDS = (*tiny.SPECS, "train.epochs=2", "train.rounds=2")
ENCODER = '''
class {name}(pairbench.Encoder):
    """Flattens."""

    name = "{name}"

    def build(self, image_shape):
        from torch import nn

        return nn.Flatten()
'''


@pytest.fixture
def run(install_plugin: Install) -> Callable[..., pairbench.Results]:
    """Trains the tiny recipes with plugins of the given sources beside them, acme-0, acme-1 and so on."""

    def go(*sources: str) -> pairbench.Results:
        install_plugin("tiny", "from tiny import *\nfrom tiny import pairbench_components\n")
        for number, source in enumerate(sources):
            text = "import pairbench\nseen = []\n" + textwrap.dedent(source)
            install_plugin(f"p{number}", text, distribution=f"acme-{number}")
        assert installed().failures == []
        return pairbench.run(*WORDS, workers=0, timing=False)

    return go


def seen(number: int = 0) -> list[Any]:
    """What plugin `number` has put into its list."""
    import importlib

    module: Any = importlib.import_module(f"p{number}_plugin")
    return list(module.seen)


# Events.


def test_events_carry_the_configs_and_ids_that_a_tracker_needs(run: Callable[..., pairbench.Results]) -> None:
    results = run(
        """
        @pairbench.hookimpl
        def pairbench_run_started(run):
            seen.append(run)

        @pairbench.hookimpl
        def pairbench_epoch_finished(epoch):
            seen.append(epoch)

        @pairbench.hookimpl
        def pairbench_round_finished(finished):
            seen.append(finished)

        @pairbench.hookimpl
        def pairbench_run_finished(finished, results):
            seen.append(finished)
        """
    )
    events = seen()
    begun, over = events[0], events[-1]
    (config,) = begun.configs
    assert config.options == results[0].config
    assert (config.config_id, config.rounds, config.pending, config.epochs) == (results[0].config_id, 2, (0, 1), 2)
    assert (begun.suite, begun.store, begun.workers, begun.timed) == (None, results.store.resolve(), 0, 0)
    epochs = [event for event in events if isinstance(event, pairbench.EpochFinished)]
    assert [(event.round_index, event.epoch) for event in epochs if event.epoch == event.epochs] == [(0, 2), (1, 2)]
    assert {(event.config_index, event.config_id) for event in epochs} == {(0, config.config_id)}
    rounds = [event for event in events if isinstance(event, pairbench.RoundFinished)]
    assert [event.round_index for event in rounds] == [0, 1]
    for event, record in zip(rounds, results[0].records, strict=True):
        assert event.record["metrics"] == record["metrics"]
        assert (results.store / f"{event.record_id}.json").is_file()
        last = next(epoch for epoch in epochs if (epoch.round_index, epoch.epoch) == (event.round_index, 2))
        for name, value in last.figures.items():
            split, metric = name.split(".")
            assert value == pytest.approx(record["curves"][split][metric][-1])
    assert (over.run_id, over.exit_code) == (begun.run_id, 0)
    assert over.seconds > 0
    assert over.configs[0].rounds == {"finished": 2, "diverged": 0, "failed": 0}
    assert over.configs[0].summary["accuracy"]["mean"] == results[0].summary["accuracy"].mean


def test_a_run_whose_rounds_are_all_stored_starts_and_finishes_too(run: Callable[..., pairbench.Results]) -> None:
    source = """
        @pairbench.hookimpl
        def pairbench_run_started(run):
            seen.append(run.pending)

        @pairbench.hookimpl
        def pairbench_run_finished(finished):
            seen.append(finished.configs[0].rounds["finished"])
        """
    run(source)
    pairbench.run(*WORDS, workers=0, timing=False)
    assert seen() == [(2,), 2, (0,), 2]


def test_a_plugin_that_spoils_what_it_is_given_spoils_neither_the_results_nor_others(
    run: Callable[..., pairbench.Results],
) -> None:
    results = run(
        """
        @pairbench.hookimpl(tryfirst=True)
        def pairbench_round_finished(record, finished):
            finished.record["metrics"].clear()
            record.clear()

        @pairbench.hookimpl(tryfirst=True)
        def pairbench_run_finished(results):
            for record in results[0].records:
                record["metrics"]["accuracy"] = 7.0
        """,
        """
        @pairbench.hookimpl
        def pairbench_round_finished(record, finished):
            seen.append((record["metrics"]["accuracy"], finished.record["metrics"]["accuracy"]))

        @pairbench.hookimpl
        def pairbench_run_finished(results):
            seen.extend(record["metrics"]["accuracy"] for record in results[0].records)
        """,
    )
    figures = [record["metrics"]["accuracy"] for record in results[0].records]
    assert 7.0 not in figures
    assert seen(1) == [(figures[0], figures[0]), (figures[1], figures[1]), *figures]
    assert results.notes == ()


ORDER = """
    import sys

    @pairbench.hookimpl{options}
    def pairbench_run_started(run):
        sys.order.append({number})
    """


def test_tryfirst_and_trylast_order_the_plugins(
    run: Callable[..., pairbench.Results], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setattr(sys, "order", order := list[int](), raising=False)
    options = ["(trylast=True)", "", "(tryfirst=True)", ""]
    run(*(ORDER.format(options=text, number=number) for number, text in enumerate(options)))
    assert order == [2, 3, 1, 0]


@pytest.mark.parametrize("kind", ["wrapper", "hookwrapper"])
def test_a_wrapper_runs_before_and_after_all_other_plugins(
    run: Callable[..., pairbench.Results], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    import sys

    monkeypatch.setattr(sys, "order", order := list[Any](), raising=False)
    wrapper = f"""
        import sys

        @pairbench.hookimpl({kind}=True)
        def pairbench_run_started(run):
            sys.order.append(("before", run.names))
            result = yield
            sys.order.append("after")
            return result
        """
    results = run(wrapper, ORDER.format(options="", number=1), ORDER.format(options="(tryfirst=True)", number=2))
    assert order == [("before", (results[0].name,)), 2, 1, "after"]
    assert results.notes == ()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise ValueError('early')\n            yield", "(p0_plugin.py:6): ValueError: early"),
        ("yield\n            raise ValueError('late')", "(p0_plugin.py:7): ValueError: late"),
        ("if False:\n                yield", "RuntimeError: the wrapper did not yield"),
        ("yield\n            yield", "RuntimeError: the wrapper has a second yield"),
    ],
)
@pytest.mark.parametrize("kind", ["wrapper", "hookwrapper"])
def test_a_wrapper_that_fails_is_named_and_the_others_are_called(
    run: Callable[..., pairbench.Results], kind: str, body: str, reason: str
) -> None:
    results = run(
        f"""
        @pairbench.hookimpl({kind}=True)
        def pairbench_run_started(run):
            {body}
        """,
        """
        @pairbench.hookimpl
        def pairbench_run_started(run):
            seen.append(run)
        """,
    )
    (note,) = results.notes
    assert note.startswith("plugin acme-0:p0 failed in pairbench_run_started")
    assert note.endswith(reason)
    assert len(seen(1)) == 1


def test_an_implementation_that_fails_is_named_and_those_after_it_are_called(
    run: Callable[..., pairbench.Results],
) -> None:
    good = """
        @pairbench.hookimpl
        def pairbench_run_started(run):
            seen.append(run)
        """
    bad = """
        @pairbench.hookimpl(specname="pairbench_run_started")
        def starting(run):
            raise ValueError("no")
        """
    results = run(good, bad, good)
    assert list(results.notes) == ["plugin acme-1:p1 failed in pairbench_run_started (p1_plugin.py:6): ValueError: no"]
    assert (len(seen(0)), len(seen(2))) == (1, 1)


def test_an_optional_hook_that_does_not_exist_is_no_fault(run: Callable[..., pairbench.Results]) -> None:
    run(
        """
        @pairbench.hookimpl(optionalhook=True)
        def pairbench_of_another_version():
            raise ValueError
        """
    )


# Hooks that bring something.


def brings(install: Install, name: str, body: str) -> None:
    source = "import pairbench\n" + ENCODER.format(name=name) + textwrap.dedent(body)
    install(name, source, distribution=f"acme-{name}")


PLAIN = """
@pairbench.hookimpl
def pairbench_components():
    return [{}]
"""
WRAPPER = """
@pairbench.hookimpl(wrapper=True)
def pairbench_components():
    lists = yield
    {}
"""


def test_a_wrapper_may_leave_components_out(install_plugin: Install) -> None:
    brings(install_plugin, "first", PLAIN.format("first"))
    brings(
        install_plugin,
        "strict",
        WRAPPER.format("return [[item for item in part if item.name != 'first'] for part in lists]"),
    )
    registry = installed()
    assert registry.failures == []
    assert "first" not in registry.names("encoder")
    assert "deep_cnn" in registry.names("encoder")


@pytest.mark.parametrize("change", ["return [*lists, [second]]", "lists[0].append(second)\n    return lists"])
def test_a_component_that_a_wrapper_adds_is_that_of_its_plugin(install_plugin: Install, change: str) -> None:
    brings(install_plugin, "first", PLAIN.format("first"))
    brings(install_plugin, "second", WRAPPER.format(change))
    registry = installed()
    assert registry.failures == []
    assert registry.find("encoder", "second").origin.distribution == "acme-second"
    assert registry.find("encoder", "first").origin.distribution == "acme-first"


@pytest.mark.parametrize("kind", ["wrapper", "hookwrapper"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("raise ValueError('no')", "ValueError: no"),
        ("return [[3]]", "pairbench_components gave 3: expected classes of the four interfaces"),
        ("return 3", "pairbench_components gave 3: expected a list"),
    ],
)
def test_a_wrapper_that_fails_takes_only_its_plugin_out(
    install_plugin: Install, kind: str, change: str, reason: str
) -> None:
    if kind == "hookwrapper":
        change = change.replace("return ", "lists.force_result(") + ")" * change.startswith("return")
    brings(install_plugin, "first", PLAIN.format("first"))
    brings(install_plugin, "second", WRAPPER.format(change).replace("wrapper", kind))
    registry = installed()
    assert [(failure.distribution, failure.reason) for failure in registry.failures] == [("acme-second", reason)]
    assert {"first", "deep_cnn"} <= set(registry.names("encoder"))
    assert not registry.manager.has_plugin("acme-second:second")


def test_nothing_is_left_of_a_plugin_that_fails_in_its_last_hook(install_plugin: Install) -> None:
    brings(install_plugin, "first", PLAIN.format("first"))
    suites = "\n@pairbench.hookimpl\ndef pairbench_suites():\n    return [3]\n"
    brings(install_plugin, "second", WRAPPER.format("return []") + suites)
    registry = installed()
    assert [failure.distribution for failure in registry.failures] == ["acme-second"]
    assert "first" in registry.names("encoder")


def test_a_wrapper_that_is_no_generator_is_refused_in_the_words_of_pluggy(install_plugin: Install) -> None:
    brings(install_plugin, "odd", WRAPPER.format("return lists").replace("lists = yield", "lists = []"))
    (failure,) = installed().failures
    assert failure.reason.startswith("PluginValidationError: ")


# The manager by itself.


def specs(**options: bool) -> ModuleType:
    """Hook specifications with one hook, `ask`."""
    module = ModuleType("specs")

    def ask(question: str) -> Any:
        """Answer."""

    ask.__module__ = module.__name__
    module.ask = pluggy.HookspecMarker(PROJECT)(**options)(ask)  # type: ignore[attr-defined]
    return module


class Answers:
    """A plugin that answers, or raises where its answer is an error."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    @pairbench.hookimpl
    def ask(self, question: str) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Failures(Watcher):
    def __init__(self) -> None:
        self.named: list[str] = []

    def failed(self, plugin: str, hook: str, error: BaseException) -> None:
        self.named.append(f"{plugin} {hook} {error}")


def manager(*answers: Any, firstresult: bool = False) -> GuardedManager:
    made = GuardedManager(PROJECT)
    made.add_hookspecs(specs(firstresult=firstresult))
    for number, answer in enumerate(answers):
        made.register(Answers(answer), name=str(number))
    return made


def test_a_hook_that_declares_firstresult_gives_the_first_answer_and_asks_no_more() -> None:
    failures = Failures()
    with watched_by(failures):
        assert manager("never asked", "yes", None, firstresult=True).hook.ask(question="?") == "yes"
        assert failures.named == []
        asked = manager(ValueError("not asked"), "yes", ValueError("torn"), firstresult=True)
        assert asked.hook.ask(question="?") == "yes"
    assert failures.named == ["2 ask torn"]


def test_without_a_watcher_a_hook_raises_as_in_pluggy() -> None:
    with pytest.raises(ValueError, match="torn"):
        manager("yes", ValueError("torn")).hook.ask(question="?")


def test_subsets_and_extra_implementations_are_those_of_pluggy() -> None:
    made = manager("a", "b")
    assert made.hook.ask.call_extra([lambda question: "c"], {"question": "?"}) == ["c", "b", "a"]
    assert made.subset_hook_caller("ask", [made.get_plugin("1")])(question="?") == ["a"]


def test_one_plugin_is_not_registered_under_two_names() -> None:
    plugin, made = Answers("a"), manager()
    made.register(plugin, name="one")
    with pytest.raises(ValueError, match="already registered"):
        made.register(plugin, name="two")
    made.unregister(name="one")
    assert made.hook.ask(question="?") == []
