"""Event files for TensorBoard."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pairbench
from pairbench_trackers.readings import config_figures, curves, live_figures, plain_options, round_figures


class TensorBoard(pairbench.Tracker):
    """Event files for TensorBoard: a folder for each config of the run, and in it one for each round and a summary."""

    name = "tensorboard"
    packages = ("tensorboard",)
    install = "pip install 'pairbench[tensorboard]'"

    def run_started(self, run: pairbench.RunStarted) -> None:
        self._run = run
        self._root = Path(os.environ.get("PAIRBENCH_TENSORBOARD") or "runs")
        self._rounds: dict[tuple[int, int], _Folder] = {}

    def epoch_finished(self, epoch: pairbench.EpochFinished) -> None:
        self._round(epoch.config_index, epoch.round_index).scalars(live_figures(epoch), epoch.epoch)

    def round_finished(self, finished: pairbench.RoundFinished) -> None:
        folder = self._round(finished.config_index, finished.round_index)
        for epoch, figures in curves(finished.record):
            folder.scalars(figures, epoch)
        folder.scalars(round_figures(finished.record), self._run.configs[finished.config_index].epochs)
        folder.text("record", finished.record_id)
        folder.text("status", finished.status)
        folder.close(failed=finished.status == "failed")
        del self._rounds[finished.config_index, finished.round_index]

    def run_finished(self, finished: pairbench.RunFinished) -> None:
        for index, config in enumerate(finished.configs):
            folder = _Folder(self._folder(index) / "summary")
            folder.scalars(config_figures(config), 0)
            folder.close()

    def close(self) -> None:
        for folder in self._rounds.values():
            folder.close(failed=True)

    def place(self) -> str:
        return f"tensorboard --logdir {self._root}"

    def _folder(self, index: int) -> Path:
        config = self._run.configs[index]
        readable = re.sub(r"[^\w.=-]+", "-", config.name, flags=re.ASCII)[:60].strip(".-") or "config"
        return self._root / self._run.run_id / f"{readable}-{config.config_id}"

    def _round(self, index: int, number: int) -> _Folder:
        if (index, number) not in self._rounds:
            folder = _Folder(self._folder(index) / f"round-{number}")
            config = self._run.configs[index]
            folder.options(plain_options(config.options), config.config_id)
            self._rounds[index, number] = folder
        return self._rounds[index, number]


class _Folder:
    """One folder of events, which TensorBoard shows as one run."""

    def __init__(self, path: Path) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._writer = EventFileWriter(str(path))
        self._has_options = False

    def scalars(self, figures: Mapping[str, float], step: int) -> None:
        """Add a point to each of the curves that `figures` names; "a.b" belongs to the group "a"."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name.replace(".", "/", 1), simple_value=value) for name, value in figures.items()]
        self._add(Summary(value=values), step)

    def text(self, tag: str, text: str) -> None:
        """Add a text."""
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.types_pb2 import DT_STRING

        tensor = TensorProto(dtype=DT_STRING, string_val=[text.encode()])
        metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
        self._add(Summary(value=[Summary.Value(tag=tag, tensor=tensor, metadata=metadata)]), 0)

    def options(self, options: Mapping[str, Any], group: str) -> None:
        """Add the options for the tab of hyperparameters, where runs of one `group` are one line."""
        from tensorboard.plugins.hparams import api_pb2, metadata
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo

        metrics = [api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag)) for tag in ("accuracy", "loss")]
        infos = [api_pb2.HParamInfo(name=name) for name in options]
        experiment = api_pb2.Experiment(hparam_infos=infos, metric_infos=metrics)
        self._hparams(metadata.EXPERIMENT_TAG, HParamsPluginData(experiment=experiment))
        start = SessionStartInfo(group_name=group, start_time_secs=time.time())
        for name, value in options.items():
            if isinstance(value, bool):
                start.hparams[name].bool_value = value
            elif isinstance(value, int | float):
                start.hparams[name].number_value = value
            else:
                start.hparams[name].string_value = value
        self._hparams(metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=start))
        self._has_options = True

    def close(self, *, failed: bool = False) -> None:
        """Write everything to the file."""
        if self._has_options:
            from tensorboard.plugins.hparams import api_pb2, metadata
            from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

            status = api_pb2.STATUS_FAILURE if failed else api_pb2.STATUS_SUCCESS
            end = SessionEndInfo(status=status, end_time_secs=time.time())
            self._hparams(metadata.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=end))
        self._writer.close()

    def _hparams(self, tag: str, content: Any) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.hparams import metadata

        described = metadata.create_summary_metadata(content)
        self._add(Summary(value=[Summary.Value(tag=tag, metadata=described, tensor=metadata.NULL_TENSOR)]), 0)

    def _add(self, summary: Any, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))
