"""Examples of hooks, and of functions for plugins and their tests."""

from __future__ import annotations

HOOKS = {
    "hookimpl": """
import pairbench


@pairbench.hookimpl
def pairbench_round_finished(record):
    print(record["provenance"]["name"], record["round"], record["status"])
""",
}

EVENTS = {
    "RunStarted": """
import pairbench


@pairbench.hookimpl
def pairbench_run_started(run: pairbench.RunStarted):
    print(run.run_id, run.total_epochs, "epochs to train on", run.workers, "workers")
""",
    "ConfigStarted": """
import pairbench


def listed(config: pairbench.ConfigStarted):
    return f"{config.config_id}: {config.options['encoder']}, {len(config.pending)} of {config.rounds} rounds to train"


@pairbench.hookimpl
def pairbench_run_started(run):
    for config in run.configs:
        print(listed(config))
""",
    "EpochFinished": """
import pairbench


@pairbench.hookimpl
def pairbench_epoch_finished(epoch: pairbench.EpochFinished):
    print(epoch.config_id, epoch.round_index, epoch.epoch, epoch.figures["train.total_loss"])
""",
    "RoundFinished": """
import pairbench


@pairbench.hookimpl
def pairbench_round_finished(finished: pairbench.RoundFinished):
    print(finished.record_id, finished.status, finished.record["metrics"].get("accuracy"))
""",
    "RunFinished": """
import pairbench


@pairbench.hookimpl
def pairbench_run_finished(finished: pairbench.RunFinished):
    print(finished.run_id, f"{finished.seconds:.0f} s, exit code {finished.exit_code}")
""",
    "ConfigFinished": """
import pairbench


def best(configs: tuple[pairbench.ConfigFinished, ...]):
    return max(configs, key=lambda config: config.summary["accuracy"]["mean"])


@pairbench.hookimpl
def pairbench_run_finished(finished):
    print(best(finished.configs).name)
""",
    "DataProgressed": """
import pairbench


@pairbench.hookimpl
def pairbench_data_progressed(progress: pairbench.DataProgressed):
    print(progress.what, progress.done, "of", progress.total)
""",
    "Tracker": """
import json
from pathlib import Path

import pairbench


class JsonLines(pairbench.Tracker):
    name = "json_lines"

    def run_started(self, run):
        self.file = Path(f"{run.run_id}.jsonl").open("w")

    def round_finished(self, finished):
        self.file.write(json.dumps({"record": finished.record_id, **finished.record["metrics"]}) + "\\n")

    def close(self):
        self.file.close()


print(JsonLines().name)  # -> json_lines
""",
}

METRICS = {
    "MetricSpec": """
import pairbench


def balanced_accuracy(pairs):
    halves = [pairs.answer[pairs.right == outcome] == outcome for outcome in (0, 1)]
    return float(sum(half.float().mean() for half in halves) / 2)


balanced = pairbench.MetricSpec(
    name="balanced_accuracy",
    text="The mean of the accuracies on the pairs of each outcome.",
    compute=balanced_accuracy,
    unit="percent",
    needs=("two_outcomes",),
)


@pairbench.hookimpl
def pairbench_metrics():
    return [balanced]
""",
    "ScoredPairs": """
import pairbench
import torch

task = pairbench.PairTask("ordering", (1, 14, 14))
pairs = pairbench.ScoredPairs(
    task=task,
    logits=torch.tensor([[2.0, 0.0], [0.0, 1.0]]),
    target=torch.tensor([0, 0]),
    classes=torch.full((2, 2), -1),
)
print(pairs.answer.tolist(), pairs.right.tolist())  # -> [0, 1] [0, 0]
""",
}

DATASETS = {
    "fitted": """
import pairbench
from PIL import Image

photograph = Image.new("RGB", (640, 480), "white")
print(pairbench.fitted(photograph, (1, 28, 28), resize="pad").shape)  # -> (1, 28, 28)
""",
    "IMAGE_FORMATS": """
import pairbench

print("JPEG" in pairbench.IMAGE_FORMATS, "PDF" in pairbench.IMAGE_FORMATS)  # -> True False
""",
    "tell_progress": """
import pairbench


def decoded(files):
    images = []
    for done, file in enumerate(files, start=1):
        images.append(file.read_bytes())
        pairbench.tell_progress(done, len(files), "decoding images")
    return images
""",
    "tell_note": """
import pairbench


def readable(files):
    kept = [file for file in files if file.is_file()]
    if len(kept) < len(files):
        pairbench.tell_note(f"{len(files) - len(kept)} images are missing and were skipped")
    return kept
""",
    "checked_downloads": """
import pairbench


def images(root):
    from torchvision.datasets import MNIST

    with pairbench.checked_downloads():
        return MNIST(root, download=True).data
""",
    "printable": """
import pairbench

print(pairbench.printable("a name\\twith a tab", 12))  # -> a name\N{REPLACEMENT CHARACTER}with\N{HORIZONTAL ELLIPSIS}
""",
}

TESTING = {
    "conformance": """
import pairbench.testing
from pairbench_report import Cnn

# One pytest case for each recipe and rule, when this stands in a test file.
test_cnn = pairbench.testing.conformance(Cnn(), Cnn(channels=(4, 8)))
""",
    "examine": """
import pairbench.testing
from pairbench_report import ConcatLinear

findings = pairbench.testing.examine(ConcatLinear())
print({finding.result for finding in findings} <= {"passed", "skipped"})  # -> True
""",
}
