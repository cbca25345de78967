"""The words around the generated reference pages, and the descriptions that no docstring holds."""

COMMAND_LINE = """# Command line

`pairbench COMMAND --help` prints the same in a terminal. Words such as `encoder=cnn` are the [spec language](spec.md);
what a command prints as JSON is on [Output formats](output.md), and how it ends on [Exit codes](exit-codes.md).

Typer adds `--install-completion` and `--show-completion`, which set up completion in your shell, and `--help`
everywhere."""

SLOTS = {
    "dataset": """# Datasets

A dataset is chosen by `dataset=NAME` and gives the images, the pairs drawn from them and the question asked of each
pair. Its options are set by `dataset.OPTION=VALUE`. [Data](../explanation/data.md) says where the digits come from;
[Bring your own pairs](../how-to/own-pairs.md) shows how to use those that read image files, and [Write a
dataset](../how-to/dataset-plugin.md) how to add one.""",
    "encoder": """# Encoders

An encoder is chosen by `encoder=NAME` and turns one image into one embedding. Its options are set by
`encoder.OPTION=VALUE`. [The pairing](../explanation/pairings.md) decides how many encoders a network has and what each
of them sees; [Your own plugin](../how-to/plugin.md) adds one.""",
    "head": """# Heads

A comparison head is chosen by `head=NAME` and turns the embeddings of an example into its answer. Its options are set
by `head.OPTION=VALUE`.""",
    "loss": """# Losses

A loss is chosen by `loss=NAME` and is what training minimises. Its options are set by `loss.OPTION=VALUE`.""",
}

TRAIN = """# Training options

These belong to the core and are set by `train.OPTION=VALUE`. All of them but `train.rounds` are part of
[what a config is known by](../decisions/0005-config-id-without-rounds.md), so changing one makes another config."""

SUITES = """# Suites

A suite is a named list of configs: `pairbench run --suite NAME`. Words on the command line lie over every entry, so
`pairbench run --suite report train.rounds=3` runs the same configs with fewer rounds.
[A suite of your own](../how-to/suite.md) is a TOML file."""

HOOKS = """# Hooks

A plugin is a Python module named by an entry point of the group `pairbench`. It implements any of these hooks, each
marked with `@pairbench.hookimpl`, and takes only the arguments that it needs. Events are called in the process that the
user started, never in a worker. A plugin that fails in an event is named below the results, and the run goes on."""

METRICS = """# Metrics

The figures of a round, by the name that records, suites and `--metric` know them by.
[Metrics](../explanation/metrics.md) defines those of the core, and [Add a metric](../how-to/metric.md) shows how a
plugin brings one. *Needs* is what there must be for a figure to exist; *in curves* means that it is taken after each
epoch too; *aside* means that a table of several configs shows it only where it is ranked by it."""

CONFORMANCE = """# Conformance kit

`pairbench.testing` holds each rule that a component or a metric has to keep as one pytest case. [Write a
plugin](../how-to/plugin.md#check-it) shows how to use it. A check that fails says what to change."""
CONFORMANCE_AFTER = """## In Python

::: pairbench.testing.conformance

::: pairbench.testing.examine"""

EXITS = """# Exit codes"""
EXIT_CODES = {
    "0": "Everything that was asked for is done. A leaderboard without records is no failure.",
    "1": "A round failed, a worker process ended, the store cannot be written, or `doctor` found something broken. "
    "What finished is kept.",
    "2": "A word, an option, a suite file or the data is wrong. Nothing was trained. One line on standard error says "
    "what is wrong and the mend.",
    "130": "Ctrl-C. Finished rounds are kept: the same command goes on where it stopped.",
}
EXITS_AFTER = """A diverged round (its loss stopped being finite) is a result, not a failure: it is counted and shown,
left out of the means, and the exit code stays 0.

No error prints a traceback unless `--traceback` asks for it."""

