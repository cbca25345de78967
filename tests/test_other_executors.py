"""Executors of plugins: how one is chosen, what it may yield, and what happens when it goes wrong."""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

import pairbench
from pairbench.cli import invoke
from pairbench.execution.executors import chosen_executor, with_options
from pairbench.plugin.registry import installed
from pairbench.store.store import Store
from pairbench.testing.executors import an_interrupted_run_ends, executor_is_documented
from pairbench.testing.kit import ConformanceError, examine

SMALL = ("dataset.train_pairs=40", "dataset.validation_pairs=20", "dataset.test_pairs=20", "train.epochs=1")
SOURCE = """
import pairbench

class Elsewhere(pairbench.Executor):
    '''This process, as if it were another machine.

    partition: which part of the cluster.
    nodes: how many.
    '''
    name = "elsewhere"
    partition: str = "all"
    nodes: pairbench.PositiveInt = 1

    def execute(self, job, store):
        yield pairbench.JobReady()
        yield pairbench.JobNote(f"{self.nodes} nodes of {self.partition}")
        for task in job.tasks:
            yield from pairbench.run_tasks(job, [task])

@pairbench.hookimpl
def pairbench_executors():
    return [Elsewhere]
"""


class Here(pairbench.Executor):
    """Rounds one by one, each event changed by `change`."""

    name = "here"
    seen: ClassVar[list[pairbench.Job]] = []

    def change(self, event: Any) -> list[Any]:
        return [event]

    def execute(self, job: pairbench.Job, store: Path) -> Iterator[Any]:
        self.seen.append(job)
        yield pairbench.JobReady()
        for task in job.tasks:
            for event in pairbench.run_tasks(job, [task]):
                yield from self.change(event)


def ran(executor: Any, *words: str, rounds: int = 3, **options: Any) -> pairbench.Results:
    return pairbench.run(
        *SMALL, "encoder=mlp", f"train.rounds={rounds}", *words, executor=executor, timing=False, **options
    )


def figures(results: pairbench.Results) -> list[Any]:
    return [record["metrics"] for item in results for record in item.records]


def test_rounds_of_another_executor_equal_those_of_this_process_and_are_stored(tmp_path: Path) -> None:
    words = ("loss=aux,cross_entropy", "train.engine=loop")
    there = ran(Here(), *words, store=tmp_path / "there")
    here = ran("in_process", *words, store=tmp_path / "here")
    assert figures(there) == figures(here)
    assert len(Store(tmp_path / "there").read().records) == 6
    Here.seen.clear()
    again = ran(Here(), *words, store=tmp_path / "there")
    assert figures(again) == figures(there)
    assert Here.seen == [], "all rounds are there"


def test_models_come_back_as_values(tmp_path: Path) -> None:
    results = ran(Here(), rounds=2, keep_models=True, store=tmp_path)
    models = results.models[results[0].config_id]
    assert sorted(models) == [0, 1]
    assert pairbench.load(str(models[1])).description["round"] == 1


def test_a_job_holds_no_folder_of_this_machine(tmp_path: Path) -> None:
    Here.seen.clear()
    ran(Here(), rounds=1, store=tmp_path / "a place of mine")
    assert "a place of mine" not in repr(Here.seen[0])


# How one is chosen.


def test_the_command_line_chooses_it_with_its_options(install_plugin: Any, capsys: Any, tmp_path: Path) -> None:
    install_plugin("elsewhere", SOURCE, value="elsewhere")
    words = ["run", *SMALL, "encoder=mlp", "train.rounds=1", "--no-timing", "--quiet", "--store", str(tmp_path)]
    options = ["--executor", "elsewhere", "--executor.nodes", "3", "--executor.partition=big"]
    assert invoke([*words, *options]) == 0
    assert "3 nodes of big" in capsys.readouterr().err


