"""Templates of a new plugin's files, with $placeholders."""

from __future__ import annotations

PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "$distribution"
version = "0.1.0"
description = "A pairbench plugin with $brings"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["pairbench>=$version"]

[project.optional-dependencies]
dev = ["pytest>=8", "ruff>=0.8"]

[project.entry-points.pairbench]
$name = "$package"

[tool.hatch.build.targets.wheel]
packages = ["$package"]

[tool.pytest.ini_options]
testpaths = ["tests"]
pythonpath = ["."]

[tool.ruff]
line-length = 88
"""

README = """\
# $distribution

A pairbench plugin with $brings called `$name`.

```
pip install -e ".[dev]"
pytest
$show
pairbench run $spec
```

`pytest` runs pairbench's conformance kit over every component. Once the plugin is installed,
`pairbench plugin check $distribution` runs it as well.
"""

PACKAGE = '''\
"""A pairbench plugin with $brings."""

import pairbench

$imports


$hooks'''

HOOK = """\
@pairbench.hookimpl
def $hook():
    return [
$classes
    ]
"""

TEST = '''\
"""Every component passes pairbench's conformance kit."""

import pairbench.testing

$imports

$cases'''

CASES = {
    "dataset": """\
test_dataset = pairbench.testing.conformance(
    ${base}Dataset(),
    ${base}Dataset(size=8, pairs=20),
)
""",
    "encoder": """\
test_encoder = pairbench.testing.conformance(
    ${base}Encoder(),
    ${base}Encoder(embedding_dim=32),
)
""",
    "head": """\
test_head = pairbench.testing.conformance(
    ${base}Head(),
    ${base}Head(hidden=8),
)
""",
    "loss": """\
test_loss = pairbench.testing.conformance(
    ${base}Loss(),
    ${base}Loss(smoothing=0.0),
)
""",
    "accelerator": """\
test_accelerator = pairbench.testing.conformance(${base}Accelerator())
""",
    "executor": """\
test_executor = pairbench.testing.conformance(
    ${base}Executor(),
    ${base}Executor(processes=1),
)
""",
    "tracker": """\
test_tracker = pairbench.testing.conformance(${base}Tracker)
""",
    "metric": """\
test_metric = pairbench.testing.conformance(${base}Metric)
""",
}

DATASET = '''\
"""A dataset: a pool of images for each split, and a table of pairs for each round."""

import zlib
from typing import Annotated

import pairbench
from pydantic import Field


class ${base}Dataset(pairbench.PairDataset):
    """Noisy gray squares: is the first at most as bright as the second?

    size: height and width of an image.
    pairs: pairs in a round, in every split.
    """

    name = "$name"
    size: Annotated[int, Field(ge=4)] = 14
    pairs: pairbench.PositiveInt = 200

    @property
    def task(self):
        shape = (1, self.size, self.size)
        return pairbench.PairTask("ordering", shape, num_classes=10)

    def load(self, split, *, rounds, seed):
        import torch

        # The images depend on the split alone, the pairs on split, seed and round.
        draw = _generator(split)
        classes = torch.arange(10).repeat_interleave(20)
        shape = (len(classes), 1, self.size, self.size)
        noise = torch.randint(25, shape, generator=draw)
        images = (25 * classes.view(-1, 1, 1, 1) + noise).to(torch.uint8)
        tables = []
        for round_index in range(rounds):
            draw = _generator(f"{split}/{seed}/{round_index}")
            tables.append(torch.randint(len(images), (self.pairs, 2), generator=draw))
        pairs = torch.stack(tables)
        first, second = classes[pairs].unbind(dim=2)
        target = (first <= second).long()
        return pairbench.PairPool(images, pairs, target, classes)


def _generator(stream):
    import torch

    return torch.Generator().manual_seed(zlib.crc32(stream.encode()))
'''

ENCODER = '''\
"""An encoder: from one image to one embedding."""

import pairbench


class ${base}Encoder(pairbench.Encoder):
    """Average pooling to 4x4 pixels and one linear layer.

    embedding_dim: the size of the embedding.
    """

    name = "$name"
    embedding_dim: pairbench.PositiveInt = 10

    def build(self, image_shape):
        from torch import nn

        channels, _, _ = image_shape
        return nn.Sequential(
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(16 * channels, self.embedding_dim),
        )
'''

HEAD = '''\
"""A comparison head: from the embeddings of an example to its answer."""

import pairbench


class ${base}Head(pairbench.ComparisonHead):
    """One hidden layer over the concatenated embeddings.

    hidden: the width of the hidden layer.
    """

    name = "$name"
    hidden: pairbench.PositiveInt = 32

    def build(self, embedding_shape, task):
        from torch import nn

        images, size = embedding_shape
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(images * size, self.hidden),
            nn.ReLU(),
            nn.Linear(self.hidden, len(task.outcomes)),
        )