VARIABLES = """# Environment variables"""
ENVIRONMENT = {
    "PAIRBENCH_STORE": "Folder of the records where no `--store` is given; else `pairbench-results` in the working "
    "folder.",
    "PAIRBENCH_DATA": "Folder that `dataset.source=torchvision` reads MNIST from and downloads it to where no "
    "`dataset.root` is given; it holds `MNIST/raw`.",
    "PAIRBENCH_CACHE": "Folder of what may be deleted at any time: decoded images of `dataset=csv` and its like. Else "
    "`pairbench` in the user's cache.",
    "PAIRBENCH_PLUGINS": "The third-party plugins to let in, by plugin or distribution, with commas between; others "
    "are not even imported. Set but empty, it lets in none. Bundled plugins always are.",
    "XDG_CACHE_HOME": "Where the user's cache is (`~/.cache` where it is not set): MNIST is downloaded to "
    "`pairbench/data` below it when neither `dataset.root` nor `PAIRBENCH_DATA` names a folder.",
}
VARIABLES_AFTER = """Rich, which draws the tables, also heeds `NO_COLOR`, `FORCE_COLOR` and `COLUMNS`. The number of
threads of a worker process is set by pairbench, so `OMP_NUM_THREADS` changes nothing."""

RECORD = """# Records

The store holds one immutable JSON file for each round of each config. Every field of it stands here; shares are
fractions (0.857, not 85.7). [Read the records](../how-to/records.md) shows how to use them, and
[Metrics](../explanation/metrics.md) defines each figure."""
RECORD_FIELDS = {
    "schema": "The version of this form, 1.",
    "config": "Every option of the config, defaults included, by its key in a spec.",
    "config_id": "Twelve hexadecimal digits of the SHA-256 of the config without `train.rounds` and the values of "
    "`provenance.locations`; a checkpoint counts by its digest.",
    "round": "The number of the round, from 0.",
    "seed": "The seed that the weights of this round were drawn from; it follows from `train.seed` and the round.",
    "status": "`finished`; `diverged`, the loss stopped being finite; or `failed`, an error ended the round.",
    "metrics.validation_*": "The same figures on the validation pairs, which exist for choosing.",
    "curves.train.*": "For each epoch, the same figures gathered in training mode on the way.",
    "curves.test.*": "For each epoch, the same figures on the test pairs.",
    "curves.validation.*": "For each epoch, the same figures on the validation pairs.",
    "cost.parameters": "Numbers in the model, those of its loss included.",
    "cost.flops_per_pair": "Floating-point operations to answer one example, a multiplication and an addition as two.",
    "cost.train_seconds": "Seconds spent in training steps, evaluations left out.",
    "cost.cpu_seconds": "Seconds of processor time that the whole round took, evaluations included.",
    "cost.peak_mib": "Most memory that the worker process held, torch included, in MiB; on CUDA the most that torch "
    "had allocated there.",
    "environment.device": "`cpu`, `cuda` or `mps`.",
    "environment.device_name": "The name of the device.",
    "environment.threads": "Threads of the worker process.",
    "environment.engine": "Which engine trained the round: loop or stacked.",
    "environment.convolutions": "What computed convolutions: batch_last (pairbench's machine code) or library.",
    "environment.engine_why": "Why it was that engine, such as measured.",
    "environment.precision": "fp32 or bf16.",
    "environment.compiled": "Whether the model was compiled by torch.compile.",
    "environment.*": "The machine and the versions that the round was trained with.",
    "provenance.name": "What the run or the suite called the config.",
    "provenance.suite": "The suite that the round was run for, or null.",
    "provenance.data": "SHA-256 over the data files, 16 digits.",
    "provenance.code.*.distribution": "For each slot and for the core, the package that the code comes from.",
    "provenance.code.*.version": "Its version.",
    "provenance.code.*.plugin": "Its entry point.",
    "provenance.code.*.source": "SHA-256 over its source, 16 digits: edited code never meets an old result.",
    "provenance.locations": "The keys of the config that only say where data or weights lie, such as `dataset.root`.",
    "provenance.metrics.*.distribution": "For each metric of a plugin, the package that it comes from.",
    "provenance.metrics.*.version": "Its version.",
    "provenance.metrics.*.plugin": "Its entry point.",
    "provenance.metrics.*.source": "SHA-256 over its source, 16 digits: figures of other code are left out of tables.",
    "provenance.created": "When the round ended, in UTC.",
    "checksum": "SHA-256 over all other fields. A file that does not match is reported and left out.",
    "error.reason": "Of a failed round, the error in one line.",
    "error.traceback": "Of a failed round, the traceback, or the last lines that its process printed.",
}
RECORD_EXAMPLE = "A real one, of a small network in two epochs; its `config` is shortened here:"
TIMING = """## Timings

Speed depends on the machine, so it is no part of a record. Each measurement is a file of its own that ends in
`.timing`, beside the records of its config, so that every `.json` file below a store is a record."""
TIMING_FIELDS = {
    "schema": "The version of this form, 2; timings of version 1 lack what stands after `latency_ms`.",
    "config_id": "The config that was timed.",
    "created": "When, in UTC.",
    "training_pairs_per_second.median": "Pairs in a second of training steps: the median over the repeats.",
    "inference_pairs_per_second.median": "Pairs in a second of answering, in batches of 64: the median.",
    "encodings_per_second.median": "Embeddings in a second, in batches of 64 pairs: the median over the repeats.",
    "*_per_second.low": "The lower quartile.",
    "*_per_second.high": "The upper quartile.",
    "*_per_second.interval": "The distribution-free 95 % interval of the median.",
    "*_per_second.repeats": "Every repeat, in the order in which it was taken.",
    "*_per_second.batch_size": "Pairs in a batch.",
    "inference_by_batch.*": "The same in batches of 1, 64 and 1024; one that takes too long is left out.",
    "latency_ms.p50": "Milliseconds to answer one pair alone, the median over all calls.",
    "latency_ms.p95": "The 95th percentile of the same calls.",
    "latency_ms.p99": "The 99th percentile.",
    "latency_ms.calls": "How many calls there were.",
    "latency_ms.batch_size": "1.",
    "latency_ms.repeats": "The median of each repeat.",
    "modes": "What `timing --modes` asked for: the speeds of each mode by batch, its latency, and `largest_difference` "
    "of a logit from eager's; or `left_out`, why it was not timed.",
    "parameters": "Numbers in the model, as in a record.",
    "flops_per_pair": "Floating-point operations to answer one pair, as in a record.",
    "peak_mib": "The most memory in training steps, in MiB: on CUDA what torch allocated, else the whole process.",
    "gemm_gflops_per_second.*": "10^9 operations in a second of large matrix products, in turns with the rest.",
    "share_of_gemm_peak.training": "The share of the best fp32 product that training reaches; a step counts three "
    "times the operations of an answer.",
    "share_of_gemm_peak.inference": "The same for answering, at the best batch.",
    "environment.*": "As in a record.",
    "checksum": "As in a record.",
}
RECORD_FILES = """## Names of files

```text
STORE/CONFIG_ID/0003-KEY.json                    round 3, finished or diverged
STORE/CONFIG_ID/0003-KEY.failed-1a2b3c4d.json    a failure of round 3; a retry may still finish it
STORE/CONFIG_ID/0003-KEY.superseded-5e6f7a8b     what --fresh replaced
STORE/CONFIG_ID/0003-KEY.damaged-9c0d1e2f        what did not match its checksum
STORE/CONFIG_ID/2026-01-31T120000+0000-1a2b3c4d.timing
```

`KEY` is the SHA-256 of everything that decides a result: config, round, seed, data, and the version and source of
each plugin."""

