"""Promise 7 with real files: what a result depends on is changed where it lies, and every round is trained anew."""

from __future__ import annotations

import importlib
import itertools
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import attack
import pytest
from pictures import class_folders, pairs_of_classes, picture

import pairbench
from pairbench.plugin import registry as registry_room
from pairbench.store.store import Store

ROUNDS = 2
Ask = Callable[..., int]
WORDS = ("encoder=mlp", "loss=cross_entropy", f"train.rounds={ROUNDS}", "train.epochs=1", "train.device=cpu")


@pytest.fixture
def ask(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ask]:
    """A function that runs words and counts the rounds that had to be trained; in fresh processes where asked."""
    counts = list[int]()
    root, fresh, folder = tmp_path / "records", getattr(request, "param", False), tmp_path / "plugin"
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def asked(*words: str) -> int:
        before = len(Store(root).read().records)
        if fresh:
            environment = {"PYTHONPATH": f"{folder}:{attack.TESTS}", "PYTHONDONTWRITEBYTECODE": "1"}
            rest = ("--no-timing", "-q", "--workers", 0, "--store", root)
            done = attack.finish("run", *words, *rest, environment=environment)
            assert done.returncode == 0, done.stderr
        else:
            forget(folder)
            results = pairbench.run(*words, store=root, workers=0, timing=False)
            assert len(results[0].finished) == ROUNDS
        counts.append(len(Store(root).read().records) - before)
        return counts[-1]

    yield asked
    forget(folder)
    changed, same = sum(count > 0 for count in counts), counts.count(0)
    print(
        f"\n{changed} commands of something else: {sum(counts)} of {ROUNDS * changed} rounds trained; "
        f"{same} of the same: 0"
    )


def forget(folder: Path) -> None:
    """Let the next look at the plugins be the first, as in a fresh process."""
    importlib.invalidate_caches()
    registry_room.installed.cache_clear()
    registry_room.source_hash.cache_clear()
    for name, module in list(sys.modules.items()):
        if folder in Path(getattr(module, "__file__", None) or "/").parents:
            del sys.modules[name]


both = pytest.mark.parametrize("ask", [False, pytest.param(True, marks=pytest.mark.slow)], indirect=True)


@both
def test_other_bytes_in_a_list_or_its_images_are_missed_and_the_same_ones_elsewhere_are_not(
    ask: Ask, tmp_path: Path
) -> None:
    listing = pairs_of_classes(tmp_path / "set")
    words = ("dataset=csv", f"dataset.path={listing}", "dataset.image_size=4", "head=absolute_difference", *WORDS)
    assert ask(*words) == ROUNDS
    assert ask(*words) == 0
    text, image = listing.read_bytes(), tmp_path / "set" / "images" / "7-a.png"
    whole = image.read_bytes()
    picture(image, 99_999)
    assert ask(*words) == ROUNDS
    image.write_bytes(whole + b"\0")
    assert ask(*words) == ROUNDS
    listing.write_bytes(text.replace(b"images/1-a.png,images/1-b.png,1", b"images/1-a.png,images/1-b.png,0"))
    image.write_bytes(whole)
    assert listing.read_bytes() != text
    assert ask(*words) == ROUNDS
    # What was there before is there again, under another name and beside a file that no row names.
    listing.write_bytes(text)
    picture(tmp_path / "set" / "images" / "unlisted.png", 5)
    moved = (tmp_path / "set").rename(tmp_path / "moved set")
    assert ask(*(word.replace(str(listing), str(moved / listing.name)) for word in words)) == 0


