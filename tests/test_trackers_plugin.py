"""What the bundled trackers have written, read back with the packages themselves."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pairbench
from pairbench.execution.tracking import chosen_trackers
from pairbench.plugin.registry import installed

WORDS = ["encoder=mlp", "loss=aux,cross_entropy", "train.epochs=4", "train.rounds=2", "train.evaluate_every=2"]
WORDS += ["dataset.train_pairs=40", "dataset.validation_pairs=20", "dataset.test_pairs=20", "train.swap=true"]
VARIABLES = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_ID", "WANDB_MODE", "WANDB_DIR")
VARIABLES += ("WANDB_PROJECT", "WANDB_RUN_ID", "PAIRBENCH_TENSORBOARD")


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, pairbench.Results]]:
    """The folder in which a run of two configs was tracked by all three, and its results."""
    folder = tmp_path_factory.mktemp("tracked")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in VARIABLES:
            patch.delenv(name, raising=False)
        # Three packages are imported at once, perhaps on a busy machine.
        patch.setenv("PAIRBENCH_TRACK_SECONDS", "200")
        yield (
            folder,
            pairbench.run(
                *WORDS,
                store="store",
                workers=0,
                track="tensorboard,mlflow,wandb",
            ),
        )


def curves(record: dict[str, Any], split: str, metric: str) -> dict[int, float]:
    """The points of a curve of a record, by epoch."""
    stride = 1 if split == "train" else 2
    return {stride * place: value for place, value in enumerate(record["curves"][split][metric], start=1)}


def read(folder: Path, script: str) -> Any:
    """What `script` prints as JSON; in a process of its own, because these packages warn when they are imported."""
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def stored(folder: Path, result: pairbench.Result) -> list[str]:
    """The ids of the records of a config, by round."""
    files = sorted((folder / "store" / result.config_id).glob("*.json"))
    return [f"{result.config_id}/{file.stem}" for file in files]


def test_a_run_says_where_each_tracker_wrote(tracked: tuple[Path, pairbench.Results]) -> None:
    folder, results = tracked
    assert [note for note in results.notes if note.startswith("track")] == [
        "tracked by tensorboard: tensorboard --logdir runs",
        f"tracked by mlflow: sqlite:///{folder}/mlflow.db, experiment pairbench",
        "tracked by wandb: wandb sync wandb/offline-run-*",
    ]


# TensorBoard.


def tensorboard_run(folder: Path, result: pairbench.Result, name: str) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (found,) = (folder / "runs").glob(f"*/*-{result.config_id}/{name}")
    accumulator = EventAccumulator(str(found))
    accumulator.Reload()
    return accumulator


def test_tensorboard_has_the_curves_figures_and_cost_of_each_round(tracked: tuple[Path, pairbench.Results]) -> None:
    folder, results = tracked
    for result in results:
        for record, record_id in zip(result.records, stored(folder, result), strict=True):
            found = tensorboard_run(folder, result, f"round-{record['round']}")
            for split, metric in (("train", "total_loss"), ("test", "accuracy"), ("train", "auc")):
                points = {event.step: event.value for event in found.Scalars(f"{split}/{metric}")}
                assert points == pytest.approx(curves(record, split, metric))
            assert [event.value for event in found.Scalars("accuracy")] == pytest.approx(
                [record["metrics"]["accuracy"]]
            )
            (seconds,) = found.Scalars("cost/train_seconds")
            assert seconds.value == pytest.approx(record["cost"]["train_seconds"])
            assert found.Scalars("live/train.total_loss")[-1].step == 4
            (text,) = found.Tensors("record")
            assert text.tensor_proto.string_val[0].decode() == record_id


def test_tensorboard_has_the_options_as_hyperparameters(tracked: tuple[Path, pairbench.Results]) -> None:
    from tensorboard.plugins.hparams import api_pb2, metadata

    folder, results = tracked
    for result in results:
        contents = tensorboard_run(folder, result, "round-1").summary_metadata
        start = metadata.parse_session_start_info_plugin_data(
            contents[metadata.SESSION_START_INFO_TAG].plugin_data.content
        )
        options = {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()}
        assert options.keys() == result.config.keys()
        assert (options["loss"], options["train.epochs"], options["train.swap"]) == (result.config["loss"], 4.0, True)
        assert start.group_name == result.config_id
        end = metadata.parse_session_end_info_plugin_data(contents[metadata.SESSION_END_INFO_TAG].plugin_data.content)
        assert end.status == api_pb2.STATUS_SUCCESS


def test_tensorboard_has_the_figures_of_each_config_with_intervals(tracked: tuple[Path, pairbench.Results]) -> None:
    folder, results = tracked
    for result in results:
        found = tensorboard_run(folder, result, "summary")
        summary = result.summary["accuracy"]
        told = {name: found.Scalars(f"accuracy/{name}")[0].value for name in ("mean", "low", "high", "std", "rounds")}
        assert told == pytest.approx({name: getattr(summary, name) for name in told})
        speed = result.timing["inference_pairs_per_second"]["median"]  # type: ignore[index]
        assert found.Scalars("timing/inference_pairs_per_second.median")[0].value == pytest.approx(speed)


# MLflow.

MLFLOW = """
import json
from mlflow import MlflowClient