def test_a_variable_chooses_it(install_plugin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    install_plugin("elsewhere", SOURCE, value="elsewhere")
    monkeypatch.setenv("PAIRBENCH_EXECUTOR", "elsewhere nodes=2")
    assert "2 nodes of all" in ran(None, rounds=1).notes
    assert with_options(None, ["partition=x"]) == "elsewhere nodes=2 partition=x"


@pytest.mark.parametrize(
    ("text", "workers", "message"),
    [
        ("elsewhre", None, "unknown executor 'elsewhre'. Did you mean 'elsewhere'"),
        ("elsewhere nods=2", None, "unknown option of executor 'nods'. Did you mean 'nodes'"),
        ("elsewhere nodes=0", None, "executor.nodes=0: expected a whole number of at least 1"),
        ("elsewhere 3", None, "executor 'elsewhere': expected OPTION=VALUE after its name, got '3'"),
        ("local", 0, "executor 'local' with 0 workers: use at least 1, or the executor in_process"),
        ("local size=1", None, "unknown option of executor 'size'. It has no options"),
    ],
)
def test_a_wrong_choice_is_refused_in_a_line(install_plugin: Any, text: str, workers: int | None, message: str) -> None:
    install_plugin("elsewhere", SOURCE, value="elsewhere")
    with pytest.raises(pairbench.SpecError, match=re.escape(message)):
        chosen_executor(text, workers, installed())


@pytest.mark.parametrize(("workers", "name"), [(0, "in_process"), (None, "local"), (3, "local")])
def test_without_a_choice_the_workers_decide(workers: int | None, name: str) -> None:
    assert chosen_executor(None, workers, installed()).name == name


def test_an_option_without_an_executor_is_refused(capsys: Any) -> None:
    assert invoke(["run", "encoder=mlp", "--executor.nodes", "3"]) == 2
    assert "--executor.nodes without an executor: add --executor NAME." in capsys.readouterr().err


def test_what_is_no_executor_is_refused(install_plugin: Any) -> None:
    install_plugin("elsewhere", SOURCE.replace("[Elsewhere]", "[Elsewhere()]"), value="elsewhere")
    (failure,) = installed().failures
    assert "expected subclasses of pairbench.Executor" in failure.reason
    assert set(installed().executors) == {"local", "in_process"}


# What goes wrong.


def test_one_that_raises_ends_the_run_in_a_line_and_what_is_finished_is_saved(tmp_path: Path) -> None:
    class Tired(Here):
        """Raises after the first round."""

        def change(self, event: Any) -> list[Any]:
            if isinstance(event, pairbench.JobRound) and event.round_index == 1:
                raise ConnectionError("the head node [of 3] is gone")
            return [event]

    message = "executor 'here' failed: ConnectionError: the head node [of 3] is gone. Finished rounds are saved: run"
    with pytest.raises(pairbench.WorkerError, match=re.escape(message)):
        ran(Tired(), store=tmp_path)
    assert [record["round"] for record in Store(tmp_path).read().records] == [0]
    assert ran("in_process", store=tmp_path)[0].summary["accuracy"].rounds == 3


def test_one_that_forgets_rounds_ends_the_run_in_a_line(tmp_path: Path) -> None:
    class Forgetful(Here):
        """Leaves out the last round."""

        def change(self, event: Any) -> list[Any]:
            return [] if isinstance(event, pairbench.JobRound) and event.round_index == 2 else [event]

    with pytest.raises(pairbench.WorkerError, match="executor 'here' ended without 1 of the rounds"):
        ran(Forgetful(), store=tmp_path)
    assert len(Store(tmp_path).read().records) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"provenance": {"data": "other"}},
        {"seed": 5},
        {"round": 0},
        {"metrics": {"accuracy": "high"}},
        {"status": None},
    ],
)
def test_a_record_of_something_else_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    class Wrong(Here):
        """Sends the second record changed."""

        def change(self, event: Any) -> list[Any]:
            if isinstance(event, pairbench.JobRound) and event.round_index == 1:
                for name, value in copy.deepcopy(changes).items():
                    event.record[name] = event.record[name] | value if isinstance(value, dict) else value
            return [event]

    with pytest.raises(pairbench.WorkerError, match="gave a record of another round, data or code for round 1"):
        ran(Wrong(), store=tmp_path)
    assert [record["round"] for record in Store(tmp_path).read().records] == [0]


@pytest.mark.parametrize("event", [None, {"event": "round"}, pairbench.JobRound])
def test_what_is_no_event_is_refused(tmp_path: Path, event: Any) -> None:
    class Odd(Here):
        """Yields something else."""

        def change(self, _: Any) -> list[Any]:
            return [event]

    with pytest.raises(pairbench.WorkerError, match="expected a job event"):
        ran(Odd(), store=tmp_path)


def test_a_refused_config_ends_the_run_with_its_message(tmp_path: Path) -> None:
    with pytest.raises(pairbench.InputError, match=r"train\.device=cuda"):
        ran(Here(), "train.device=cuda", store=tmp_path)


# The conformance kit.


def test_the_executors_of_the_core_pass_the_kit() -> None:
    for name in ("local", "in_process"):
        assert {finding.result for finding in examine(installed().find_executor(name)())} == {"passed"}, name


def test_the_kit_finds_what_starts_twice_is_slow_to_stop_or_is_not_described(install_plugin: Any) -> None:
    class Eager(Here):
        """Starts twice.

        nodes: how many.
        """

        nodes: int = 1
        size: int = 1

        def change(self, event: Any) -> list[Any]:
            return [pairbench.JobReady(), event]

    class Slow(Here):
        def execute(self, job: pairbench.Job, store: Path) -> Iterator[Any]:
            try:
                yield from super().execute(job, store)
            finally:
                time.sleep(0.3)

    findings = {finding.check: finding for finding in examine(Eager())}
    assert "JobReady does not come once" in findings["training_starts_once"].message
    assert "option 'size' has no description" in findings["executor_is_documented"].message
    with pytest.raises(ConformanceError, match="Slow has no docstring"):
        executor_is_documented(Slow())
    with pytest.raises(ConformanceError, match=r"it took 0 s to stop. Stop what is running"):
        an_interrupted_run_ends(Slow(), most=0.1)
    install_plugin("elsewhere", "import torch\n" + SOURCE, value="elsewhere")
    (finding,) = [
        one for one in examine(installed().find_executor("elsewhere")()) if one.check == "executor_needs_no_torch"
    ]
    assert finding.result == "failed"


def test_the_kit_finds_other_figures_and_rounds_that_come_twice() -> None:
    class Lucky(Here):
        """Better figures than there are."""

        def change(self, event: Any) -> list[Any]:
            if isinstance(event, pairbench.JobRound):
                event.record["metrics"]["accuracy"] = 1.0
            return [event]

    class Twice(Here):
        """Every round twice."""

        def change(self, event: Any) -> list[Any]:
            return [event, event]

    for kind, check in ((Lucky, "other figures than in this process"), (Twice, "yielded twice")):
        (finding,) = [one for one in examine(kind()) if one.check == "every_round_is_trained_as_here"]
        assert check in finding.message
