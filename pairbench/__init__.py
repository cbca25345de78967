"""pairbench: which neural network compares two images best, how fast, and is it really better than that one?

>>> import pairbench
>>> results = pairbench.run("encoder=deep_cnn", "head=concat_linear", "loss=aux")  # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from pairbench.ablation import ablate
    from pairbench.config import RunConfig, TrainOptions
    from pairbench.downloads import checked_downloads
    from pairbench.errors import (
        DataError,
        InputError,
        MismatchError,
        PairbenchError,
        SpecError,
        StoreError,
        WorkerError,
    )
    from pairbench.history import compare, leaderboard
    from pairbench.hookspecs import hookimpl
    from pairbench.images import IMAGE_FORMATS, fitted
    from pairbench.interfaces import (
        SPLITS,
        Comparison,
        ComparisonHead,
        Component,
        Encoder,
        LossStrategy,
        NonNegativeFloat,
        NonNegativeInt,
        PairBatch,
        PairDataset,
        PairPool,
        PairTask,
        PositiveFloat,
        PositiveInt,
        Probability,
    )
    from pairbench.predictor import load
    from pairbench.results import Result, Results
    from pairbench.runner import run
    from pairbench.telling import tell_note, tell_progress
    from pairbench.text import printable

_HOMES = {
    "ablation": ["ablate"],
    "config": ["RunConfig", "TrainOptions"],
    "downloads": ["checked_downloads"],
    "errors": [
        "DataError",
        "InputError",
        "MismatchError",
        "PairbenchError",
        "SpecError",
        "StoreError",
        "WorkerError",
    ],
    "history": ["compare", "leaderboard"],
    "hookspecs": ["hookimpl"],
    "images": ["IMAGE_FORMATS", "fitted"],
    "interfaces": [
        "SPLITS",
        "Comparison",
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
    "predictor": ["load"],
    "results": ["Result", "Results"],
    "runner": ["run"],
    "telling": ["tell_note", "tell_progress"],
    "text": ["printable"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "IMAGE_FORMATS",
    "SPLITS",
    "Comparison",
    "ComparisonHead",
    "Component",
    "DataError",
    "Encoder",
    "InputError",
    "LossStrategy",
    "MismatchError",
    "NonNegativeFloat",
    "NonNegativeInt",
    "PairBatch",
    "PairDataset",
    "PairPool",
    "PairTask",
    "PairbenchError",
    "PositiveFloat",
    "PositiveInt",
    "Probability",
    "Result",
    "Results",
    "RunConfig",
    "SpecError",
    "StoreError",
    "TrainOptions",
    "WorkerError",
    "ablate",
    "checked_downloads",
    "compare",
    "fitted",
    "hookimpl",
    "leaderboard",
    "load",
    "printable",
    "run",
    "tell_note",
    "tell_progress",
]


def __getattr__(name: str) -> Any:
    # Names load on first use, so that `pairbench --help` pays for none of them.
    if name not in _HOME_OF:
        raise AttributeError(f"module 'pairbench' has no attribute {name!r}")
    return getattr(import_module(f"pairbench.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
