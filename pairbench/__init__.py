"""pairbench: which neural network compares two images best, how fast, and is it really better than that one?

>>> import pairbench
>>> results = pairbench.run("encoder=deep_cnn", "head=concat_linear", "loss=aux")  # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pairbench.config.run_config import RunConfig
    from pairbench.config.train_options import TrainOptions
    from pairbench.data.downloads import checked_downloads
    from pairbench.environment import user_cache
    from pairbench.errors import (
        DataError,
        InputError,
        MismatchError,
        PairbenchError,
        SpecError,
        StoreError,
        WorkerError,
        refuse_exhaustion,
    )
    from pairbench.execution.ablation import ablate
    from pairbench.execution.plan import Job, Task
    from pairbench.execution.runner import run
    from pairbench.model.predictor import load
    from pairbench.plugin.accelerators import Accelerator, CannotBatch
    from pairbench.plugin.components import (
        SPLITS,
        ComparisonHead,
        Component,
        Encoder,
        LossStrategy,
        NonNegativeFloat,
        NonNegativeInt,
        PairBatch,
        PairDataset,
        PairOutput,
        PairPool,
        PairTask,
        PositiveFloat,
        PositiveInt,
        Probability,
    )
    from pairbench.plugin.csv_records import DELIMITERS, CsvRecords
    from pairbench.plugin.events import (
        ConfigFinished,
        ConfigStarted,
        DataProgressed,
        EpochFinished,
        RoundFinished,
        RunFinished,
        RunStarted,
    )
    from pairbench.plugin.executors import (
        Executor,
        JobBroken,
        JobData,
        JobEpoch,
        JobEvent,
        JobNote,
        JobReady,
        JobRefused,
        JobRound,
        JobTiming,
    )
    from pairbench.plugin.hooks import hookimpl
    from pairbench.plugin.images import IMAGE_FORMATS, fitted, is_16_bit
    from pairbench.plugin.metric_specs import MetricSpec, ScoredPairs
    from pairbench.plugin.notify import tell_note, tell_progress
    from pairbench.plugin.pair_list import PairList, read_pair_list
    from pairbench.plugin.regular_files import UnusableError, name_on_disk, open_regular, why_unusable
    from pairbench.plugin.trackers import Tracker
    from pairbench.results.query import compare, leaderboard
    from pairbench.results.results import Result, Results
    from pairbench.store.atomic import replacing
    from pairbench.text import one_line, printable
    from pairbench.worker.anywhere import run_tasks

_HOMES = {
    "execution.ablation": ["ablate"],
    "config.run_config": ["RunConfig"],
    "config.train_options": ["TrainOptions"],
    "data.downloads": ["checked_downloads"],
    "errors": [
        "DataError",
        "InputError",
        "MismatchError",
        "PairbenchError",
        "SpecError",
        "StoreError",
        "WorkerError",
        "refuse_exhaustion",
    ],
    "results.query": ["compare", "leaderboard"],
    "environment": ["user_cache"],
    "plugin.accelerators": ["Accelerator", "CannotBatch"],
    "plugin.csv_records": ["DELIMITERS", "CsvRecords"],
    "plugin.executors": [
        "Executor",
        "JobBroken",
        "JobData",
        "JobEpoch",
        "JobEvent",
        "JobNote",
        "JobReady",
        "JobRefused",
        "JobRound",
        "JobTiming",
    ],
    "execution.plan": ["Job", "Task"],
    "worker.anywhere": ["run_tasks"],
    "plugin.hooks": ["hookimpl"],
    "plugin.metric_specs": ["MetricSpec", "ScoredPairs"],
    "plugin.pair_list": ["PairList", "read_pair_list"],
    "plugin.regular_files": ["UnusableError", "name_on_disk", "open_regular", "why_unusable"],
    "plugin.images": ["IMAGE_FORMATS", "fitted", "is_16_bit"],
    "plugin.components": [
        "SPLITS",
        "Comparison",
        "PairOutput",
        "ComparisonHead",
        "Component",
        "Encoder",
        "LossStrategy",
        "NonNegativeFloat",
        "NonNegativeInt",
        "PairBatch",
        "PairDataset",
        "PairPool",
        "PairTask",
        "PositiveFloat",
        "PositiveInt",
        "Probability",
    ],
    "plugin.events": [
        "ConfigFinished",
        "ConfigStarted",
        "DataProgressed",
        "EpochFinished",
        "RoundFinished",
        "RunFinished",
        "RunStarted",
    ],
    "plugin.trackers": ["Tracker"],
    "model.predictor": ["load"],
    "results.results": ["Result", "Results"],
    "execution.runner": ["run"],
    "plugin.notify": ["tell_note", "tell_progress"],
    "store.atomic": ["replacing"],
    "text": ["one_line", "printable"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "DELIMITERS",
    "IMAGE_FORMATS",
    "SPLITS",
    "Accelerator",
    "CannotBatch",
    "Comparison",
    "ComparisonHead",
    "Component",
    "ConfigFinished",
    "ConfigStarted",
    "CsvRecords",
    "DataError",
    "DataProgressed",
    "Encoder",
    "EpochFinished",
    "Executor",
    "InputError",
    "Job",
    "JobBroken",
    "JobData",
    "JobEpoch",
    "JobEvent",
    "JobNote",
    "JobReady",
    "JobRefused",
    "JobRound",
    "JobTiming",
    "LossStrategy",
    "MetricSpec",
    "MismatchError",
    "NonNegativeFloat",
    "NonNegativeInt",
    "PairBatch",
    "PairDataset",
    "PairList",
    "PairOutput",
    "PairPool",
    "PairTask",
    "PairbenchError",
    "PositiveFloat",
    "PositiveInt",
    "Probability",
    "Result",
    "Results",
    "RoundFinished",
    "RunConfig",
    "RunFinished",
    "RunStarted",
    "ScoredPairs",
    "SpecError",
    "StoreError",
    "Task",
    "Tracker",
    "TrainOptions",
    "UnusableError",
    "WorkerError",
    "ablate",
    "checked_downloads",
    "compare",
    "fitted",
    "hookimpl",
    "is_16_bit",
    "leaderboard",
    "load",
    "name_on_disk",
    "one_line",
    "open_regular",
    "printable",
    "read_pair_list",
    "refuse_exhaustion",
    "replacing",
    "run",
    "run_tasks",
    "tell_note",
    "tell_progress",
    "user_cache",
    "why_unusable",
]


def __getattr__(name: str) -> Any:
    # Names are imported on first use, so that `pairbench --help` imports none of them.
    if name not in _HOME_OF:
        raise AttributeError(f"module 'pairbench' has no attribute {name!r}")
    return getattr(import_module(f"pairbench.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
