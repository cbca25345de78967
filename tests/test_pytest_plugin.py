"""The pytest plugin: the same benchmarks for any specs, and nothing at all for those who do not use it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pairbench.timing import harness as subject
from pairbench.worker import devices

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
SMALL = "encoder=mlp encoder.hidden=[4] loss=cross_entropy"
OTHER = "encoder=mlp encoder.hidden=[5] loss=cross_entropy"
HEADS = ("concat_linear", "concat_mlp")
FILE = """
import pytest

@pytest.mark.parametrize("batch_size", [1, 8])
def test_inference(pairbench_speed, batch_size):
    pairbench_speed.inference(batch_size)
"""
pytest_plugins = ["pytester"]
Bench = Callable[..., pytest.RunResult]


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> None:
    """What torch loads late is loaded now: pytester forgets modules that a run brings, and torch loads once alone."""
    assert subject.torch is devices.torch
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])


@pytest.fixture
def bench(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Runs pytest in a folder of its own, each benchmark for a moment only."""
    # pytest-benchmark measures nothing in a process of pytest-xdist, which the inner run is not.
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> pytest.RunResult:
        return pytester.runpytest("--benchmark-max-time=0.001", "--benchmark-min-rounds=2", *arguments)

    return run


def benchmarks(pytester: pytest.Pytester) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((pytester.path / "out.json").read_text())["benchmarks"]
    return found


def test_each_spec_is_timed_beside_the_others(pytester: pytest.Pytester, bench: Bench) -> None:
    pytester.makepyfile(FILE)
    result = bench("--pairbench-spec", SMALL, "--pairbench-spec", OTHER, "--benchmark-json=out.json")
    result.assert_outcomes(passed=4)
    names = {(item["group"], item["param"]) for item in benchmarks(pytester)}
    spec = "encoder=mlp head=concat_linear loss=cross_entropy encoder.hidden=[{}]-{}"
    assert names == {
        (f"inference of {what}", spec.format(hidden, size))
        for hidden in (4, 5)
        for size, what in ((1, "1 pair"), (8, "8 pairs"))
    }


def test_a_benchmark_says_what_it_timed(pytester: pytest.Pytester, bench: Bench) -> None:
    pytester.makepyfile("def test_step(pairbench_speed):\n    pairbench_speed.training_step(8)\n")
    bench("--pairbench-spec", SMALL, "--benchmark-json=out.json").assert_outcomes(passed=1)
    (item,) = benchmarks(pytester)
    told = item["extra_info"]
    assert item["group"] == "training step of 8 pairs"
    assert (told["pairs"], told["device"], told["threads"]) == (8, "cpu", 1)
    assert told["spec"] == "encoder=mlp head=concat_linear loss=cross_entropy encoder.hidden=[4]"
    assert len(told["config_id"]) == 12
    assert told["pairs_per_second"] == pytest.approx(8 / item["stats"]["median"], rel=1e-3)


def test_a_spec_with_commas_is_a_grid(pytester: pytest.Pytester, bench: Bench) -> None:
    pytester.makepyfile(FILE)
    bench("--pairbench-spec", f"{SMALL} head={','.join(HEADS)}").assert_outcomes(passed=4)


def test_the_specs_of_the_mark_stand_where_no_option_is_given(pytester: pytest.Pytester, bench: Bench) -> None:
    pytester.makepyfile(f"import pytest\npytestmark = pytest.mark.pairbench_specs({SMALL!r}, {OTHER!r})\n{FILE}")
    bench("--strict-markers").assert_outcomes(passed=4)
    bench("--pairbench-spec", SMALL).assert_outcomes(passed=2)


def test_without_any_spec_the_default_config_is_timed(pytester: pytest.Pytester, bench: Bench) -> None:
    pytester.makepyfile("def test_encoding(pairbench_speed):\n    pairbench_speed.encoding(2)\n")
    result = bench("-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*test_encoding[[]encoder=deep_cnn head=concat_linear loss=aux]*"])


