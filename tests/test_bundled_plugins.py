"""Every component that pairbench brings keeps every rule of the conformance kit."""

from __future__ import annotations

from typing import Any

import pytest
from pictures import conformance_folder
from sets import torchvision_folder

from pairbench.plugin.components import Component
from pairbench.plugin.registry import installed
from pairbench.testing import conformance

# A second recipe of each component, away from its defaults; small, where the default is large.
VARIANTS: dict[str, tuple[dict[str, Any], ...]] = {
    "mnist_pairs": ({"size": 28, "train_pairs": 20, "validation_pairs": 10, "test_pairs": 10},),
    "csv": (
        {"path": f"{conformance_folder()}/same.csv", "image_size": 8, "num_classes": 3},
        {
            "path": f"{conformance_folder()}/votes.csv",
            "task": "preference",
            "image_size": (8, 6),
            "color": "gray",
            "resize": "pad",
            "train_pairs": 5,
        },
    ),
    "image_folder": (
        {"path": f"{conformance_folder()}/classes", "image_size": 8, "train_pairs": 20},
        {"path": f"{conformance_folder()}/classes", "task": "ordering", "color": "gray", "num_classes": 3},
    ),
    "bapps": (
        {"path": f"{conformance_folder()}/bapps", "image_size": 8, "validation_share": 0.3},
        {"path": f"{conformance_folder()}/bapps/2afc", "image_size": 8, "train_subsets": ("cnn",)},
    ),
    "nights": ({"path": f"{conformance_folder()}/nights", "image_size": 8},),
    "digit_pairs": ({"size": 28, "task": "preference", "train_pairs": 20, "test_pairs": 10}, {"task": "ordering"}),
    "dataset=torchvision": (
        {"source": "FashionMNIST", "root": torchvision_folder(), "train_pairs": 30, "test_pairs": 20},
        {"source": "FashionMNIST", "root": torchvision_folder(), "task": "ordering", "image_size": 8},
    ),
    "lfw_pairs": ({"root": torchvision_folder(), "image_size": 8},),
    "photo_tour": ({"root": torchvision_folder(), "train_pairs": 20, "test_pairs": 10},),
    "omniglot": ({"root": torchvision_folder(), "image_size": 12, "train_pairs": 20, "test_pairs": 10},),
    "mlp": ({"hidden": (8, 8), "embedding_dim": None, "bias": False},),
    "cnn": ({"channels": (4,), "embedding_dim": None},),
    "pooled_cnn": ({"kernel_size": 3, "dropout": 0.0},),
    "elman_rnn": ({"hidden": 8, "bias": True},),
    "deep_cnn": ({"channels": (4, 8), "batch_norm": (1, 2), "dropout": ()},),
    "concat_linear": ({"bias": False},),
    "concat_mlp": ({"hidden": (8,), "bias": False},),
    "timm": (
        {"model": "test_resnet", "embedding_dim": 8, "image_size": 32},
        {"model": "test_vit", "pool": "avg", "image_size": 32, "frozen": True},
    ),
    "torchvision": ({"model": "shufflenet_v2_x0_5", "embedding_dim": 8, "frozen": True},),
    "triplet": ({"margin": 0.1},),
    "margin": ({"margin": 0.0},),
    "metric": ({"name": "ProxyAnchorLoss", "answer_weight": 0.5},),
    "aux": ({"classifier": "linear", "weights": (0.0, 0.5, 1.0)},),
}


def bundled() -> list[type[Component]]:
    """The component classes of the distribution pairbench itself."""
    claims = [claim for known in installed().components.values() for found in known.values() for claim in found]
    return [claim.component for claim in claims if claim.origin.distribution == "pairbench"]


def recipes() -> list[Component]:
    """Each bundled component as it comes, and its variants."""
    found = []
    for kind in bundled():
        if not any(field.is_required() for field in kind.model_fields.values()):
            found.append(kind())
        found += [kind(**options) for options in VARIANTS.get(f"{kind.slot}={kind.name}", VARIANTS.get(kind.name, ()))]
    return found


# pytorch-metric-learning picks rows by masks, whose number vmap cannot know.
UNSTACKABLE = {"metric"}
test_bundled = conformance(*(recipe for recipe in recipes() if recipe.name not in UNSTACKABLE))
test_unstackable = conformance(
    *(recipe for recipe in recipes() if recipe.name in UNSTACKABLE),
    expected_failures={"stacked_rounds_equal_separate_ones": "masks of unknown size under vmap"},
)


def test_every_bundled_component_is_checked() -> None:
    assert {type(recipe) for recipe in recipes()} == set(bundled())


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_names_a_bundled_component(name: str) -> None:
    assert (name.partition("=")[2] or name) in {kind.name for kind in bundled()}
