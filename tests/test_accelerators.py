"""Accelerators: how one is found, used, named in records, timed, and done without."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import config_of
from torch import nn

import pairbench
from pairbench.config.train_options import TrainOptions
from pairbench.execution.time_configs import document, modes_of, side_by_side
from pairbench.model.pair_model import PairModel, build_model
from pairbench.plugin.code_digest import digest_of_code, without_comments
from pairbench.plugin.registry import installed
from pairbench.testing import CHECKS
from pairbench.testing.kit import examine
from pairbench.training import acceleration

CPU = torch.device("cpu")
SMALL = ("dataset.train_pairs=40", "dataset.validation_pairs=20", "dataset.test_pairs=20", "train.epochs=1")
PLUGIN = """
from contextlib import contextmanager

import pairbench


class Counting(pairbench.Accelerator):
    \"\"\"Linear layers, as torch computes them.\"\"\"

    name = "counting"

    def suits(self, model, device, precision):
        from torch import nn

        {suits}
        return not any(isinstance(part, nn.Conv2d) for part in model.modules())

    @contextmanager
    def applied(self, model, device, precision):
        yield{comment}

    def unavailable(self):
        return {unavailable!r}


@pairbench.hookimpl
def pairbench_accelerators():
    return [Counting()]
"""


def source(suits: str = "pass", comment: str = "", unavailable: str = "") -> str:
    return PLUGIN.format(suits=suits, comment=comment, unavailable=unavailable)


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    acceleration.usable.cache_clear()
    yield
    acceleration.usable.cache_clear()


def ran(*words: str, rounds: int = 1) -> pairbench.Results:
    return pairbench.run(*SMALL, f"train.rounds={rounds}", *words, workers=0, timing=False)


def accelerators_in(results: pairbench.Results) -> list[list[str]]:
    records = [record for item in results for record in item.records]
    return [sorted(record["provenance"].get("accelerators", {})) for record in records]


def test_a_round_names_the_accelerators_that_computed_it(install_plugin: Any) -> None:
    install_plugin("counting", source(), value="counting")
    assert accelerators_in(ran("encoder=mlp")) == [["counting"]]
    assert "counting" not in accelerators_in(ran("encoder=cnn"))[0], "it does not suit convolutions"
    assert accelerators_in(ran("encoder=mlp", "train.engine=stacked", rounds=2)) == [["counting"]] * 2


def test_a_change_of_its_code_trains_again_what_it_computed_and_nothing_else(install_plugin: Any) -> None:
    trained: list[str] = []

    def run() -> list[str]:
        acceleration.usable.cache_clear()
        before = stamps()
        ran("encoder=mlp,cnn", rounds=2)
        after = stamps()
        trained[:] = sorted(name for name, stamp in after.items() if before.get(name) != stamp)
        return [name.split("/")[0] for name in trained]

    def stamps() -> dict[str, int]:
        root = pairbench.leaderboard().store
        return {f"{path.parent.name}/{path.name}": path.stat().st_mtime_ns for path in root.rglob("*.json")}

    def edit(**parts: str) -> None:
        digest_of_code.cache_clear()
        install_plugin("counting", source(**parts), value="counting")

    mlp, cnn = (config_of(*SMALL, f"encoder={name}").config_id for name in ("mlp", "cnn"))
    edit()
    assert sorted(run()) == sorted([mlp, mlp, cnn, cnn])
    assert run() == []
    edit(comment="  # nothing of the sort")
    assert run() == [], "a comment changes nothing"
    edit(suits="assert model is not None")
    assert run() == [mlp, mlp]
    assert len(pairbench.leaderboard()) == 2
    assert run() == []


def test_rounds_stay_valid_when_the_accelerator_is_removed(
    install_plugin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_plugin("counting", source(), value="counting")
    first = ran("encoder=mlp")
    monkeypatch.setenv("PAIRBENCH_PLUGINS", "-counting")
    installed.cache_clear()
    acceleration.usable.cache_clear()
    assert "counting" not in installed().accelerators
    assert ran("encoder=mlp")[0].records == first[0].records


@pytest.mark.parametrize(
    ("parts", "note"),
    [
        ({"suits": "raise OSError('no such [chip]')"}, "accelerator 'counting' is not used: OSError: no such [chip]"),
        ({"unavailable": "it needs a chip"}, ""),
    ],
)
def test_one_that_fails_or_is_unavailable_is_not_used(install_plugin: Any, parts: dict[str, str], note: str) -> None:
    install_plugin("counting", source(**parts), value="counting")
    results = ran("encoder=mlp")
    assert accelerators_in(results) == [[]]
    assert [text for text in results.notes if "accelerator" in text] == ([note] if note else [])


@pytest.mark.parametrize(("choice", "used"), [("off", []), (" counting ,", ["counting"]), ("", ["counting"])])
def test_a_variable_chooses_them(
    install_plugin: Any, monkeypatch: pytest.MonkeyPatch, choice: str, used: list[str]
) -> None:
    install_plugin("counting", source(), value="counting")
    monkeypatch.setenv("PAIRBENCH_ACCELERATORS", choice)
    assert accelerators_in(ran("encoder=mlp")) == [used]


def test_a_variable_that_names_none_is_refused_in_a_line(install_plugin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    install_plugin("counting", source(), value="counting")
    monkeypatch.setenv("PAIRBENCH_ACCELERATORS", "countng")
    message = "PAIRBENCH_ACCELERATORS='countng': no such accelerator is installed. Did you mean 'counting'?"
    for call in (lambda: ran("encoder=mlp"), lambda: side_by_side(["encoder=mlp"])):
        with pytest.raises(pairbench.SpecError, match=re.escape(message)):
            call()


def test_torch_compile_goes_without_accelerators(install_plugin: Any) -> None:
    install_plugin("counting", source(), value="counting")
    model = build_model(config_of("encoder=mlp"))
    assert "counting" in acceleration.suitable(model, TrainOptions(), CPU)
    assert acceleration.suitable(model, TrainOptions(compile="on"), CPU) == {}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("[pairbench.Accelerator]", "pairbench_accelerators gave .*: expected pairbench.Accelerator instances"),
        ("[type('Nameless', (Counting,), {'name': ''})()]", "Nameless.name is ''"),
        ("[Counting(), Counting()]", "has accelerator 'counting' twice"),
    ],
)
def test_what_is_no_accelerator_is_refused(install_plugin: Any, body: str, reason: str) -> None:
    install_plugin("counting", source().replace("[Counting()]", body), value="counting")
    (failure,) = installed().failures
    assert re.search(reason, failure.reason), failure.reason
    assert "counting" not in installed().accelerators


def test_two_of_one_name_are_told_apart_by_their_distribution(install_plugin: Any) -> None:
    install_plugin("counting", source(), value="counting", distribution="one")
    install_plugin("other", source(), value="other", distribution="two")
    assert {"one:counting", "two:counting"} <= set(installed().accelerators)


# Timing.


def test_the_first_speed_is_torchs_and_the_accelerated_one_stands_beside_it(
    install_plugin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = "import time; time.sleep(0.02)\n        yield"
    file = install_plugin("counting", source().replace("        yield", f"        {slow}"), value="counting")
    # Timings are taken in a worker process.
    monkeypatch.setenv("PYTHONPATH", str(file.parent))
    found = side_by_side(["encoder=mlp"], repeats=3, modes=modes_of("counting"))
    timing = found["results"][0]["timing"]
    assert timing["schema"] == 3
    assert timing["accelerated"]["by"] == ["counting"]
    assert timing["accelerated"]["training_pairs_per_second"]["batch_size"] == 64
    assert timing["modes"]["counting"]["largest_difference"] == 0
    text = str(document(found))
    assert "accelerated: training with counting; all other figures are those of plain torch" in " ".join(text.split())


def test_an_accelerator_is_no_mode_where_it_is_not_installed() -> None:
    with pytest.raises(pairbench.SpecError, match="unknown mode 'counting'"):
        modes_of("counting")


# The digest of its code.


def test_a_digest_covers_what_is_imported_from_the_same_package_and_no_comment(tmp_path: Path) -> None:
    package = tmp_path / "fast"
    package.mkdir()
    for name, text in {
        "__init__": "",
        "main": "import json\nfrom fast import kernels\n\ndef late():\n    from fast.deep import far\n",
        "kernels": "SIZE = 3\n",
        "deep": "from .kernels import SIZE\nfar = SIZE\n",
        "aside": "UNUSED = 1\n",
    }.items():
        (package / f"{name}.py").write_text(text)

    def digest() -> str:
        digest_of_code.cache_clear()
        return digest_of_code(package / "main.py")

    first = digest()
    (package / "kernels.py").write_text("# How large.\n\nSIZE = 3  # pixels\n")
    (package / "aside.py").write_text("UNUSED = 2\n")
    assert digest() == first
    (package / "kernels.py").write_text("SIZE = 4\n")
    second = digest()
    (package / "deep.py").write_text("from .kernels import SIZE\nfar = SIZE + 1\n")
    assert len({first, second, digest()}) == 3


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("x = 1  # one\n\n# two\n", "x = 1"),
        ("x = '# no comment'\n", "x = '# no comment'"),
        ('"""\n# text\n"""\n', '"""\n# text\n"""'),
        ("x = (", "x = ("),
    ],
)
def test_comments_are_cut_at_the_tokens(source: str, code: str) -> None:
    assert without_comments(source).strip() == code


