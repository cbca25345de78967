"""The words around the generated reference pages, and the descriptions that no docstring holds."""

COMMAND_LINE = """# Command line

`pairbench COMMAND --help` prints the same text in a terminal. Words such as `encoder=cnn` are in the [spec
language](spec.md); [Output formats](output.md) describes the JSON that commands print, and [Exit
codes](exit-codes.md) how they end.

There are also `--install-completion` and `--show-completion`, which set up completion in your shell, and `--help` for
every command."""

SLOTS = {
    "dataset": """# Datasets

Choose a dataset with `dataset=NAME`. It provides the images, the pairs drawn from them and the question asked of each
pair. Set its options with `dataset.OPTION=VALUE`. [Data](../explanation/data.md) says where the digits come from;
[Bring your own pairs](../how-to/own-pairs.md) shows how to use the datasets that read image files, and [Write a
dataset](../how-to/dataset-plugin.md) how to add one.""",
    "encoder": """# Encoders

Choose an encoder with `encoder=NAME`. It turns an image into an embedding. Set its options with
`encoder.OPTION=VALUE`. [The pairing](../explanation/pairings.md) decides how many encoders a network has and what each
of them sees; [Write a plugin](../how-to/plugin.md) shows how to add an encoder.""",
    "head": """# Heads

Choose a comparison head with `head=NAME`. It turns the embeddings of an example into an answer. Set its options with
`head.OPTION=VALUE`.""",
    "loss": """# Losses

Choose a loss with `loss=NAME`. It is what training minimises. Set its options with `loss.OPTION=VALUE`.""",
}

TRAIN = """# Training options

Set these options of the core with `train.OPTION=VALUE`. All of them except `train.rounds` are part of a config's
[`config_id`](../decisions/0005-config-id-without-rounds.md), so changing one makes another config."""

SUITES = """# Suites

A suite is a named list of configs: `pairbench run --suite NAME`. Words on the command line override those of every
entry, so `pairbench run --suite report train.rounds=3` runs the same configs with fewer rounds.
[A suite of your own](../how-to/suite.md) is a TOML file."""

HOOKS = """# Hooks

A plugin is a Python module that is named by an entry point in the group `pairbench`. It implements any of these hooks,
each marked with `@pairbench.hookimpl`, and accepts only the arguments that it needs. Event hooks are called in the
process that the user started, never in a worker. If a plugin raises in an event hook, the run continues and the failure
is reported below the results."""

METRICS = """# Metrics

The figures of a round, by the names used in records, suites and `--metric`.
[Metrics](../explanation/metrics.md) defines those of the core, and [Add a metric](../how-to/metric.md) shows how a
plugin adds one. *Needs* is what a figure requires in order to exist; *in curves* means that it is also computed after
each epoch; *aside* means that a table of several configs shows it only if it is ranked by it."""

CONFORMANCE = """# Conformance kit

`pairbench.testing` checks every rule that a component, a metric, an accelerator, an executor or a tracker must follow,
with one pytest case for each. [Write a plugin](../how-to/plugin.md#check-it) shows how to use it. A failed check says
what to change."""
CONFORMANCE_AFTER = """## In Python"""

EXITS = """# Exit codes"""
EXIT_CODES = {
    "0": "Success. An empty leaderboard is not a failure.",
    "1": "A round failed, a worker process ended, the store cannot be written, or `doctor` found something broken. "
    "Finished rounds stay in the store.",
    "2": "A word, an option, a suite file or the data is wrong. Nothing was trained. One line on standard error says "
    "what is wrong and how to fix it.",
    "130": "Ctrl-C. Finished rounds stay in the store; the same command continues where it stopped.",
}
EXITS_AFTER = """A diverged round (one whose loss stopped being finite) is a result, not a failure: it is counted and
shown but is in no mean, and the exit code is 0.

Errors print no traceback unless you pass `--traceback`."""

