"""The list of all checks; each is a function of the same name in the module that it names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from pairbench.plugin.accelerators import Accelerator
from pairbench.plugin.components import INTERFACES, Component
from pairbench.plugin.metric_specs import MetricSpec
from pairbench.plugin.trackers import Tracker

# What the kit examines: a component with its options, a metric, an accelerator, or a tracker's class.
Subject = Component | MetricSpec | Accelerator | type[Tracker]

ALL = tuple(INTERFACES)
NETWORKS = ("encoder", "head", "loss")
# The modules whose functions need torch.
NETWORK_RULES, POOLS, SHAPES = (f"network_checks.{name}" for name in ("networks", "pools", "shapes"))
METRIC, FIGURES = ("metric",), "network_checks.figures"


@dataclass(frozen=True)
class Check:
    """A rule that a component, or a metric, keeps.

    name: its name in test ids and in `expected_failures`.
    slots: the slots whose components it is for; "metric" for metrics.
    text: the rule in a sentence.
    module: the module of pairbench.testing that has its function.
    """

    name: str
    slots: tuple[str, ...]
    text: str
    module: str

    def __call__(self, recipe: Subject) -> None:
        """Check `recipe`.

        Raises:
            ConformanceError: it violates the rule.
        """
        # Imported on first use, so that collecting tests and listing checks do not import torch.
        function: Callable[[Any], None] = getattr(import_module(f"pairbench.testing.{self.module}"), self.name)
        function(recipe)


CHECKS: tuple[Check, ...] = (
    Check("options_are_documented", ALL, "The component and each of its options have a description.", "values"),
    Check("options_survive_text", ALL, "Written in a spec and read again, the options are the same.", "values"),
    Check("options_survive_json", ALL, "Written to JSON and read again, the options are the same.", "values"),
    Check("recipe_is_a_value", ALL, "Equal options make equal recipes with equal hashes.", "values"),
    Check("importing_needs_no_torch", ALL, "Importing the component does not import torch.", "imports"),
    Check(
        "embeddings_have_their_shape",
        ("encoder",),
        "Gray and colour images of many sizes become (N, D).",
        SHAPES,
    ),
    Check(
        "logits_have_their_shape",
        ("head",),
        "Embeddings of each task and shape become (N, O).",
        SHAPES,
    ),
    Check(
        "total_and_terms_have_their_shape",
        ("loss",),
        "The total and each named term are finite scalars.",
        SHAPES,
    ),
    Check(
        "class_logits_have_their_shape",
        ("loss",),
        "A loss that supervises classes returns class logits (N, M, K).",
        SHAPES,
    ),
    Check("a_right_answer_costs_less", ("loss",), "A correct answer has a lower loss than a wrong one.", SHAPES),
    Check(
        "examples_do_not_depend_on_neighbours",
        ("encoder", "head"),
        "In eval mode an example gets the same answer alone and in a batch.",
        NETWORK_RULES,
    ),
    Check(
        "equal_seeds_give_equal_weights",
        NETWORKS,
        "Built twice with the same seed, all weights are equal.",
        NETWORK_RULES,
    ),
    Check(
        "different_seeds_give_different_weights",
        NETWORKS,
        "Different seeds give different weights.",
        NETWORK_RULES,
    ),
    Check(
        "gradients_reach_every_parameter",
        NETWORKS,
        "Every trainable parameter gets a gradient.",
        NETWORK_RULES,
    ),
    Check(
        "stacked_rounds_equal_separate_ones",
        NETWORKS,
        "Rounds stacked with torch.func.vmap give the answers and gradients of separate ones.",
        NETWORK_RULES,
    ),
    Check(
        "saved_weights_give_equal_outputs",
        NETWORKS,
        "A new module that loads another's state_dict gives the same outputs.",
        NETWORK_RULES,
    ),
    Check(
        "task_is_well_formed",
        ("dataset",),
        "The task has a consistent kind, shape, outcomes and views.",
        POOLS,
    ),
    Check("task_needs_no_torch", ("dataset",), "The task is available without importing torch.", "imports"),
    Check("loading_is_deterministic", ("dataset",), "Equal arguments load equal pools.", POOLS),
    Check(
        "rounds_do_not_depend_on_their_number",
        ("dataset",),
        "A round has the same pairs, whether 1 or 3 rounds are loaded.",
        POOLS,
    ),
    Check(
        "pools_keep_their_promises",
        ("dataset",),
        "Shapes, types and ranges are those of PairPool.",
        POOLS,
    ),
    Check("splits_share_no_image", ("dataset",), "No image is in two splits.", POOLS),
    Check("metric_is_documented", METRIC, "The metric says in a sentence what it is.", "values"),
    Check("metric_needs_no_torch", METRIC, "Importing the module of its function imports no torch.", "imports"),
    Check("figures_are_finite", METRIC, "Whatever the answers, the figure is a finite number or None.", FIGURES),
    Check("figures_are_deterministic", METRIC, "Equal answers give equal figures.", FIGURES),
    Check("pairs_may_come_in_any_order", METRIC, "Shuffled pairs give the same figure.", FIGURES),
    Check("answers_are_left_alone", METRIC, "The metric changes nothing in what it is given.", FIGURES),
    Check("perfect_answers_are_not_worse", METRIC, "Right answers have no worse a figure than wrong ones.", FIGURES),
)


_ACCELERATORS = "network_checks.accelerators"
ACCELERATOR_CHECKS: tuple[Check, ...] = (
    Check("accelerator_is_documented", ("accelerator",), "It says what it makes faster.", "values"),
    Check("accelerator_needs_no_torch", ("accelerator",), "Importing it imports no torch.", "imports"),
    Check("fingerprint_is_stable", ("accelerator",), "Its code has a digest that does not change.", "values"),
    Check(
        "outputs_and_gradients_are_torchs",
        ("accelerator",),
        "A training step equals torch's but for rounding.",
        _ACCELERATORS,
    ),
    Check("answers_are_torchs", ("accelerator",), "Answers equal torch's but for rounding.", _ACCELERATORS),
    Check("the_model_is_left_as_it_was", ("accelerator",), "Nothing of it is left in a model.", _ACCELERATORS),
    Check(
        "rounds_are_stacked_or_refused",
        ("accelerator",),
        "Rounds trained at once have their own gradients, or it raises CannotBatch.",
        _ACCELERATORS,
    ),
)

TRACKER_CHECKS: tuple[Check, ...] = (
    Check("tracker_is_documented", ("tracker",), "It says what it is and how to install what it needs.", "trackers"),
    Check(
        "importing_needs_no_package",
        ("tracker",),
        "Importing it imports no package of its own and no torch.",
        "imports",
    ),
    Check(
        "tracker_takes_a_whole_run",
        ("tracker",),
        "It takes a run with rounds that finish, diverge and fail, and closes.",
        "trackers",
    ),
    Check("tracker_takes_a_run_that_stops", ("tracker",), "It closes where a run ends half way.", "trackers"),
    Check(
        "tracker_takes_a_run_without_rounds",
        ("tracker",),
        "It takes a run whose rounds are all in the store.",
        "trackers",
    ),
)


def checks_for(recipe: Subject) -> list[Check]:
    """The checks that are for `recipe`: those of its slot, of metrics, of accelerators, or of trackers."""
    if isinstance(recipe, type):
        return list(TRACKER_CHECKS)
    if isinstance(recipe, Accelerator):
        return list(ACCELERATOR_CHECKS)
    slot = "metric" if isinstance(recipe, MetricSpec) else recipe.slot
    return [check for check in CHECKS if slot in check.slots]
