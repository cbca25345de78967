"""A pytest plugin: benchmarks of any specs with pytest-benchmark, which compares, saves and plots them.

A benchmark uses the fixture `pairbench_speed` and calls what it times:

    def test_inference(pairbench_speed):
        pairbench_speed.inference(batch_size=64)

Each such test runs once for each spec: those of `--pairbench-spec`, else those of the nearest
`@pytest.mark.pairbench_specs(...)`, else the default config. Tests without the fixture are not affected.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pairbench.config.run_config import RunConfig

FIXTURE = "pairbench_speed"
OPTION = "--pairbench-spec"
MARKER = "pairbench_specs"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --pairbench-spec."""
    parser.getgroup("pairbench", "pairbench").addoption(
        OPTION,
        action="append",
        default=[],
        metavar="SPEC",
        help='a spec to benchmark, such as "encoder=deep_cnn loss=aux"; repeatable; commas make a grid',
    )


def pytest_configure(config: pytest.Config) -> None:
    """Reject a wrong spec early, register the marker, and provide the fixture that fits what is installed."""
    config.addinivalue_line("markers", f"{MARKER}(*specs): the specs that {FIXTURE} times where no {OPTION} is given")
    try:
        _resolved(config.getoption(OPTION))
    except ValueError as error:
        raise pytest.UsageError(f"{OPTION}: {error}") from None
    fixtures = _Fixtures() if config.pluginmanager.hasplugin("benchmark") else _NoFixtures()
    config.pluginmanager.register(fixtures, "pairbench_fixtures")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each spec, unless the test sets its specs with `pytest.mark.parametrize`."""
    if FIXTURE not in metafunc.fixturenames:
        return
    for mark in metafunc.definition.iter_markers("parametrize"):
        names = mark.args[0] if mark.args else mark.kwargs["argnames"]
        if FIXTURE in (names.replace(" ", "").split(",") if isinstance(names, str) else names):
            return
    marker = metafunc.definition.get_closest_marker(MARKER)
    specs: Sequence[str] = metafunc.config.getoption(OPTION) or (marker.args if marker else ())
    try:
        configs = _resolved(specs) or _resolved([""])
    except ValueError as error:
        raise pytest.Collector.CollectError(f"{metafunc.definition.nodeid}: {error}") from None
    metafunc.parametrize(FIXTURE, configs, indirect=True, ids=[str(config) for config in configs])


class Speed:
    """Times one spec. Each method runs its call under pytest-benchmark, in a group with the same call of other specs.

    config: what is timed.
    """

    def __init__(self, config: RunConfig, benchmark: Any) -> None:
        from pairbench.timing.harness import Subject
        from pairbench.worker.devices import choose_device

        self.config, self._benchmark = config, benchmark
        self._subject = Subject(config, choose_device(config.train.device))

    def training_step(self, batch_size: int | None = None) -> None:
        """Time forward, backward and optimiser step for `batch_size` pairs, by default train.batch_size."""
        size = batch_size or self.config.train.batch_size
        self._run("training step", self._subject.train, size, training=True)

    def encoding(self, batch_size: int) -> None:
        """Time the embeddings of `batch_size` pairs, in eval mode."""
        self._run("encoding", self._subject.encode, batch_size)

    def inference(self, batch_size: int) -> None:
        """Time the answers to `batch_size` pairs, in eval mode."""
        self._run("inference", self._subject.infer, batch_size)

    def _run(self, what: str, call: Callable[[Any], None], size: int, *, training: bool = False) -> None:
        import torch

        subject, benchmark = self._subject, self._benchmark
        subject.ready(training)
        batch = subject.batch(size)

        def timed() -> None:
            call(batch)
            subject.synchronise()

        # Warm-up: the first calls of a module are slower, and lazily load parts of torch.
        for _ in range(3):
            timed()
        benchmark.group = f"{what} of {size} {'pair' if size == 1 else 'pairs'}"
        benchmark.extra_info |= {
            "config_id": self.config.config_id,
            "spec": str(self.config),
            "pairs": size,
            "device": subject.device.type,
            "threads": torch.get_num_threads(),
        }
        benchmark(timed)
        if benchmark.stats is not None:
            benchmark.extra_info["pairs_per_second"] = round(size / benchmark.stats.stats.median, 1)


class _Fixtures:
    """The fixture if pytest-benchmark is available."""

    @pytest.fixture(name=FIXTURE)
    def pairbench_speed(self, request: pytest.FixtureRequest, benchmark: Any) -> Generator[Speed]:
        """Times the spec of this test, on one thread like the workers."""
        import torch

        (config,) = _resolved([request.param])
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield Speed(config, benchmark)
        torch.set_num_threads(threads)


class _NoFixtures:
    """The fixture if pytest-benchmark is missing or disabled."""

    @pytest.fixture(name=FIXTURE)
    def pairbench_speed(self) -> None:
        """Skips the test."""
        pytest.skip("pytest-benchmark is not available. Run: pip install pytest-benchmark")


def _resolved(specs: Sequence[str | RunConfig]) -> list[RunConfig]:
    """The configs of specs, grids expanded; each config once.

    Raises:
        SpecError: a spec is wrong.
    """
    if not specs:
        return []
    from pairbench.config.run_config import RunConfig, resolve
    from pairbench.config.spec import expand, parse, split_words

    found: dict[str, RunConfig] = {}
    for spec in specs:
        given = (
            [spec] if isinstance(spec, RunConfig) else [resolve(point) for point in expand(parse(split_words(spec)))]
        )
        found |= {config.config_id: config for config in given}
    return list(found.values())