PYTHON = """# Python

Everything here is imported from `pairbench` itself: `pairbench.run`, `pairbench.Encoder`. Importing `pairbench` imports
no torch."""
PYTHON_SECTIONS = {
    "runner": ("Running and reading", "What the commands `run`, `leaderboard` and `compare` do."),
    "results": ("Results", "What they give back. Both print as tables."),
    "config": ("Configs", "A combination as a typed value, to build one without text."),
    "interfaces": (
        "The four interfaces",
        """What a plugin fills. A component is a recipe: a frozen pydantic model whose fields are its options and
whose `build` gives back a plain `torch.nn.Module`.

Shape letters: N examples in a batch; V images in an example; C, H, W channels, height and width; M embeddings in an
example (V, or 1 where one encoder sees all images at once); D embedding size; O outcomes; K image classes; P images in
a pool; R rounds.""",
    ),
    "plugin.metric_specs": (
        "Metrics",
        "What the hook `pairbench_metrics` gives. See [Add a metric](../how-to/metric.md).",
    ),
    "images": ("Image files", "For datasets that read them."),
    "telling": (
        "Telling what a dataset does",
        "For `load` and `digest` of a dataset: progress is shown while they run, notes stand beside the results.",
    ),
    "text": ("Text", "For messages that hold names from outside."),
    "hookspecs": ("Marking a hook", "See [Hooks](hooks.md)."),
    "errors": (
        "Errors",
        "Each message is one line that says what is wrong and the mend. See [Exit codes](exit-codes.md).",
    ),
}
