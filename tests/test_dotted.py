"""Optimisers, schedules and transforms of other packages, by their dotted path."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tiny
from conftest import config_of, tiny_config

import pairbench
from pairbench import MismatchError, SpecError
from pairbench.cli import invoke
from pairbench.plugin.dotted import is_dotted
from pairbench.store.record import Context

PAGE = Path(__file__).parents[1] / "docs/how-to/training-parts.md"
SOURCE = PAGE.read_text().partition("```python\n")[2].partition("```")[0]
OTHERS = """
NUMBER = 3


def nothing(*_, **__):
    pass


class Crop(torch.nn.Module):
    def forward(self, image):
        return image[:, :2, :2]
"""
WORDS = [*tiny.SPECS, "train.epochs=2"]
Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """A function that writes the module `my_training`, which can be imported in this test."""
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("my_training", None)

    def write(source: str) -> Path:
        file = tmp_path / "my_training.py"
        file.write_text(source)
        return file

    yield write
    sys.modules.pop("my_training", None)


def run(*words: str, rounds: int = 2) -> pairbench.Results:
    return pairbench.run(*WORDS, f"train.rounds={rounds}", *words, workers=0, timing=False)


@pytest.mark.usefixtures("tiny_registry")
@pytest.mark.parametrize("engine", ["loop", "stacked"])
def test_the_parts_on_the_page_are_short_and_train(write: Write, engine: str) -> None:
    assert sum(1 for line in SOURCE.splitlines() if line.strip()) < 30
    write(SOURCE)
    mine = ["train.optimizer=my_training.SignSGD", "train.schedule=my_training.root", "train.learning_rate=0.01"]
    mine += ["train.transforms=[my_training.Speckle(share=0.5)]", f"train.engine={engine}"]
    results = run(*mine)
    plain = run(f"train.engine={engine}", "train.learning_rate=0.01")
    assert len(results[0].finished) == 2
    assert results[0].values("loss") != plain[0].values("loss")
    assert run(*mine, rounds=3)[0].values("loss").items() >= results[0].values("loss").items()


@pytest.mark.usefixtures("tiny_registry")
def test_sgd_by_its_path_trains_as_by_its_name() -> None:
    named = run("train.optimizer=sgd", "train.optimizer_options=[fused=false]", "train.engine=loop")
    path = run("train.optimizer=torch.optim.SGD", "train.engine=loop")
    assert path[0].values("loss") == pytest.approx(named[0].values("loss"), rel=1e-5)


@pytest.mark.usefixtures("tiny_registry")
def test_the_source_of_the_module_is_part_of_the_key(write: Write) -> None:
    config = tiny_config("train.optimizer=my_training.SignSGD")
    write(SOURCE)
    before = Context.of(config, "data")
    assert before.code["my_training.SignSGD"]["distribution"] == "my_training"
    write(SOURCE + "\n# edited\n")
    assert Context.of(config, "data") != before
    assert Context.of(tiny_config(), "data").code.keys() == {"dataset", "encoder", "head", "loss", "core"}


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (
            ["train.optimizer=no_package.Thing"],
            "there is no module 'no_package'. Install its package, or put its folder",
        ),
        (["train.optimizer=my_training.Thing"], "train.optimizer=my_training.Thing cannot be imported: AttributeError"),
        (["train.optimizer=my_training.NUMBER"], "train.optimizer=my_training.NUMBER is not a class or function"),
        (["train.optimizer=my_training.root"], "my_training.root is no subclass of torch.optim.Optimizer"),
        (["train.optimizer=my_training.nothing"], "my_training.nothing is no subclass of torch.optim.Opt"),
        (["train.schedule=my_training.nothing"], "gave NoneType: expected a scheduler of torch.optim.lr_scheduler"),
        (
            ["train.schedule=my_training.root", "train.schedule_options=[x=1]"],
            "train.schedule=my_training.root rejects",
        ),
        (["train.transforms=[my_training.Speckle(size=1)]"], "got an unexpected keyword argument 'size'"),
        (["train.transforms=[my_training.Crop()]"], "my_training.Crop() turns images (1, 4, 4) into (1, 2, 2)"),
        (["train.transforms=[os.system(command='exit 3')]"], "train.transforms=os.system is no subclass of torch.nn"),
        (["train.transforms=[my_training.Gone()]"], "train.transforms=my_training.Gone cannot be imported"),
    ],
)
@pytest.mark.usefixtures("tiny_registry")
def test_what_cannot_be_used_is_refused_in_a_line_before_training(
    write: Write, capsys: pytest.CaptureFixture[str], words: list[str], reason: str
) -> None:
    write(SOURCE + OTHERS)
    assert invoke(["run", *WORDS, *words, "--workers", "0"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert reason in line


@pytest.mark.usefixtures("tiny_registry")
def test_a_module_that_ends_the_process_when_it_is_imported_is_refused(write: Write) -> None:
    write("raise SystemExit(3)")
    with pytest.raises(MismatchError, match=r"my_training\.X cannot be imported: SystemExit: 3"):
        run("train.optimizer=my_training.X")


def test_only_a_dotted_path_is_one() -> None:
    names = ("a.b", "a.b.C", "adam", "a.", ".a", "a..b", "a.b()")
    assert [name for name in names if is_dotted(name)] == ["a.b", "a.b.C"]
    with pytest.raises(SpecError, match=r"unknown transform 'f\(\)\.g'"):
        config_of("train.transforms=[f().g]")
