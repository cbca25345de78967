"""Examples of running and reading results, in the order of the page."""

from __future__ import annotations

RUNNING = {
    "run": """
import pairbench

results = pairbench.run(
    "encoder=mlp,cnn", "loss=aux", "train.rounds=2", "train.epochs=1", keep_models=True, workers=0, timing=False
)
print(results)  # the table that the command line prints
""",
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

ERRORS = {
    "PairbenchError": """
import pairbench

try:
    pairbench.run("encoder=cnn", "pairing=two_channel", "loss=aux", workers=0)
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
