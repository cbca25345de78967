"""A short example of each public name, for the page on Python, which also shows signatures and docstrings.

Each example is a whole program. A test runs them in one folder, `run` first, since the others read what it has trained;
`print(...)  # -> text` must print that text.
"""

from __future__ import annotations

RUN = """
import pairbench

results = pairbench.run(
    "encoder=mlp,cnn", "loss=aux", "train.rounds=2", "train.epochs=1", keep_models=True, workers=0, timing=False
)
print(results)  # the table that the command line prints
"""

RUNNING = {
    "run": RUN,
    "leaderboard": """
import pairbench

ranking = pairbench.leaderboard(metric="validation_accuracy")
best = ranking[0]
print(best.name, best.summary["validation_accuracy"].mean)
""",
    "compare": """
import pairbench

verdicts = pairbench.compare("encoder=mlp train.epochs=1", "encoder=cnn train.epochs=1", metric="auc")
print(verdicts)
print(verdicts.to_dict()["comparisons"][0]["verdict"])  # better, worse, tie or unknown
""",
    "ablate": """
import pairbench

ablation = pairbench.ablate("encoder=mlp", "head=posterior", "train.rounds=2", "train.epochs=1", workers=0)
print(ablation)  # the whole config, then a line for each ingredient that was left out
""",
    "load": """
import numpy
import pairbench

best = pairbench.leaderboard()[0]
model = pairbench.load(f"{best.config_id}/0")  # round 0; the path of a .safetensors file works too
digit = numpy.zeros((14, 14), dtype=numpy.uint8)
answer = model(digit, digit)
print(answer.answer in ("greater", "at_most"), len(answer.probabilities))  # -> True 2
""",
}

RESULTS = {
    "Results": """
import pairbench

results = pairbench.leaderboard()
print(len(results), results.failed)  # -> 2 0
print(results.to_markdown())  # also to_json(), to_csv() and to_pandas()
""",
    "Result": """
import pairbench

result = pairbench.leaderboard()[0]
accuracy = result.summary["accuracy"]
print(result.name, result.config_id)
print(f"{accuracy.mean:.3f}, {accuracy.low:.3f} to {accuracy.high:.3f} over {accuracy.rounds} rounds")
print(sorted(result.values("accuracy")))  # -> [0, 1]
""",
}

CONFIGS = {
    "RunConfig": """
import pairbench
from pairbench_report import AuxClassification, Cnn, ConcatLinear, MnistPairs

config = pairbench.RunConfig(
    dataset=MnistPairs(),
    encoder=Cnn(channels=(4, 8)),
    head=ConcatLinear(),
    loss=AuxClassification(),
    train=pairbench.TrainOptions(rounds=2, epochs=1),
)
print(config)  # -> encoder=cnn head=concat_linear loss=aux encoder.channels=[4,8] train.rounds=2 train.epochs=1
results = pairbench.run(config, workers=0, timing=False)
""",
    "TrainOptions": """
import pairbench

options = pairbench.TrainOptions(epochs=20, learning_rate=0.003)
print(options.epochs, options.batch_size)  # -> 20 64
longer = options.model_copy(update={"epochs": 40})
""",
}

INTERFACES = {
    "Component": """
import pairbench
from pairbench_report import Cnn

print(issubclass(Cnn, pairbench.Component), Cnn.slot, Cnn.name)  # -> True encoder cnn
print(Cnn(channels=(4, 8)) == Cnn(channels=(4, 8)))  # -> True
print(Cnn(channels=(4, 8)).values()["channels"])  # -> [4, 8]
""",
    "PairDataset": """
import pairbench


class Levels(pairbench.PairDataset):
    \"\"\"Is the first square at most as bright as the second?

    pairs: pairs in a round.
    \"\"\"

    name = "levels"
    pairs: pairbench.PositiveInt = 100

    @property
    def task(self):
        return pairbench.PairTask("ordering", (1, 8, 8))

    def load(self, split, *, rounds, seed):
        import torch

        # No gray level is in two splits, so no image is.
        levels = torch.arange(pairbench.SPLITS.index(split), 256, 3)
        generators = [torch.Generator().manual_seed(1000 * seed + number) for number in range(rounds)]
        pairs = torch.stack([torch.randint(len(levels), (self.pairs, 2), generator=one) for one in generators])
        first, second = levels[pairs].unbind(dim=2)
        images = levels.to(torch.uint8).reshape(-1, 1, 1, 1).repeat(1, 1, 8, 8)
        return pairbench.PairPool(images, pairs, (first <= second).long(), torch.full((len(levels),), -1))


print(tuple(Levels().load("test", rounds=3, seed=0).pairs.shape))  # -> (3, 100, 2)
""",
    "Encoder": """
import pairbench


class Pooled(pairbench.Encoder):
    \"\"\"Average pooling and one linear layer.

    embedding_dim: the size of the embedding.
    \"\"\"

    name = "pooled"
    embedding_dim: pairbench.PositiveInt = 10

    def build(self, image_shape):
        from torch import nn

        return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.LazyLinear(self.embedding_dim))


print(len(Pooled(embedding_dim=32).build((1, 14, 14))))  # -> 3
""",
    "ComparisonHead": """
import pairbench


class Concatenated(pairbench.ComparisonHead):
    \"\"\"One linear layer over the concatenated embeddings.\"\"\"

    name = "concatenated"

    def build(self, embedding_shape, task):
        from torch import nn

        images, size = embedding_shape
        return nn.Sequential(nn.Flatten(), nn.Linear(images * size, len(task.outcomes)))


head = Concatenated().build((2, 10), pairbench.PairTask("ordering", (1, 14, 14)))
print(head[1].in_features, head[1].out_features)  # -> 20 2
""",
    "LossStrategy": """
import pairbench


class Hinge(pairbench.LossStrategy):
    \"\"\"A multi-class hinge loss.

    margin: by how much the right answer has to win.
    \"\"\"

    name = "hinge"
    margin: pairbench.PositiveFloat = 1.0

    def build(self, embedding_shape, task):
        from torch import nn

        class Module(nn.Module):
            def forward(module, output, batch):
                loss = nn.functional.multi_margin_loss(output.logits, batch.target, margin=self.margin)
                return loss, {"hinge": loss}

        return Module()


print(Hinge(margin=2).margin)  # -> 2.0
""",
}

