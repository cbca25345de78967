"""Checkpoints as people have them: where the backbone is in them, and what is said of the rest."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models

from pairbench import DataError, MismatchError
from pairbench.plugin.notify import heard_by
from pairbench_backbones.encoders import Timm, Torchvision

State = dict[str, Tensor]


def network(seed: int, classes: int = 7) -> nn.Module:
    torch.manual_seed(seed)
    return timm.create_model("test_resnet", num_classes=classes)


@pytest.fixture(scope="module")
def own() -> State:
    return dict(network(1).state_dict())


def below(prefix: str, state: State) -> State:
    return {f"{prefix}{name}": item for name, item in state.items()}


def without_classifier(state: State) -> State:
    return {name: item for name, item in state.items() if not name.startswith("fc.")}


HEAD = {"projector.0.weight": torch.ones(4, 4), "projector.0.bias": torch.ones(4)}
LAYOUTS: dict[str, Callable[[State], Any]] = {
    "backbone": lambda own: below("backbone.", own),
    "backbone beside a projection head": lambda own: below("backbone.", without_classifier(own)) | HEAD,
    "encoder": lambda own: {"state_dict": below("encoder.", own)},
    "encoder_q": lambda own: {"state_dict": below("module.encoder_q.", own) | {"module.queue": torch.ones(2, 2)}},
    "net": lambda own: below("net.", own) | {"loss.weight": torch.ones(3)},
    "lightning": lambda own: {"state_dict": below("model.", own), "epoch": 3, "optimizer_states": [{"state": {}}]},
    "data parallel in lightning": lambda own: {"state_dict": below("model.module.", own)},
    "state_dict twice": lambda own: {"state_dict": {"state_dict": own}},
    "student alone": lambda own: {"student": below("module.backbone.", own)},
    "another number of classes": lambda own: own | {"fc.weight": torch.ones(3, 64), "fc.bias": torch.ones(3)},
    "averaged weights beside the last": lambda own: {
        "state_dict": dict(network(2).state_dict()), "state_dict_ema": own,
    },
    "equal student and teacher": lambda own: {"student": own, "teacher": below("module.", own)},
}  # fmt: skip


def built(path: Path, **options: Any) -> tuple[State, list[str]]:
    """The weights of the encoder that reads `path`, and what it says of the rest."""
    notes: list[str] = []
    with heard_by(note=notes.append):
        module = Timm(model="test_resnet", pretrained=str(path), **options).build((3, 16, 16))
    return {name.removeprefix("net."): item for name, item in module.state_dict().items()}, notes


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_backbone_is_found_wherever_it_is(layout: str, own: State, tmp_path: Path) -> None:
    torch.save(LAYOUTS[layout](own), tmp_path / "weights.pt")
    found, _ = built(tmp_path / "weights.pt")
    assert set(found) == set(without_classifier(own))
    assert all(torch.equal(item, own[name]) for name, item in found.items())


def test_what_is_not_used_is_said_and_a_classifier_goes_without_saying(own: State, tmp_path: Path) -> None:
    torch.save(below("backbone.", own) | HEAD, tmp_path / "weights.pt")
    _, (note,) = built(tmp_path / "weights.pt")
    assert "below 'backbone'" in note
    assert "not used: projector.0.weight, projector.0.bias" in note
    torch.save(own, tmp_path / "plain.pt")
    assert built(tmp_path / "plain.pt")[1] == []


@pytest.mark.parametrize("names", [("student", "teacher"), ("encoder_q", "encoder_k")])
def test_two_parts_that_fit_are_refused_by_name_and_the_option_picks_one(
    names: tuple[str, str], own: State, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pt"
    first, second = names
    torch.save({first: dict(network(2).state_dict()), second: {"module": own}}, path)
    with pytest.raises(MismatchError) as caught:
        built(path)
    assert all(name in str(caught.value) for name in (first, f"{second}.module", "Set encoder.checkpoint_prefix="))
    found, _ = built(path, checkpoint_prefix=f"{second}.module")
    assert all(torch.equal(item, own[name]) for name, item in found.items())


def test_a_prefix_that_is_not_there_names_those_that_are(own: State, tmp_path: Path) -> None:
    torch.save({"student": own}, tmp_path / "weights.pt")
    with pytest.raises(MismatchError, match=r"checkpoint_prefix=teacher: .* no tensor below it\. Choose from student"):
        built(tmp_path / "weights.pt", checkpoint_prefix="teacher")


def test_a_deeper_network_is_not_taken_for_a_shallower_one(tmp_path: Path) -> None:
    torch.save(models.resnet34(num_classes=3).state_dict(), tmp_path / "deeper.pt")
    with pytest.raises(MismatchError, match=r"is not one of 'resnet18': unknown layer1\.2"):
        Torchvision(model="resnet18", pretrained=str(tmp_path / "deeper.pt")).build((3, 32, 32))


def test_the_part_of_a_torchvision_network_is_found_too(tmp_path: Path) -> None:
    net = models.resnet18(num_classes=3)
    torch.save({"model": below("backbone.", dict(net.state_dict())) | HEAD}, tmp_path / "weights.pt")
    module = Torchvision(model="resnet18", pretrained=str(tmp_path / "weights.pt")).build((3, 32, 32))
    assert torch.equal(module.state_dict()["net.layer4.1.conv2.weight"], net.state_dict()["layer4.1.conv2.weight"])


def test_safetensors_are_read_whatever_the_file_is_called(own: State, tmp_path: Path) -> None:
    save_file(own, tmp_path / "weights.safetensors")
    shutil.move(tmp_path / "weights.safetensors", tmp_path / "pytorch_model.bin")
    found, _ = built(tmp_path / "pytorch_model.bin")
    assert all(torch.equal(item, own[name]) for name, item in found.items())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<!DOCTYPE html>\n<html>404</html>", "it is a web page, not weights"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 5\n", "it is a Git LFS pointer"),
    ],
)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".bin"])
def test_what_was_downloaded_in_place_of_weights_is_named(
    content: bytes, said: str, suffix: str, tmp_path: Path
) -> None:
    file = tmp_path / f"weights{suffix}"
    file.write_bytes(content)
    with pytest.raises(DataError, match=said):
        built(file)
