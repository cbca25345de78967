"""A short example of each public name, for the page on Python, which also shows signatures and docstrings.

Each example is a whole program. A test runs them in one folder, `run` first, since the others read what it has trained;
`print(...)  # -> text` must print that text.
"""

from __future__ import annotations

from python_examples.components import INTERFACES, OPTION_TYPES, VALUES
from python_examples.plugins import ACCELERATORS, DATASETS, EVENTS, FILES, HOOKS, METRICS, TESTING
from python_examples.using import CONFIGS, ERRORS, RESULTS, RUNNING

__all__ = ["EVENTS", "METRICS", "RESULTS", "SECTIONS", "TESTING", "TEXTS"]

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
    "DELIMITERS": "The characters between the fields of a CSV file, by the names that options use.",
    "hookimpl": "Marks a function of a plugin as its implementation of the hook of the same name.",
}

# Heading -> what the section is about, and its names with their examples.
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
    "For lists of files": ("For datasets that read lists which people have written.", FILES),
    "Implementing a hook": ("[Hooks](hooks.md) lists them.", HOOKS),
    "Following a run": (
        "What event hooks pass to a plugin, and the interface of a tracker; see [Hooks](hooks.md).",
        EVENTS,
    ),
    "Metrics": ("What the hook `pairbench_metrics` returns, and what a metric is computed from.", METRICS),
    "Accelerators": (
        "What the hook `pairbench_accelerators` returns; see [Add an accelerator](../how-to/accelerator.md).",
        ACCELERATORS,
    ),
    "Errors": (
        "Each message is one line that says what is wrong and how to fix it. See [Exit codes](exit-codes.md).",
        ERRORS,
    ),
}