def test_specs_can_be_parametrised_in_code(pytester: pytest.Pytester, bench: Bench) -> None:
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.parametrize("pairbench_speed", [{SMALL!r}, {OTHER!r}], indirect=True)
        def test_step(pairbench_speed):
            pairbench_speed.training_step()
        """
    )
    bench("--pairbench-spec", "encoder=cnn").assert_outcomes(passed=2)


def test_benchmark_only_leaves_other_tests_out(pytester: pytest.Pytester, bench: Bench) -> None:
    pytester.makepyfile(f"{FILE}\ndef test_other():\n    pass\n")
    bench("--benchmark-only", "--pairbench-spec", SMALL).assert_outcomes(passed=2, skipped=1)


def test_saved_benchmarks_are_compared(pytester: pytest.Pytester, bench: Bench) -> None:
    pytester.makepyfile(FILE)
    bench("--pairbench-spec", SMALL, "--benchmark-save=before").assert_outcomes(passed=2)
    result = bench("--pairbench-spec", SMALL, "--benchmark-compare")
    result.stdout.fnmatch_lines(["*benchmark 'inference of 1 pair': 2 tests*", "*encoder.hidden=*(0001_before)*"])


def test_a_wrong_spec_of_the_option_is_one_line(pytester: pytest.Pytester, bench: Bench) -> None:
    pytester.makepyfile(FILE)
    result = bench("--pairbench-spec", "encoder=deepcnn")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in result.errlines if line]
    assert line == "ERROR: --pairbench-spec: unknown encoder 'deepcnn'. Did you mean 'deep_cnn' or 'cnn'?"


def test_a_wrong_spec_of_the_mark_names_the_test(pytester: pytest.Pytester, bench: Bench) -> None:
    pytester.makepyfile(f"import pytest\npytestmark = pytest.mark.pairbench_specs('encoder=deepcnn')\n{FILE}")
    result = bench()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*::test_inference: unknown encoder 'deepcnn'. Did you mean 'deep_cnn' or 'cnn'?"])


def test_without_pytest_benchmark_the_tests_are_skipped(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(f"{FILE}\ndef test_other():\n    pass\n")
    result = pytester.runpytest("-p", "no:benchmark", "-rs")
    result.assert_outcomes(passed=1, skipped=2)
    result.stdout.fnmatch_lines(["*pytest-benchmark is not available. Run: pip install pytest-benchmark*"])


def test_the_threads_of_the_process_are_given_back(pytester: pytest.Pytester, bench: Bench) -> None:
    pytester.makepyfile(
        """
        import torch

        def test_before():
            torch.set_num_threads(2)

        def test_step(pairbench_speed):
            assert torch.get_num_threads() == 1
            pairbench_speed.training_step(2)

        def test_after():
            assert torch.get_num_threads() == 2
        """
    )
    threads = torch.get_num_threads()
    bench("--pairbench-spec", SMALL).assert_outcomes(passed=3)
    torch.set_num_threads(threads)


def test_the_plugin_costs_nothing_where_it_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "test_nothing.py").write_text("def test_nothing():\n    pass\n")
    code = (
        "import sys, pytest; code = pytest.main(['-q', '-p', 'no:cacheprovider']); "
        "assert 'pairbench.testing.pytest_plugin' in sys.modules; "
        "heavy = ('torch', 'pydantic', 'pairbench.config.run_config'); "
        "print([name for name in heavy if name in sys.modules]); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_benchmarks_of_this_project_run(
    pytester: pytest.Pytester, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for file in BENCHMARKS.glob("test_*.py"):
        (pytester.path / file.name).write_text(file.read_text())
    bench("test_speed.py", "--benchmark-only", "--pairbench-spec", SMALL, "--strict-markers").assert_outcomes(passed=6)
    few = (
        "test_encoder and mlp or test_head and concat_linear or test_training and mlp and (obvious or loop or stacked)"
    )
    bench("test_parts.py", "--benchmark-only", "-k", few).assert_outcomes(passed=5)