VALUES = {
    "PairTask": """
import pairbench

task = pairbench.PairTask("verification", (3, 32, 32), outcomes=("different", "same"), num_classes=5)
print(task.views, task.outcomes[1])  # -> 2 same
""",
    "PairPool": """
import pairbench
from pairbench_report import MnistPairs

pool = MnistPairs(train_pairs=50).load("train", rounds=3, seed=0)
print(isinstance(pool, pairbench.PairPool), tuple(pool.pairs.shape))  # -> True (3, 50, 2)
first, second = pool.images[pool.pairs[0, 0]]  # the images of the first pair of round 0
""",
    "PairBatch": """
import pairbench
import torch

batch = pairbench.PairBatch(
    images=torch.rand(4, 2, 1, 14, 14), target=torch.tensor([0, 1, 1, 0]), classes=torch.full((4, 2), -1)
)
print(len(batch.target))  # -> 4
""",
    "PairOutput": """
import pairbench
import torch

output = pairbench.PairOutput(logits=torch.zeros(4, 2), embeddings=torch.zeros(4, 2, 10))
print(output.logits.argmax(dim=1).tolist())  # -> [0, 0, 0, 0]
""",
    "Comparison": """
import pairbench

print(pairbench.Comparison is pairbench.PairOutput)  # -> True
""",
    "SPLITS": """
import pairbench

print(pairbench.SPLITS)  # -> ('train', 'validation', 'test')
""",
}