VARIABLES = """# Environment variables"""
ENVIRONMENT = {
    "PAIRBENCH_STORE": "The folder of the records if `--store` is not given. The default is `pairbench-results` in the "
    "working directory.",
    "PAIRBENCH_DATA": "The folder that `dataset.source=torchvision` reads MNIST from, and downloads it to, if "
    "`dataset.root` is not given; it contains `MNIST/raw`.",
    "PAIRBENCH_CACHE": "The folder of files that may be deleted at any time: decoded images (`pools`), measurements "
    "(`engines`), machine code (`kernels`), and downloads (`data`) if neither `dataset.root` nor `PAIRBENCH_DATA` "
    "names a folder. The default is `pairbench` in the user's cache folder.",
    "PAIRBENCH_PLUGINS": "The third-party plugins to use, named by plugin or distribution and separated by commas; "
    "others are not imported. If it is set but empty, none are used. Bundled plugins are always used.",
    "PAIRBENCH_IMPORT_SECONDS": "How long the import of a plugin may take, in seconds; else 60. A plugin that takes "
    "longer is reported and not used.",
    "PAIRBENCH_ACCELERATORS": "The accelerators that may be used, with commas between, or `off`; else all that are "
    "installed.",
    "PAIRBENCH_EXECUTOR": "The executor that trains where no `--executor` is given, with its options, such as "
    "`pool processes=4`; else `local`.",
    "PAIRBENCH_TRACK": "The trackers that log a run where no `--track` is given, with commas between. "
    "[Track a run](../how-to/track.md) has them.",
    "PAIRBENCH_TRACK_SECONDS": "How long a tracker may stand still once a run is over, in seconds; else 30. One that "
    "does is stopped.",
    "PAIRBENCH_TENSORBOARD": "Folder of TensorBoard's event files; else `runs` in the working folder.",
    "MLFLOW_EXPERIMENT_NAME": "The experiment of MLflow that `--track mlflow` logs to; else `pairbench`. Where it is "
    "kept is MLflow's own `MLFLOW_TRACKING_URI`.",
    "WANDB_DIR": "The folder that gets the folder `wandb`, which `--track wandb` writes to; else the working folder.",
    "WANDB_MODE": "Whether Weights & Biases uploads (`online`); else `offline`, where nothing leaves the machine.",
    "WANDB_PROJECT": "The project of Weights & Biases; else `pairbench`.",
    "XDG_CACHE_HOME": "The user's cache folder (default `~/.cache`), which has the folder `pairbench` if "
    "`PAIRBENCH_CACHE` is not set.",
}
VARIABLES_AFTER = """Tables also respect `NO_COLOR`, `FORCE_COLOR` and `COLUMNS`. pairbench sets the number of threads
of its worker processes itself, so `OMP_NUM_THREADS` has no effect."""