client = MlflowClient()
experiment = client.get_experiment_by_name("pairbench")
runs = client.search_runs([experiment.experiment_id])
names = ("train.total_loss", "test.accuracy", "accuracy")
print(json.dumps([
    {
        "id": run.info.run_id, "name": run.info.run_name, "status": run.info.status,
        "params": run.data.params, "tags": run.data.tags, "metrics": run.data.metrics,
        "curves": {
            name: [[point.step, point.value] for point in client.get_metric_history(run.info.run_id, name)]
            for name in names
        },
    }
    for run in runs
]))
"""


def test_mlflow_has_a_run_for_each_config_and_below_it_one_for_each_round(
    tracked: tuple[Path, pairbench.Results],
) -> None:
    folder, results = tracked
    runs = read(folder, MLFLOW)
    assert len(runs) == 6
    for result in results:
        mine = [run for run in runs if run["tags"]["pairbench.config_id"] == result.config_id]
        (parent,) = [run for run in mine if "mlflow.parentRunId" not in run["tags"]]
        rounds = sorted((run for run in mine if run is not parent), key=lambda run: run["tags"]["pairbench.round"])
        assert {run["tags"]["mlflow.parentRunId"] for run in rounds} == {parent["id"]}
        assert {run["status"] for run in mine} == {"FINISHED"}
        assert parent["name"] == result.name
        for run in mine:
            assert run["params"].keys() == result.config.keys()
            assert run["params"]["loss"] == result.config["loss"]
        summary = result.summary["accuracy"]
        for name in ("mean", "std", "low", "high"):
            assert parent["metrics"][f"accuracy.{name}"] == pytest.approx(getattr(summary, name))
        for run, record, record_id in zip(rounds, result.records, stored(folder, result), strict=True):
            assert run["tags"]["pairbench.record_id"] == record_id
            assert dict(run["curves"]["train.total_loss"]) == pytest.approx(curves(record, "train", "total_loss"))
            assert dict(run["curves"]["test.accuracy"]) == pytest.approx(curves(record, "test", "accuracy"))
            assert run["metrics"]["accuracy"] == pytest.approx(record["metrics"]["accuracy"])
            assert run["metrics"]["cost.cpu_seconds"] == pytest.approx(record["cost"]["cpu_seconds"])


# Weights & Biases.

# The file is a log as LevelDB writes it: 7 bytes of its own, then blocks of 32 KiB with pieces of records.
WANDB = """
import json
import struct
from pathlib import Path
from wandb.proto.wandb_internal_pb2 import Record

def records(content):
    whole, at = b"", 7
    while at + 7 <= len(content):
        if at % 32768 > 32768 - 7:
            at += -at % 32768
            continue
        _, size, kind = struct.unpack("<IHB", content[at : at + 7])
        whole += content[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):
            yield whole
            whole = b""

def items(found):
    return {(item.key or ".".join(item.nested_key)): json.loads(item.value_json) for item in found}

runs = []
for file in sorted(Path("wandb").glob("offline-run-*/*.wandb")):
    run = {"history": [], "summary": {}, "config": {}}
    for data in records(file.read_bytes()):
        record = Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run |= {"name": record.run.display_name, "group": record.run.run_group, "project": record.run.project}
            run["config"] |= items(record.run.config.update)
        elif kind == "history":
            run["history"].append(items(record.history.item))
        elif kind == "summary":
            run["summary"] |= items(record.summary.update)
        elif kind == "exit":
            run["exit"] = record.exit.exit_code
    runs.append(run)
print(json.dumps(runs))
"""


def test_wandb_has_a_run_for_each_round_and_a_summary_grouped_by_config(
    tracked: tuple[Path, pairbench.Results],
) -> None:
    folder, results = tracked
    runs = read(folder, WANDB)
    assert len(runs) == 6
    for result in results:
        mine = {run["name"].rpartition(", ")[2]: run for run in runs if run["config"]["config_id"] == result.config_id}
        assert mine.keys() == {"round 0", "round 1", "summary"}
        assert {(run["group"], run["project"], run["exit"]) for run in mine.values()} == {
            (f"{result.name[:107]} {result.config_id}", "pairbench", 0)
        }
        assert result.config.keys() <= mine["summary"]["config"].keys()
        summary = result.summary["accuracy"]
        for name in ("mean", "std", "low", "high"):
            assert mine["summary"]["summary"][f"accuracy.{name}"] == pytest.approx(getattr(summary, name))
        for record, record_id in zip(result.records, stored(folder, result), strict=True):
            run = mine[f"round {record['round']}"]
            for split, metric in (("train", "total_loss"), ("test", "accuracy")):
                points = {
                    row["epoch"]: row[f"{split}.{metric}"] for row in run["history"] if f"{split}.{metric}" in row
                }
                assert points == pytest.approx(curves(record, split, metric))
            assert run["summary"]["record_id"] == record_id
            assert run["summary"]["accuracy"] == pytest.approx(record["metrics"]["accuracy"])
            assert run["summary"]["cost.train_seconds"] == pytest.approx(record["cost"]["train_seconds"])


# What the tracker's own variables say.


def test_the_usual_variables_say_where_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PAIRBENCH_TRACK_SECONDS", "200")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///elsewhere.db")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    monkeypatch.setenv("PAIRBENCH_TENSORBOARD", "events")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    words = [*WORDS[:1], *WORDS[2:], "train.rounds=1", "train.epochs=1"]
    words = [word for word in words if word not in ("train.rounds=2", "train.epochs=4")]
    results = pairbench.run(*words, workers=0, timing=False, track="mlflow,tensorboard,wandb")
    assert [note for note in results.notes if note.startswith("tracker")] == []
    assert (tmp_path / "elsewhere.db").is_file()
    assert list((tmp_path / "events").glob("*/*/round-0/*tfevents*"))
    assert {path.name for path in tmp_path.iterdir()} == {"elsewhere.db", "events", "store"}


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_a_tracker_whose_package_is_not_installed_names_its_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(pairbench.SpecError) as caught:
        chosen_trackers(name, installed())
    assert str(caught.value) == (
        f"tracker '{name}' needs the package {name}, which is not installed. Run: pip install 'pairbench[{name}]'"
    )
