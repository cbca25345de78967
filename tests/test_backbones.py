"""Backbones of timm and torchvision: channels, size, scale, weights from files, and what is refused."""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from conftest import config_of, simulated_record
from safetensors.torch import save_file
from torch import Tensor, nn

from pairbench.cli import invoke
from pairbench.config.run_config import RunConfig
from pairbench.errors import DataError, MismatchError, SpecError
from pairbench.store.record import Context, misshapen
from pairbench.store.store import Store
from pairbench_backbones.encoders import Timm, Torchvision

MEAN, DEVIATION = 0.5, 0.5  # what timm's config of test_resnet says


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    """A small network of timm with a classifier, as a training script would leave it."""
    torch.manual_seed(1)
    return timm.create_model("test_resnet", num_classes=7).eval()


@pytest.fixture(scope="module")
def checkpoint(trained: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("weights") / "trained.safetensors"
    save_file(trained.state_dict(), path)
    return str(path)


def features(trained: nn.Module, images: Tensor) -> Tensor:
    found: Tensor = trained.forward_head(trained.forward_features(images), pre_logits=True)  # type: ignore[operator]
    return found


@torch.no_grad()
def test_a_local_checkpoint_gives_the_features_of_the_network_that_it_was_saved_from(
    trained: nn.Module, checkpoint: str
) -> None:
    images = torch.rand(2, 3, 40, 40)
    module = Timm(model="test_resnet", pretrained=checkpoint).build((3, 40, 40)).eval()
    assert torch.equal(module(images), features(trained, (images - MEAN) / DEVIATION))


@torch.no_grad()
def test_gray_images_are_repeated_and_resized_inside(trained: nn.Module, checkpoint: str) -> None:
    images = torch.rand(2, 1, 10, 10)
    module = Timm(model="test_resnet", pretrained=checkpoint, image_size=40).build((1, 10, 10)).eval()
    large = nn.functional.interpolate(images, (40, 40), mode="bilinear").expand(-1, 3, -1, -1)
    torch.testing.assert_close(module(images), features(trained, (large - MEAN) / DEVIATION))


@torch.no_grad()
def test_large_images_are_smoothed_when_they_shrink() -> None:
    torch.manual_seed(0)
    module = Timm(model="test_resnet", image_size=8).build((1, 64, 64)).eval()
    stripes = torch.zeros(1, 1, 64, 64)
    stripes[..., ::2] = 1.0
    torch.testing.assert_close(module(stripes), module(torch.full((1, 1, 64, 64), 0.5)), atol=0.02, rtol=0.1)


@torch.no_grad()
def test_new_weights_take_images_as_they_are_scaled(trained: nn.Module) -> None:
    torch.manual_seed(3)
    module = Timm(model="test_resnet").build((6, 13, 13)).eval()
    torch.manual_seed(3)
    net = timm.create_model("test_resnet", num_classes=0, in_chans=6).eval()
    images = torch.rand(2, 6, 13, 13)
    assert torch.equal(module(images), net(images))


def test_a_network_that_sees_in_colour_alone_gets_gray_repeated() -> None:
    module = Timm(model="csatv2").build((1, 28, 28))
    assert module(torch.rand(2, 1, 28, 28)).shape == (2, 386)


def test_a_network_of_fixed_size_takes_its_own() -> None:
    module = Timm(model="test_vit").build((1, 28, 28))
    assert module.size == (160, 160)


def test_a_network_of_fixed_size_is_made_for_the_size_that_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "vit.pt"
    torch.save(timm.create_model("test_vit", num_classes=3).state_dict(), path)
    module = Timm(model="test_vit", pretrained=str(path), image_size=64).build((3, 28, 28))
    assert module(torch.rand(2, 3, 28, 28)).shape == (2, 64)


@pytest.mark.parametrize("wrap", ["state_dict", "model", "state_dict_ema"])
def test_wrappers_and_prefixes_of_training_scripts_are_taken_off(
    wrap: str, trained: nn.Module, checkpoint: str, tmp_path: Path
) -> None:
    path = tmp_path / "wrapped.pth"
    torch.save({wrap: {f"module.{name}": item for name, item in trained.state_dict().items()}, "epoch": 3}, path)
    wrapped = Timm(model="test_resnet", pretrained=str(path)).build((3, 16, 16)).state_dict()
    plain = Timm(model="test_resnet", pretrained=checkpoint).build((3, 16, 16)).state_dict()
    assert all(torch.equal(wrapped[name], item) for name, item in plain.items())


def test_a_frozen_backbone_has_no_gradients_and_its_linear_layer_has() -> None:
    module = Timm(model="test_resnet", frozen=True, embedding_dim=4).build((1, 16, 16))
    assert {name for name, item in module.named_parameters() if item.requires_grad} == {"1.weight", "1.bias"}


def test_torchvision_weights_come_from_a_file_too(tmp_path: Path) -> None:
    from torchvision import models

    path = tmp_path / "net.pth"
    net = models.shufflenet_v2_x0_5(num_classes=5).eval()
    torch.save(net.state_dict(), path)
    module = Torchvision(model="shufflenet_v2_x0_5", pretrained=str(path)).build((3, 32, 32)).eval()
    net.fc = nn.Identity()
    images = torch.rand(2, 3, 32, 32)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    scaled = (images - mean.view(-1, 1, 1)) / deviation.view(-1, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(module(images), net(scaled))


@pytest.mark.parametrize(("kind", "model"), [(Timm, "test_resnet"), (Torchvision, "googlenet")])
def test_a_rebuilt_network_has_the_tensors_of_the_first_and_reads_no_file(
    kind: Any, model: str, tmp_path: Path
) -> None:
    from torchvision import models

    if kind is Timm:
        made = timm.create_model(model, num_classes=3)
    else:
        made = models.get_model(model, num_classes=3, init_weights=False)
    path = tmp_path / "net.pth"
    torch.save(made.state_dict(), path)
    recipe = kind(model=model, pretrained=str(path))
    first = recipe.build((3, 32, 32))
    path.unlink()
    second = recipe.rebuild((3, 32, 32))
    second.load_state_dict(first.state_dict())
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(second.eval()(images), first.eval()(images))


class Harmful:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return (Path.touch, (self.target,))


def broken(kind: str, folder: Path) -> Path:
    """A file that is no checkpoint."""
    path = folder / ("weights.safetensors" if "safetensors" in kind else "weights.pt")
    if kind == "code":
        torch.save({"weight": Harmful(folder / "owned")}, path)
    elif kind == "pickled code":
        path.write_bytes(pickle.dumps(Harmful(folder / "owned")))
    elif kind == "cut":
        torch.save({"weight": torch.zeros(4000)}, path)
        path.write_bytes(path.read_bytes()[:5000])
    elif kind == "cut safetensors":
        save_file({"weight": torch.zeros(4000)}, path)
        path.write_bytes(path.read_bytes()[:5000])
    elif kind == "no tensors":
        torch.save({"epoch": 3}, path)
    elif kind == "inside itself":
        content: dict[str, Any] = {}
        content["state_dict"] = content
        torch.save(content, path)
    elif kind == "bomb":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", bytes(2**25))
    elif kind == "empty":
        path.touch()
    return path


BROKEN = ("missing", "code", "pickled code", "cut", "cut safetensors", "no tensors", "empty", "empty safetensors")


@pytest.mark.parametrize("kind", [*BROKEN, "inside itself", "bomb"])
def test_a_bad_checkpoint_is_one_line(kind: str, tmp_path: Path) -> None:
    path = broken(kind, tmp_path)
    if kind == "empty safetensors":
        path.touch()
    with pytest.raises(DataError) as caught:
        Timm(model="test_resnet", pretrained=str(path)).build((3, 16, 16))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert not (tmp_path / "owned").exists()
    assert ("would unpack to 32 MiB" in str(caught.value)) == (kind == "bomb")


@pytest.mark.parametrize("kind", [Timm, Torchvision])
def test_a_checkpoint_of_another_network_is_refused(kind: Any, checkpoint: str) -> None:
    model = {"timm": "test_convnext", "torchvision": "resnet18"}[kind.name]
    with pytest.raises(MismatchError, match=f"is not one of '{model}': missing .*; unknown .*"):
        kind(model=model, pretrained=checkpoint).build((3, 16, 16))


@pytest.mark.parametrize(("kind", "wrong"), [(Timm, "resnet81"), (Timm, "resnet18.a9_in1k"), (Torchvision, "resnet19")])
def test_an_unknown_model_suggests_the_nearest_names(kind: Any, wrong: str) -> None:
    with pytest.raises(SpecError, match=r"no such model\. Did you mean 'resnet18"):
        kind(model=wrong).build((3, 16, 16))


@pytest.mark.parametrize("kind", [Timm, Torchvision])
def test_stacked_images_are_refused_where_weights_are_given(kind: Any, checkpoint: str) -> None:
    with pytest.raises(MismatchError, match="images of 1 or 3 channels, got 6"):
        kind(pretrained=checkpoint).build((6, 16, 16))


def test_a_pooling_that_the_model_does_not_have_is_refused() -> None:
    with pytest.raises(MismatchError, match=r"cannot be built with pool=token.* Set encoder\.pool=none"):
        Timm(model="test_resnet", pool="token").build((1, 16, 16))


def test_given_weights_need_images_in_unit_scale(checkpoint: str) -> None:
    with pytest.raises(MismatchError, match=r"Set train\.normalize=unit"):
        config_of("encoder=timm", f"encoder.pretrained={checkpoint}", "train.normalize=standard")


def pretrained_config(pretrained: str) -> RunConfig:
    return config_of("encoder=timm", "encoder.model=test_resnet", f"encoder.pretrained={pretrained}")


def test_other_weights_in_the_same_file_are_another_context(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    config = config_of("encoder=timm", "encoder.model=test_resnet", f"encoder.pretrained={path}")
    contexts = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        path.unlink(missing_ok=True)
        save_file(timm.create_model("test_resnet").state_dict(), path)
        contexts.append(Context.of(config, "data"))
    assert contexts[0].code["encoder"]["weights"] != contexts[1].code["encoder"]["weights"]
    assert contexts[0].code["head"] == contexts[1].code["head"]


def test_weights_count_by_their_content_and_not_by_where_they_lie(checkpoint: str, tmp_path: Path) -> None:
    moved, other = tmp_path / "moved.safetensors", tmp_path / "other.safetensors"
    shutil.copy(checkpoint, moved)
    save_file(timm.create_model("test_resnet").state_dict(), other)
    found = {place: pretrained_config(place) for place in (checkpoint, str(moved), str(other), "false", "true")}
    ids = {place: config.config_id for place, config in found.items()}
    assert ids[checkpoint] == ids[str(moved)]
    assert len(set(ids.values())) == 4
    assert "encoder.pretrained" in found[checkpoint].locations()
    assert "encoder.pretrained" not in found["false"].locations()


def test_a_file_that_is_replaced_is_another_config(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), path)
    config = pretrained_config(str(path))
    before = config.config_id
    path.unlink()
    save_file(timm.create_model("test_resnet", num_classes=3).state_dict(), path)
    assert config.config_id != before


def test_the_record_of_a_checkpoint_is_sound_and_names_its_digest(checkpoint: str, store: Store) -> None:
    config = pretrained_config(checkpoint)
    context = Context.of(config, "data")
    record = simulated_record(config, 0, context=context)
    store.write(record)
    scan = store.read()
    assert not scan.damaged
    assert scan.records[0]["provenance"]["code"]["encoder"]["weights"] == config.weights() != ""
    lying = record | {"config_id": pretrained_config("false").config_id}
    assert misshapen(lying) == "config"


@pytest.mark.parametrize("kind", [Timm, Torchvision])
def test_without_a_network_a_download_ends_in_one_line(
    kind: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from pairbench_backbones import downloads

    def refuse(*arguments: Any, **options: Any) -> Any:
        raise OSError("no network")

    monkeypatch.setattr("socket.create_connection", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    downloads.reachable.cache_clear()
    model = {"timm": "test_resnet", "torchvision": "shufflenet_v2_x0_5"}[kind.name]
    with pytest.raises(DataError, match=r"cannot be reached\. Connect and try again, or set encoder\.pretrained"):
        kind(model=model, pretrained=True).build((3, 16, 16))
    downloads.reachable.cache_clear()


@pytest.mark.parametrize(
    ("encoder", "pattern", "some"), [("timm", "resnet10?", "resnet10t"), ("torchvision", "net18", "resnet18")]
)
def test_a_pattern_finds_the_models_of_a_zoo(
    encoder: str, pattern: str, some: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["list", "--encoder", encoder, pattern, "--format", "json"]) == 0
    assert {"name": some, "pretrained": True} in json.loads(capsys.readouterr().out)["models"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["timm", "resnet81"], "no model of encoder 'timm' matches 'resnet81'. Did you mean 'resnet"),
        (["tim"], "Did you mean 'timm'?"),
        (["cnn"], "encoder 'cnn' is one network"),
    ],
)
def test_a_list_of_models_that_there_is_not_is_one_line(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert invoke(["list", "--encoder", *arguments]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