@both
def test_another_image_or_a_name_or_a_missing_one_in_class_folders_is_missed(ask: Ask, tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "set")
    pairs = ("dataset.train_pairs=20", "dataset.validation_pairs=10", "dataset.test_pairs=10")
    words = ("dataset=image_folder", f"dataset.path={folder}", "dataset.image_size=4", *pairs, *WORDS)
    assert ask(*words) == ROUNDS
    image = folder / "class 2" / "3.png"
    whole = image.read_bytes()
    picture(image, 99_999)
    assert ask(*words) == ROUNDS
    image.unlink()
    assert ask(*words) == ROUNDS
    image.write_bytes(whole)
    picture(folder / "class 2" / "more.png", 88_888)
    assert ask(*words) == ROUNDS
    (folder / "class 2" / "more.png").rename(folder / "class 10" / "more.png")
    assert ask(*words) == ROUNDS
    (folder / "class 10" / "more.png").unlink()
    shutil.copytree(folder, tmp_path / "copy")
    assert ask(*(word.replace(str(folder), str(tmp_path / "copy")) for word in words)) == 0


PLUGIN = '''
    import pairbench
    from changing.parts import linear
    from tiny import TinyHead, TinyLoss, TinyPairs

    class Changing(pairbench.Encoder):
        """One layer.

        width: of the layer.
        """
        name = "changing"
        width: int = 3

        def build(self, image_shape):
            return linear(self.width)

    @pairbench.hookimpl
    def pairbench_components():
        return [TinyPairs, TinyHead, TinyLoss, Changing]
'''
PARTS = """
from torch import nn

def linear(width):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(width))
"""


def plant(folder: Path, source: str = PLUGIN, parts: str = PARTS, version: str = "1.0") -> None:
    """The plugin with this content and version, and no other."""
    shutil.rmtree(folder, ignore_errors=True)
    attack.install(folder, name="changing")
    (folder / "changing_plugin.py").unlink()
    (folder / "changing").mkdir()
    (folder / "changing" / "__init__.py").write_text(attack.textwrap.dedent(source))
    (folder / "changing" / "parts.py").write_text(parts)
    info = (folder / "changing-1.0.dist-info").rename(folder / f"changing-{version}.dist-info")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: changing\nVersion: {version}\n")
    (info / "entry_points.txt").write_text("[pairbench]\nchanging = changing\n")


@both
def test_another_version_source_or_default_of_a_plugin_is_missed(ask: Ask, tmp_path: Path) -> None:
    folder = tmp_path / "plugin"
    words = ("dataset=tiny_pairs", "encoder=changing", "head=tiny_head", "loss=tiny_loss", *WORDS[2:])
    plant(folder)
    assert ask(*words) == ROUNDS
    plant(folder)
    assert ask(*words) == 0
    plant(folder, version="1.0.1")
    assert ask(*words) == ROUNDS
    plant(folder, parts=PARTS + "\n# a remark\n")
    assert ask(*words) == ROUNDS
    plant(folder, source=PLUGIN.replace("width: int = 3", "width: int = 4"))
    assert ask(*words) == ROUNDS
    # Also where the default is not the value that is used, since the source is another.
    assert ask(*words, "encoder.width=3") == ROUNDS
    plant(folder)
    assert ask(*words, "encoder.width=3") == 0


@both
def test_another_option_or_seed_is_missed_and_another_order_is_not(ask: Ask, tmp_path: Path) -> None:
    plant(tmp_path / "plugin")
    words = ["dataset=tiny_pairs", "encoder=changing", "head=tiny_head", "loss=tiny_loss", *WORDS[2:]]
    assert ask(*words) == ROUNDS
    changes = (
        "dataset.pairs=13",
        "encoder.width=5",
        "head.bias=false",
        "loss.weight=2.0",
        "train.seed=1",
        "train.epochs=2",
        "train.batch_size=5",
        "train.optimizer=sgd",
        "train.schedule=constant",
    )
    for change in changes:
        name = change.partition("=")[0]
        assert ask(*(word for word in words if not word.startswith(f"{name}=")), change) == ROUNDS, change
    choose = random.Random(0)
    for _ in range(5):
        choose.shuffle(words)
        assert ask(*words) == 0
    # Written out, the defaults are the same config.
    assert ask(*words, "encoder.width=3", "train.seed=0", "dataset.pairs=12") == 0
    assert ask(*itertools.chain(reversed(words), ["loss.weight=1.0"])) == 0