# The conformance kit.


class Doubling(pairbench.Accelerator):
    """Doubles what linear layers give."""

    name = "doubling"

    def suits(self, model: nn.Module, device: torch.device, precision: str) -> bool:
        return True

    @contextmanager
    def applied(self, model: nn.Module, device: torch.device, precision: str) -> Iterator[None]:
        hooks = [
            part.register_forward_hook(lambda part, images, answer: 2 * answer)
            for part in model.modules()
            if isinstance(part, nn.Linear)
        ]
        yield
        for hook in hooks:
            hook.remove()


class Untidy(pairbench.Accelerator):
    """Leaves an attribute behind."""

    name = "untidy"

    def suits(self, model: nn.Module, device: torch.device, precision: str) -> bool:
        return isinstance(model, PairModel)

    @contextmanager
    def applied(self, model: nn.Module, device: torch.device, precision: str) -> Iterator[None]:
        model.seen = True  # type: ignore[assignment]
        yield

    def fingerprint(self) -> str:
        return ""


class Undescribed(Untidy):
    name = "undescribed"


def failed(accelerator: pairbench.Accelerator) -> set[str]:
    return {finding.check for finding in examine(accelerator) if finding.result == "failed"}


def test_the_kit_finds_wrong_figures_and_what_is_left_behind() -> None:
    wrong = {"outputs_and_gradients_are_torchs", "answers_are_torchs", "rounds_are_stacked_or_refused"}
    # This file imports torch.
    left = {"the_model_is_left_as_it_was", "accelerator_needs_no_torch"}
    assert failed(Doubling()) == wrong | left
    assert failed(Untidy()) == left | {"fingerprint_is_stable"}
    assert "accelerator_is_documented" in failed(Undescribed())
    found = wrong | left | {"fingerprint_is_stable", "accelerator_is_documented"}
    assert found == {check.name for check in CHECKS if check.slots == ("accelerator",)}, "each rule finds a fault"


