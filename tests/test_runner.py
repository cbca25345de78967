"""From words or typed configs to results, in this process."""

import dataclasses
import json
import textwrap

import pytest
import tiny
import torch
from conftest import tiny_config

import pairbench
from pairbench.execution.time_configs import median_interval, ratio, side_by_side
from pairbench.store.store import Store

WORDS = (*tiny.SPECS, "train.rounds=3", "train.epochs=2")


def run(*words, **options):
    return pairbench.run(*words, **{"workers": 0, "timing": False} | options)


def files(store: Store) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in store.root.rglob("*.json")}


@pytest.mark.usefixtures("tiny_registry")
def test_a_run_gives_a_record_for_each_round_and_a_summary(store):
    results = run(*WORDS)
    assert [record["round"] for record in results[0].records] == [0, 1, 2]
    assert {record["status"] for record in results[0].records} == {"finished"}
    assert results[0].summary["accuracy"].rounds == 3
    assert len(files(store)) == 3


@pytest.mark.usefixtures("tiny_registry")
def test_a_record_says_all_that_the_contract_names():
    record = run(*WORDS)[0].records[0]
    contract = {
        "schema", "config", "config_id", "round", "seed", "status", "metrics", "curves", "cost", "environment",
        "provenance",
    }  # fmt: skip
    assert contract <= set(record)
    assert {"parameters", "flops_per_pair", "peak_mib", "train_seconds", "cpu_seconds"} == set(record["cost"])
    assert record["cost"]["parameters"] > 0
    assert record["environment"]["threads"] == 1
    assert record["environment"]["torch"] == torch.__version__.split("+")[0]
    for split in ("train", "test"):
        assert {len(curve) for curve in record["curves"][split].values()} == {2}


@pytest.mark.usefixtures("tiny_registry")
def test_more_rounds_train_only_what_is_new(store):
    run(*WORDS)
    before = files(store)
    results = run(*tiny.SPECS, "train.rounds=5", "train.epochs=2")
    assert len(results[0].records) == 5
    assert {name: at for name, at in files(store).items() if name in before} == before
    assert len(files(store)) == 5


@pytest.mark.usefixtures("tiny_registry")
def test_rounds_of_a_grid_see_the_same_data():
    one, other = run(*WORDS, "train.learning_rate=0.01,0.02")
    seeds = [[record["seed"] for record in result.records] for result in (one, other)]
    assert seeds[0] == seeds[1]
    assert one.config_id != other.config_id


@pytest.mark.usefixtures("tiny_registry")
def test_another_seed_trains_anew(store):
    run(*WORDS)
    run(*WORDS, "train.seed=1")
    assert len(files(store)) == 6


@pytest.mark.usefixtures("tiny_registry")
def test_fresh_trains_again_and_sets_the_old_records_aside(store):
    first = run(*WORDS)[0]
    again = run(*WORDS, fresh=True)[0]
    assert [r["metrics"] for r in first.records] == [r["metrics"] for r in again.records]
    assert len(files(store)) == 3
    assert len(list(store.root.rglob("*.superseded-*"))) == 3


@pytest.mark.usefixtures("tiny_registry")
def test_a_damaged_record_is_named_and_trained_anew(store):
    first = run(*WORDS)
    path = sorted(store.root.rglob("*.json"))[1]
    path.write_bytes(path.read_bytes().replace(b'"accuracy": ', b'"accuracy": 1'))
    again = run(*WORDS)
    assert not again.damaged
    assert f"{path} was damaged" in again.notes[0]
    assert [r["metrics"] for r in again[0].records] == [r["metrics"] for r in first[0].records]
    assert len(list(store.root.rglob("*.damaged-*"))) == 1
    assert not run(*WORDS).damaged


BROKEN = '''
import pairbench

class Flaky(pairbench.Encoder):
    """Fails in rounds whose weights happen to start high."""
    name = "flaky"

    def build(self, image_shape):
        from torch import nn
        {body}
        return nn.Sequential(nn.Flatten(), nn.LazyLinear(4))

@pairbench.hookimpl
def pairbench_components():
    return [Flaky]
'''


def test_a_failed_round_is_kept_shown_and_retried_on_request(store, tiny_registry, install_plugin, tmp_path):
    switch = tmp_path / "broken"
    switch.touch()
    body = f"import os\n        if os.path.exists({str(switch)!r}): raise RuntimeError('not today')"
    install_plugin("flaky", BROKEN.format(body=body))
    words = [*(word for word in WORDS if not word.startswith("encoder=")), "encoder=flaky"]
    results = run(*words)
    assert results.failed == 3
    assert results[0].records[0]["error"]["reason"] == "RuntimeError: not today"
    assert "not today" in str(results)
    assert results[0].summary == {}
    switch.unlink()
    assert run(*words).failed == 3, "a failure is not tried again unasked"
    mended = run(*words, retry_failed=True)
    assert mended.failed == 0
    assert mended[0].summary["accuracy"].rounds == 3
    assert pairbench.leaderboard().failed == 0


def test_a_change_of_a_plugins_source_trains_anew(store, tiny_registry, install_plugin):
    words = [*(word for word in WORDS if not word.startswith("encoder=")), "encoder=flaky"]
    install_plugin("flaky", BROKEN.format(body="pass"))
    run(*words)
    assert len(files(store)) == 3
    install_plugin("flaky", BROKEN.format(body="pass  # now with care"))
    run(*words)
    assert len(files(store)) == 6