'''

LOSS = '''\
"""A loss: what training minimises."""

import pairbench


class ${base}Loss(pairbench.LossStrategy):
    """The cross-entropy of the answer, with smoothed targets.

    smoothing: how much of each target is spread evenly over all outcomes.
    """

    name = "$name"
    smoothing: pairbench.Probability = 0.1

    def build(self, embedding_shape, task):
        from $package import modules

        return modules.SmoothedCrossEntropy(self.smoothing)
'''

MODULES = '''\
"""Modules: imported only when one is built, so that listing plugins does not import torch."""

import torch
from torch import nn


class SmoothedCrossEntropy(nn.Module):
    """(PairOutput, PairBatch) -> (total, terms)."""

    def __init__(self, smoothing):
        super().__init__()
        self.smoothing = smoothing

    def forward(self, comparison, batch):
        target = batch.target
        if target.is_floating_point():
            # The probability of outcome 1.
            target = torch.stack([1 - target, target], dim=1)
        loss = nn.functional.cross_entropy(
            comparison.logits, target, label_smoothing=self.smoothing
        )
        return loss, {"answer": loss}
'''

TRACKER = '''\
"""A tracker: takes what a run does somewhere else, in a process of its own."""

import csv
from pathlib import Path

import pairbench


class ${base}Tracker(pairbench.Tracker):
    """A line of CSV for each round."""

    name = "$name"

    def run_started(self, run):
        self.file = Path(f"$name-{run.run_id}.csv")
        self.names = run.names
        self.write("config", "round", "status", "accuracy", "record")

    def round_finished(self, finished):
        config = self.names[finished.config_index]
        accuracy = finished.record["metrics"].get("accuracy")
        number, status = finished.round_index, finished.status
        self.write(config, number, status, accuracy, finished.record_id)

    def place(self):
        return str(self.file)

    def write(self, *cells):
        with self.file.open("a", newline="") as file:
            csv.writer(file).writerow(cells)
'''

METRIC = '''\
"""A metric: from what a model answered to one figure."""

import pairbench


def sure_errors(pairs):
    """The share of wrong answers among those that the model is sure of, or None."""
    sure = pairs.logits.softmax(dim=1).amax(dim=1) > 0.9
    if not sure.any():
        return None
    return float((pairs.answer != pairs.right)[sure].double().mean())


${base}Metric = pairbench.MetricSpec(
    "$name",
    "Share of wrong answers among those that the model is sure of.",
    sure_errors,
    unit="percent",
    higher_is_better=False,
)
'''

ACCELERATOR = '''\
"""An accelerator: parts of a network compute in another way, with torch's figures."""

from contextlib import contextmanager
from itertools import pairwise

import pairbench


class ${base}Accelerator(pairbench.Accelerator):
    """ReLUs after a linear layer write over its output, which nothing else reads."""

    name = "$name"

    def suits(self, model, device, precision):
        return bool(relus(model))

    @contextmanager
    def applied(self, model, device, precision):
        layers = relus(model)
        for layer in layers:
            layer.inplace = True
        try:
            yield
        finally:
            for layer in layers:
                layer.inplace = False


def relus(model):
    from torch import nn

    pairs = [
        pair
        for part in model.modules()
        if isinstance(part, nn.Sequential)
        for pair in pairwise(part)
    ]
    found = [relu for layer, relu in pairs if isinstance(layer, nn.Linear)]
    return [relu for relu in found if type(relu) is nn.ReLU and not relu.inplace]
'''

EXECUTOR = '''\
"""An executor: trains rounds somewhere else, and yields what happens."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, as_completed

import pairbench


class ${base}Executor(pairbench.Executor):
    """Rounds in a pool of processes.

    processes: how many there are.
    """

    name = "$name"
    processes: pairbench.PositiveInt = 2

    def execute(self, job, store):
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(self.processes, context) as pool:
            futures = [pool.submit(work, job, task) for task in job.tasks]
            yield pairbench.JobReady()
            try:
                for future in as_completed(futures):
                    yield from future.result()
            finally:
                pool.shutdown(cancel_futures=True)


def work(job, task):
    return list(pairbench.run_tasks(job, [task]))
'''

COMPONENTS = {
    "accelerator": ACCELERATOR,
    "dataset": DATASET,
    "encoder": ENCODER,
    "executor": EXECUTOR,
    "head": HEAD,
    "loss": LOSS,
    "metric": METRIC,
    "tracker": TRACKER,
}