RECORD = """# Records

The store holds one immutable JSON file for each round of each config. This page describes every field. Proportions are
fractions (0.857, not 85.7). [Read the records](../how-to/records.md) shows how to use them, and
[Metrics](../explanation/metrics.md) defines each figure."""
RECORD_FIELDS = {
    "schema": "The version of this format, 1.",
    "config": "Every option of the config, including defaults, by its key in a spec.",
    "config_id": "Twelve hexadecimal digits of the SHA-256 of the config, without `train.rounds` and the options in "
    "`provenance.locations`; a checkpoint is represented by a hash of its content.",
    "round": "The number of the round, from 0.",
    "seed": "The seed of this round's initial weights, derived from `train.seed` and the number of the round.",
    "status": "`finished`, `diverged` (the loss stopped being finite) or `failed` (an error ended the round).",
    "metrics.validation_*": "The same figures on the validation pairs, which exist for choosing.",
    "curves.train.*": "For each epoch, the same figures computed during training, in training mode.",
    "curves.test.*": "For each epoch, the same figures on the test pairs.",
    "curves.validation.*": "For each epoch, the same figures on the validation pairs.",
    "cost.parameters": "Number of parameters of the model, including those of its loss.",
    "cost.flops_per_pair": "Floating-point operations for one example; a multiplication and an addition count as two.",
    "cost.train_seconds": "Seconds spent in training steps, excluding evaluation.",
    "cost.cpu_seconds": "CPU seconds of the whole round, including evaluation.",
    "cost.peak_mib": "Peak memory of the worker process, including torch, in MiB; on CUDA, the most that torch "
    "allocated on the GPU.",
    "environment.device": "`cpu`, `cuda` or `mps`.",
    "environment.device_name": "The name of the device.",
    "environment.threads": "Threads of the worker process.",
    "environment.engine": "The engine that trained the round: loop or stacked.",
    "environment.engine_why": "Why that engine was used, such as measured.",
    "environment.precision": "fp32 or bf16.",
    "environment.compiled": "Whether the model was compiled with torch.compile.",
    "environment.*": "The machine and the software versions.",
    "provenance.name": "The name of the config in the run or suite.",
    "provenance.suite": "The suite that the round belonged to, or null.",
    "provenance.data": "SHA-256 of the data files, 16 digits.",
    "provenance.code.*.distribution": "For each slot and for the core, the package that the code comes from.",
    "provenance.code.*.version": "Its version.",
    "provenance.code.*.plugin": "Its entry point.",
    "provenance.code.*.source": "SHA-256 of its source, 16 digits, so that old results are never used for edited code.",
    "provenance.locations": "The keys of options that only say where data or weights are, such as `dataset.root`.",
    "provenance.own_files": "Whether the data are a user's own files: `config_id` then depends on `provenance.data`.",
    "provenance.metrics.*.distribution": "For each metric of a plugin, the package that it comes from.",
    "provenance.metrics.*.version": "Its version.",
    "provenance.metrics.*.plugin": "Its entry point.",
    "provenance.metrics.*.source": "SHA-256 of its source, 16 digits: figures of other code are not shown in tables.",
    "provenance.accelerators.*.distribution": "For each accelerator that computed parts of the round, the package that "
    "it comes from.",
    "provenance.accelerators.*.version": "Its version.",
    "provenance.accelerators.*.source": "A digest of its code: the next run trains the round again if it has changed.",
    "provenance.created": "When the round ended, in UTC.",
    "checksum": "SHA-256 of all other fields. A file that does not match is reported and ignored.",
    "error.reason": "The error of a failed round, in one line.",
    "error.traceback": "The traceback of a failed round, or the last lines that its process printed.",
}
RECORD_EXAMPLE = "This is a real record of a small network trained for two epochs, with a shortened `config`:"
TIMING = """## Timings

Speed depends on the machine, so it is not part of a record. Each measurement is a separate file with the extension
`.timing`, next to the records of its config; every `.json` file in a store is a record."""
TIMING_FIELDS = {
    "schema": "The version of this format, 3. In timings of version 2 the first figures are those of the fastest code, "
    "accelerators included.",
    "config_id": "The config that was timed.",
    "created": "When, in UTC.",
    "training_pairs_per_second.median": "Pairs per second in training steps of plain torch: the median over repeats.",
    "accelerated.by": "The accelerators that rounds of this config are trained with.",
    "accelerated.training_pairs_per_second.median": "Pairs per second in training steps with them.",
    "inference_pairs_per_second.median": "Pairs per second in inference, in batches of 64: the median.",
    "encodings_per_second.median": "Embeddings per second, in batches of 64 pairs: the median over the repeats.",
    "*_per_second.low": "The lower quartile.",
    "*_per_second.high": "The upper quartile.",
    "*_per_second.interval": "The distribution-free 95 % interval of the median.",
    "*_per_second.repeats": "Every repeat, in the order of measurement.",
    "*_per_second.batch_size": "Pairs in a batch.",
    "inference_by_batch.*": "The same in batches of 1, 64 and 1024; a batch size that takes too long is skipped.",
    "latency_ms.p50": "Milliseconds for a single pair, the median over all calls.",
    "latency_ms.p95": "The 95th percentile of the same calls.",
    "latency_ms.p99": "The 99th percentile.",
    "latency_ms.calls": "How many calls there were.",
    "latency_ms.batch_size": "1.",
    "latency_ms.repeats": "The median of each repeat.",
    "modes": "The modes of `timing --modes`: for each, its speeds by batch size, its latency, and the "
    "`largest_difference` of a logit from eager; or `left_out`, the reason why it was not timed.",
    "parameters": "Number of parameters, as in a record.",
    "flops_per_pair": "Floating-point operations for one pair, as in a record.",
    "peak_mib": "Peak memory in training steps, in MiB: on CUDA that of torch, otherwise that of the process.",
    "gemm_gflops_per_second.*": "10^9 operations per second of large matrix products, interleaved with the rest.",
    "share_of_gemm_peak.training": "The speed of training as a share of the fastest fp32 matrix product; a step counts "
    "as three times the operations of a forward pass.",
    "share_of_gemm_peak.inference": "The same for inference, at the best batch size.",
    "environment.*": "As in a record.",
    "checksum": "As in a record.",
}
RECORD_FILES = """## File names

```text
STORE/CONFIG_ID/0003-KEY.json                    round 3, finished or diverged
STORE/CONFIG_ID/0003-KEY.failed-1a2b3c4d.json    a failure of round 3; a retry may still finish it
STORE/CONFIG_ID/0003-KEY.superseded-5e6f7a8b     what --fresh replaced
STORE/CONFIG_ID/0003-KEY.damaged-9c0d1e2f        what did not match its checksum
STORE/CONFIG_ID/2026-01-31T120000+0000-1a2b3c4d.timing
```

`KEY` is the SHA-256 of everything that determines a result: config, round, seed, data, and the version and source of
each plugin."""

PYTHON = """# Python

Import every name on this page from `pairbench` itself: `pairbench.run`, `pairbench.Encoder`. Importing `pairbench` does
not import torch.

Every example is a complete program. The first one, for `run`, trains two small networks in seconds; the others can run
in the same folder and read its results. A comment `# -> text` shows what a line prints."""
