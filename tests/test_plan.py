"""What there is to do: the rounds that the store does not have, cut into tasks."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

from conftest import config_of, simulated_record

from pairbench.execution.plan import Job, LocalJob, PlannedConfig, Task, block_of, cut, pending
from pairbench.store.known_rounds import Known
from pairbench.store.record import Context, key_of

CONTEXT = Context("data", {"dataset": {"distribution": "pairbench", "version": "0", "source": ""}})


def member(*words: str, name: str = "m", context: Context = CONTEXT) -> PlannedConfig:
    """A member whose config is `words` over a small base."""
    own = {word.partition("=")[0] for word in words}
    base = [word for word in ("encoder=cnn", "train.rounds=4") if word.partition("=")[0] not in own]
    return PlannedConfig(name, config_of(*base, *words), context)


def record(of: PlannedConfig, number: int, status: str = "finished", created: str = "") -> dict[str, Any]:
    found = simulated_record(of.config, number, context=of.context, status=status)
    found["provenance"]["created"] = created
    return found


def left(of: PlannedConfig, *records: dict[str, Any], fresh: bool = False, retry_failed: bool = False) -> list[int]:
    (rounds,) = pending([of], Known.of(records), fresh=fresh, retry_failed=retry_failed)
    return rounds


def test_an_empty_store_leaves_every_round() -> None:
    assert left(member()) == [0, 1, 2, 3]


def test_finished_and_diverged_rounds_are_done_and_failed_ones_wait_for_a_retry() -> None:
    of = member()
    records = [record(of, 0), record(of, 1, "diverged"), record(of, 2, "failed")]
    assert left(of, *records) == [3]
    assert left(of, *records, retry_failed=True) == [2, 3]
    assert left(of, *records, fresh=True) == [0, 1, 2, 3]


def test_a_round_that_failed_and_then_finished_is_done() -> None:
    of = member()
    assert left(of, record(of, 0), record(of, 0, "failed"), retry_failed=True) == [1, 2, 3]


def test_more_rounds_of_the_same_config_add_to_those_that_are_there() -> None:
    small, large = member("train.rounds=2"), member("train.rounds=3")
    assert left(large, record(small, 0), record(small, 1)) == [2]
    assert left(small, *(record(large, number) for number in range(3))) == []


def test_results_of_other_options_data_or_code_do_not_count() -> None:
    of = member()
    others = [
        member("train.seed=1"),
        member("train.epochs=99"),
        member("encoder.kernel_size=5"),
        member(context=dataclasses.replace(CONTEXT, data="other")),
        member(context=Context("data", {"dataset": {"distribution": "pairbench", "version": "1", "source": ""}})),
    ]
    assert left(of, *(record(other, 0) for other in others)) == [0, 1, 2, 3]


def test_the_record_that_stands_for_a_round_is_the_finished_one_or_the_last_failure() -> None:
    of = member()
    first, last = record(of, 0, "failed", "2026-01-01"), record(of, 0, "failed", "2026-01-02")
    key = key_of(first)
    assert Known.of([last, first]).record(key) == last
    assert Known.of([first, last]).record(key) == last
    assert Known.of([first, record(of, 0), last]).record(key) == record(of, 0)
    assert Known().record(key) is None


def test_each_round_of_the_loop_is_a_task() -> None:
    of = member("train.engine=loop")
    assert cut([of, of], [[0, 2], [1]]) == (Task(0, (0,)), Task(0, (2,)), Task(1, (1,)))


def test_rounds_that_may_be_trained_at_once_are_a_task_of_one_block() -> None:
    of = member("train.rounds=12")
    assert cut([of], [[11, 0, 4, 5, 2]]) == (Task(0, (0, 2, 4)), Task(0, (5,)), Task(0, (11,)))
    assert block_of(Task(0, (2, 4)), of.config) == (0, 1, 2, 3, 4)
    assert block_of(Task(0, (11,)), of.config) == (10, 11)


def test_rounds_that_hand_the_model_on_are_one_task_from_the_first() -> None:
    carried = member("train.carry_over=true")
    assert cut([carried], [[2]]) == (Task(0, (0, 1, 2)),)
    assert cut([carried], [[]]) == ()


def test_members_share_a_pool_only_where_data_seed_and_code_are_the_same() -> None:
    key = member().dataset_key
    assert member("encoder.kernel_size=5", "train.epochs=9").dataset_key == key
    others = [
        member("dataset.size=28"),
        member("train.seed=1"),
        member(context=dataclasses.replace(CONTEXT, data="other")),
        member(context=Context("data", {"dataset": {"distribution": "other", "version": "0", "source": ""}})),
    ]
    assert len({key, *(other.dataset_key for other in others)}) == 5


def test_members_with_rounds_to_train_are_grouped_by_their_pool() -> None:
    configs = (member(), member("dataset.size=28"), member("loss=cross_entropy"), member("encoder=mlp"))
    job = Job(configs, (Task(0, (0,)), Task(2, (0,)), Task(1, (0,))), ())
    assert sorted(job.dataset_groups().values()) == [[0, 2], [1]]


def test_a_job_crosses_to_a_worker_as_json() -> None:
    configs = (member('train.optimizer_options=[a="1",b=2]', name="\x1b\ud800"), member("encoder=mlp"))
    job = Job(configs, (Task(0, (0, 1)), Task(1, (3,))), (1,), "suite", 3, 1.5, 2, True, 5)
    assert Job.from_json(json.loads(json.dumps(job.to_json()))) == job
    assert pickle.loads(pickle.dumps(job)) == job
    local = LocalJob.of(job, Path("/a store"))
    assert LocalJob.from_json(json.loads(json.dumps(local.to_json()))) == local


def test_each_round_has_a_key_of_its_own_that_does_not_depend_on_how_many_there_are() -> None:
    few, many = member("train.rounds=2").round_keys(), member("train.rounds=40").round_keys()
    assert many[:2] == few
    assert len(set(many)) == 40