# Without the bundled plugin for CPUs, or what it needs.

RUN = ("run", "encoder=deep_cnn,elman_rnn", "loss=aux", "train.rounds=1", *SMALL, "--no-timing", "--format", "json")


def alone(tmp_path: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, after `code`; the workers run `code` too, as `sitecustomize`."""
    (tmp_path / "sitecustomize.py").write_text(code)
    environment = {"PYTHONPATH": str(tmp_path), "PAIRBENCH_CACHE": str(tmp_path / "cache")}
    words = [sys.executable, "-m", "pairbench", *arguments]
    if arguments[0] == "run":
        words += ["--store", str(tmp_path / "store"), "--workers", "0"]
    return subprocess.run(words, capture_output=True, text=True, env={**os.environ, **environment}, cwd=tmp_path)


WITHOUT_LLVMLITE = """
import sys
sys.modules["llvmlite"] = None
"""
WITHOUT_PRIVATE_NAMES = """
import sys


class Watch:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("pairbench.training.acceleration"):
            import torch._C._functorch as functorch

            del functorch.CVmapInterpreterPtr
            del functorch.peek_interpreter_stack


sys.meta_path.insert(0, Watch())
"""


@pytest.mark.parametrize(
    ("code", "reason", "left"),
    [
        (WITHOUT_LLVMLITE, "llvmlite is not installed", ["elman_backward"]),
        (WITHOUT_PRIVATE_NAMES, "has no torch._C._functorch.CVmapInterpreterPtr", []),
    ],
)
def test_torch_computes_where_something_is_missing_and_doctor_says_what(
    tmp_path: Path, code: str, reason: str, left: list[str]
) -> None:
    if "batch_last" not in installed().accelerators:
        pytest.skip("pairbench_cpu is not installed")
    done = alone(tmp_path, code, *RUN)
    assert done.returncode == 0, done.stderr
    records = [record for item in json.loads(done.stdout)["results"] for record in item["rounds"]]
    assert [record["status"] for record in records] == ["finished"] * 2
    assert sorted(name for record in records for name in record["provenance"].get("accelerators", {})) == left
    found = json.loads(alone(tmp_path, code, "doctor", "--format", "json").stdout)["accelerators"]
    reasons = {item["accelerator"]: item["unavailable"] for item in found}
    assert reason in reasons["batch_last"]
    assert "\n" not in reasons["batch_last"]
    assert [name for name, why in reasons.items() if not why] == left


def test_pairbench_works_without_the_folder_of_the_plugin(tmp_path: Path) -> None:
    root = Path(pairbench.__file__).parents[1]
    for part in ("pairbench", "plugins"):
        shutil.copytree(root / part, tmp_path / part, ignore=shutil.ignore_patterns("pairbench_cpu", "__pycache__"))
    places = [str(tmp_path), str(tmp_path / "plugins")]
    code = f"import sys\nsys.path[:0] = {places}\nsys.modules['pairbench_cpu'] = None\n"
    done = alone(tmp_path, code, *RUN)
    assert done.returncode == 0, done.stderr
    records = [record for item in json.loads(done.stdout)["results"] for record in item["rounds"]]
    assert [record["status"] for record in records] == ["finished"] * 2
    assert all("accelerators" not in record["provenance"] for record in records)