def test_hooks_are_told_what_happens_and_one_that_fails_is_a_note(tiny_registry, install_plugin):
    source = """
        import pairbench
        told = []

        @pairbench.hookimpl
        def pairbench_run_started(run):
            told.append(("started", run.pending, run.total_epochs))

        @pairbench.hookimpl
        def pairbench_epoch_finished(epoch):
            told.append(("epoch", epoch.round, epoch.epoch))

        @pairbench.hookimpl
        def pairbench_round_finished(record):
            told.append(("round", record["round"], record["status"]))
            raise ValueError("a tracker that cannot be reached")

        @pairbench.hookimpl
        def pairbench_run_finished(results):
            told.append(("finished", len(results)))
    """
    install_plugin("tracker", textwrap.dedent(source))
    install_plugin("tiny", "from tiny import *\nfrom tiny import pairbench_components\n")
    results = run(*WORDS)
    import tracker_plugin

    assert tracker_plugin.told[0] == ("started", (3,), 6)
    assert ("round", 2, "finished") in tracker_plugin.told
    assert tracker_plugin.told[-1] == ("finished", 1)
    assert ("epoch", 0, 2) in tracker_plugin.told
    assert "a tracker that cannot be reached" in str(results)
    assert results[0].summary["accuracy"].rounds == 3


@pytest.mark.usefixtures("tiny_registry")
def test_typed_configs_give_the_same_as_words(store):
    typed = run(tiny_config("train.rounds=3", "train.epochs=2"))
    before = files(store)
    words = run(*WORDS)
    assert files(store) == before
    assert typed[0].config_id == words[0].config_id


class Own(pairbench.Encoder):
    """An encoder that no plugin brings."""

    name = "own"

    def build(self, image_shape):
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(4))


@pytest.mark.usefixtures("tiny_registry")
def test_a_component_of_no_plugin_trains_in_this_process_alone():
    config = dataclasses.replace(tiny_config("train.rounds=1", "train.epochs=1"), encoder=Own())
    assert run(config)[0].summary["accuracy"].rounds == 1
    with pytest.raises(pairbench.SpecError, match="Use workers=0"):
        run(config, workers=1)


@pytest.mark.usefixtures("tiny_registry")
def test_objects_and_words_do_not_mix():
    with pytest.raises(pairbench.SpecError, match="stand alone"):
        run(tiny_config(), "train.epochs=2")


@pytest.mark.usefixtures("tiny_registry")
def test_results_turn_into_a_data_frame():
    frame = run(*WORDS).to_pandas()
    assert len(frame) == 3
    assert {"name", "round", "status", "accuracy", "train.epochs", "parameters"} <= set(frame.columns)


@pytest.mark.usefixtures("tiny_registry")
def test_a_leaderboard_ranks_what_is_stored_and_json_has_the_contracts_form(store):
    run(*WORDS, "train.learning_rate=0.001,0.05")
    board = pairbench.leaderboard()
    means = [item.summary["accuracy"].mean for item in board]
    assert means == sorted(means, reverse=True)
    value = json.loads(board.to_json())
    assert value["schema"] == 1
    for item in value["results"]:
        assert {"name", "config_id", "config", "summary", "rounds", "timing"} <= set(item)
        assert set(item["summary"]["accuracy"]) == {"mean", "std", "low", "high", "rounds"}


def test_the_median_has_an_interval_that_needs_no_distribution():
    assert median_interval([3.0, 1.0, 2.0]) == (1.0, 2.0, 3.0)
    low, middle, high = median_interval(list(map(float, range(1, 22))))
    assert (low, middle, high) == (6.0, 11.0, 16.0)


def test_a_slowdown_of_a_tenth_is_found_and_none_is_not():
    generator = torch.Generator().manual_seed(0)
    called_different = 0
    for _ in range(200):
        drift = 1 + 0.2 * torch.rand(21, generator=generator)
        first, second = ((drift * (1 + 0.02 * torch.randn(21, generator=generator))).tolist() for _ in range(2))
        called_different += ratio({"x": {"repeats": first}}, {"x": {"repeats": second}}, "x")["different"]
        slower = [value * 1.1 for value in second]
        assert ratio({"x": {"repeats": first}}, {"x": {"repeats": slower}}, "x")["different"]
    assert called_different <= 20  # 5% of 200 are 10; twice that has a chance below 1 in 500


def test_timing_needs_two_different_configs_to_compare():
    with pytest.raises(pairbench.SpecError, match="the same config twice"):
        side_by_side(["encoder=mlp loss=aux", "encoder=mlp"])


def test_the_same_data_elsewhere_are_not_trained_twice(store):
    words = ["encoder=mlp", "dataset.train_pairs=20", "dataset.validation_pairs=5", "dataset.test_pairs=20"]
    words += ["train.epochs=1", "train.rounds=2"]
    first = run(*words, "dataset.root=/one")
    before = files(store)
    second = run(*words, "dataset.root=/another")
    assert files(store) == before
    assert first[0].records == second[0].records
    assert not Store(store.root).read().damaged