OPTION_TYPES = {
    "PositiveInt": """
import pairbench


class Stem(pairbench.Encoder):
    \"\"\"Convolutions of one width.

    depth: how many there are.
    width: the channels of each; none gives each twice as many as the one before it.
    \"\"\"

    name = "stem"
    depth: pairbench.PositiveInt = 2
    width: pairbench.PositiveInt | None = 16

    def build(self, image_shape): ...


print(Stem(depth=3).depth, Stem(width=None).width)  # -> 3 None
""",
    "NonNegativeInt": """
import pairbench


class Padded(pairbench.Encoder):
    \"\"\"A padded image, flattened.

    padding: pixels added on each side.
    \"\"\"

    name = "padded"
    padding: pairbench.NonNegativeInt = 0

    def build(self, image_shape): ...


print(Padded().padding)  # -> 0
""",
    "PositiveFloat": """
import pairbench


class Scaled(pairbench.ComparisonHead):
    \"\"\"A scaled cosine.

    temperature: what the cosine is divided by.
    \"\"\"

    name = "scaled"
    temperature: pairbench.PositiveFloat = 0.1

    def build(self, embedding_shape, task): ...


print(Scaled(temperature=0.5).temperature)  # -> 0.5
""",
    "NonNegativeFloat": """
import pairbench


class Weighted(pairbench.LossStrategy):
    \"\"\"Two terms in one sum.

    weights: the weight of each.
    \"\"\"

    name = "weighted"
    weights: tuple[pairbench.NonNegativeFloat, ...] = (1.0, 0.5)

    def build(self, embedding_shape, task): ...


print(Weighted(weights=(1, 0)).weights)  # -> (1.0, 0.0)
""",
    "Probability": """
import pairbench


class Dropped(pairbench.Encoder):
    \"\"\"A linear layer after dropout.

    dropout: the chance that a number is dropped.
    \"\"\"

    name = "dropped"
    dropout: pairbench.Probability = 0.5

    def build(self, image_shape): ...


print(Dropped(dropout=0.25).dropout)  # -> 0.25
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

ERRORS = {
    "PairbenchError": """
import pairbench

try:
    pairbench.run("encoder=cnn", "pairing=two_channel", "loss=aux")
except pairbench.PairbenchError as error:
    print(type(error).__name__)  # -> MismatchError
""",
    "InputError": """
import pairbench

try:
    pairbench.run("encoder=deepcnn")
except pairbench.InputError as error:
    print(error)  # -> unknown encoder 'deepcnn'. Did you mean 'deep_cnn' or 'cnn'?
""",
    "SpecError": """
import pairbench

try:
    pairbench.compare("encoder=mlp train.epochs=1", "encoder=cnn train.epochs=1", metric="acuracy")
except pairbench.SpecError as error:
    print(error)
""",
    "MismatchError": """
import pairbench


class TwoAlone(pairbench.ComparisonHead):
    \"\"\"A head for two embeddings.\"\"\"

    name = "two_alone"

    def build(self, embedding_shape, task):
        if embedding_shape[0] != 2:
            raise pairbench.MismatchError(
                f"head 'two_alone' needs two embeddings, got {embedding_shape[0]}. Use pairing=siamese."
            )


try:
    TwoAlone().build((1, 10), pairbench.PairTask("ordering", (1, 14, 14)))
except pairbench.MismatchError as error:
    print(error)  # -> head 'two_alone' needs two embeddings, got 1. Use pairing=siamese.
""",
    "DataError": """
import pairbench

try:
    pairbench.run("dataset=csv", "dataset.path=no-such-file.csv", "loss=cross_entropy")
except pairbench.DataError as error:
    print(error)
""",
    "StoreError": """
import pairbench

try:
    pairbench.run("encoder=mlp", "train.rounds=1", "train.epochs=1", workers=0, timing=False)
except pairbench.StoreError as error:
    print(error)  # such as a full disk: make room and run it again, finished rounds are in the store
""",
    "WorkerError": """
import pairbench

try:
    pairbench.run("encoder=mlp", "train.rounds=1", "train.epochs=1", workers=0, timing=False)
except pairbench.WorkerError as error:
    print(error)  # such as no memory to start a process: run it again, finished rounds are in the store
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

# What has no docstring of its own, or a long one that is another page.
TEXTS = {
    "TrainOptions": "How each round is trained and evaluated; [Training options](train.md) describes each field.",
    "Comparison": "The former name of `PairOutput`, kept for plugins that use it.",
    "SPLITS": "The names of the splits that `PairDataset.load` is asked for.",
    "PositiveInt": "The type of an option that is a whole number of at least 1.",
    "NonNegativeInt": "The type of an option that is a whole number of at least 0.",
    "PositiveFloat": "The type of an option that is a finite number above 0.",
    "NonNegativeFloat": "The type of an option that is a finite number of at least 0.",
    "Probability": "The type of an option that is at least 0 and below 1.",
    "IMAGE_FORMATS": "The image formats that are read, by Pillow's names; every other file is refused.",
    "hookimpl": "Marks a function of a plugin as its implementation of the hook of the same name.",
}

SECTIONS = {
    "Running and reading": ("What the commands `run`, `leaderboard`, `compare` and `ablate` do.", RUNNING),
    "Results": ("What `run` and `leaderboard` return.", RESULTS),
    "Configs": ("A combination as a typed value, for programs that would rather not write text.", CONFIGS),
    "The four interfaces": (
        """What a plugin implements. A component is a recipe: a frozen pydantic model whose fields are its options and
whose `build` returns a plain `torch.nn.Module`.

Shape letters: N examples in a batch; V images in an example; C, H, W channels, height and width; M embeddings in an
example (V, or 1 where one encoder sees all images at once); D embedding size; O outcomes; K image classes; P images in
a pool; R rounds.""",
        INTERFACES,
    ),
    "Values between components": ("What datasets, encoders, heads and losses pass to each other.", VALUES),
    "Types of options": (
        "Ranges for the fields of a component. A value outside the range is an input error.",
        OPTION_TYPES,
    ),
    "For datasets": ("For datasets that read image files, download something or take a while.", DATASETS),
    "Implementing a hook": ("[Hooks](hooks.md) lists them.", HOOKS),
    "Following a run": (
        "What event hooks pass to a plugin, and the interface of a tracker. [Hooks](hooks.md) says when each is called.",
        EVENTS,
    ),
    "Metrics": ("What the hook `pairbench_metrics` returns, and what a metric is computed from.", METRICS),
    "Errors": (
        "Each message is one line that says what is wrong and how to fix it. See [Exit codes](exit-codes.md).",
        ERRORS,
    ),
}
