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

EXECUTORS = {
    "Executor": """
import pairbench


class OneByOne(pairbench.Executor):
    name = "one_by_one"

    def execute(self, job, store):
        yield pairbench.JobReady()
        for task in job.tasks:
            yield from pairbench.run_tasks(job, [task])


words = ["encoder=mlp", "train.rounds=1", "train.epochs=1"]
results = pairbench.run(*words, executor=OneByOne(), timing=False, store="elsewhere")
print(results[0].summary["accuracy"].rounds)  # -> 1
""",
    "Job": """
import pickle

import pairbench


def sent(job: pairbench.Job):
    return [pickle.dumps((job, task)) for task in job.tasks]
""",
    "Task": """
import pairbench

print(pairbench.Task(config_index=0, rounds=(0, 1)).rounds)  # -> (0, 1)
""",
    "run_tasks": """
import pairbench


def work(job: pairbench.Job, task: pairbench.Task):
    return list(pairbench.run_tasks(job, [task]))
""",
    "JobEvent": """
import pairbench


def rounds(events: list[pairbench.JobEvent]):
    return [event for event in events if isinstance(event, pairbench.JobRound)]
""",
    "JobReady": """
import pairbench

print(pairbench.JobReady())  # -> JobReady()
""",
    "JobRefused": """
import pairbench

event = pairbench.JobRefused(config_index=0, message="train.device=cuda: this machine has none.")
""",
    "JobBroken": """
import pairbench

event = pairbench.JobBroken(config_index=0, error={"reason": "KeyError: 'size'", "traceback": ""})
""",
    "JobData": """
import pairbench

event = pairbench.JobData("decoding images", done=20, total=100)
""",
    "JobEpoch": """
import pairbench

event = pairbench.JobEpoch(config_index=0, round_index=3, epoch=1, loss=0.61)
print(event.accuracy)  # -> None
""",
    "JobRound": """
import pairbench


def accuracy(event: pairbench.JobRound):
    return event.record["metrics"]["accuracy"]
""",
    "JobTiming": """
import pairbench


def pairs_per_second(event: pairbench.JobTiming):
    return event.timing["training_pairs_per_second"]["median"]
""",
    "JobNote": """
import pairbench

event = pairbench.JobNote("node 3 was lost; its rounds were trained again")
""",
}

ACCELERATORS = {
    "Accelerator": """
from torch import nn

import pairbench


class FusedAttention(pairbench.Accelerator):
    name = "fused_attention"

    def suits(self, model, device, precision):
        return device.type == "cuda" and any(isinstance(part, nn.MultiheadAttention) for part in model.modules())

    def applied(self, model, device, precision):
        from torch.nn.attention import SDPBackend, sdpa_kernel

        return sdpa_kernel(SDPBackend.FLASH_ATTENTION)


print(FusedAttention().unavailable() or "can be used")  # -> can be used
""",
    "CannotBatch": """
import torch

import pairbench


class Kernel(torch.autograd.Function):
    generate_vmap_rule = False

    @staticmethod
    def vmap(info, in_dims, *inputs):
        raise pairbench.CannotBatch("this kernel takes one round at a time")
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
    "user_cache": """
import pairbench

folder = pairbench.user_cache("my_plugin")
folder.mkdir(parents=True, exist_ok=True)
print(folder.name)  # -> my_plugin
""",
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
    "one_line": """
import pairbench

try:
    int("a\\nb")
except ValueError as error:
    print(pairbench.one_line(error))  # -> invalid literal for int() with base 10: 'a\\nb'
print(pairbench.one_line(KeyError()))  # -> KeyError
""",
    "replacing": """
from pathlib import Path

import pairbench

file = Path("totals.txt")
with pairbench.replacing(file) as draft:
    draft.write_text("3 images")
    print(file.exists())  # -> False
print(file.read_text())  # -> 3 images
""",
}

FILES = {
    "CsvRecords": """
from pathlib import Path

import pairbench

Path("votes.csv").write_text("image, votes\\na.png, 3\\n")
records = pairbench.CsvRecords(Path("votes.csv"), ",")
for fields in records:
    print(records.row, fields)  # -> 2 ['a.png', '3']
""",
    "DELIMITERS": """
import pairbench

print(pairbench.DELIMITERS["semicolon"])  # -> ;
""",
    "PairList": """
import pairbench

pairs = pairbench.PairList(rows=(2,), names=(("a.png", "b.png"),), paths=(("/set/a.png", "/set/b.png"),))
print(len(pairs.rows))  # -> 1
""",
    "read_pair_list": """
from pathlib import Path

import pairbench

Path("new.csv").write_text("left;right\\na.png;b.png\\n")
pairs = pairbench.read_pair_list(Path("new.csv"), 2, columns=("left", "right"), delimiter=";")
print(pairs.names)  # -> (('a.png', 'b.png'),)
""",
    "name_on_disk": """
from pathlib import Path

import pairbench

Path("sub").mkdir(exist_ok=True)
Path("sub/a.png").touch()
print(pairbench.name_on_disk(".", "sub\\\\a.png"))  # -> sub/a.png
""",
    "open_regular": """
from pathlib import Path

import pairbench

Path("header.bin").write_bytes(b"PB01")
with pairbench.open_regular("header.bin") as stream:
    print(stream.read(2))  # -> b'PB'
""",
    "UnusableError": """
import pairbench

try:
    pairbench.open_regular("missing.png")
except pairbench.UnusableError as error:
    print("missing.png", error)  # -> missing.png is missing
""",
    "why_unusable": """
import pairbench

print(pairbench.why_unusable(PermissionError(13, "Permission denied")))  # -> may not be read
""",
    "is_16_bit": """
import pairbench
from PIL import Image

print(pairbench.is_16_bit(Image.new("I;16", (4, 4))))  # -> True
""",
    "refuse_exhaustion": """
import errno

import pairbench

pairbench.refuse_exhaustion(FileNotFoundError(errno.ENOENT, "No such file"))
try:
    pairbench.refuse_exhaustion(OSError(errno.EMFILE, "Too many open files"))
except pairbench.StoreError as error:
    print(str(error).partition(".")[0])  # -> Too many open files
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
