"""Every bundled encoder and head, the engines against each other, the obvious loop beside them, and starting up."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from typing import Any

import pytest

import pairbench
from pairbench.config.run_config import RunConfig, resolve
from pairbench.config.spec import expand, parse, split_words
from pairbench.model.pair_model import build_model
from pairbench.plugin.components import SPLITS
from pairbench.plugin.registry import installed

SHORT = "dataset.train_pairs=64 dataset.validation_pairs=8 dataset.test_pairs=64 train.epochs=1 train.rounds=1"
NETS = {"mlp": "encoder=mlp", "cnn": "encoder=cnn", "deep_cnn": "encoder=deep_cnn"}
TRAINING = "loss=aux train.optimizer=adam train.schedule=constant train.warmup=0 train.epochs=2 train.rounds=4"


def config_of(spec: str) -> RunConfig:
    (settings,) = expand(parse(split_words(spec)))
    return resolve(settings)


def parts(slot: str) -> list[Any]:
    """A spec for each component of `slot`; one that cannot be had as it stands is skipped with its reason."""
    found = []
    for name in sorted(installed().components[slot]):
        spec = f"{slot}={name} loss=cross_entropy"
        marks: list[pytest.MarkDecorator] = []
        try:
            config = config_of(spec)
            values = config.components()[slot].values()
            if values.get("weights") or values.get("pretrained") or values.get("checkpoint"):
                raise pairbench.MismatchError("its defaults download weights")
            build_model(config)
        except (pairbench.SpecError, pairbench.MismatchError) as error:
            marks.append(pytest.mark.skip(reason=str(error)))
        found.append(pytest.param(spec, marks=marks, id=name))
    return found


@pytest.mark.parametrize("pairbench_speed", parts("encoder"), indirect=True)
def test_encoder(pairbench_speed: Any) -> None:
    pairbench_speed.inference(batch_size=64)


@pytest.mark.parametrize("pairbench_speed", parts("head"), indirect=True)
def test_head(pairbench_speed: Any) -> None:
    pairbench_speed.inference(batch_size=64)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("engine", ["obvious", "lightning", "jax", "loop", "stacked"])
def test_training(benchmark: Any, net: str, engine: str) -> None:
    """Four rounds of two epochs by each engine, and by the loop that most people would write."""
    import torch
    from obvious import splits_of, train_round
    from peers import jax_rounds, lightning_round

    from pairbench.data.round_data import RoundData, scaling
    from pairbench.training.engines import Choice, train_rounds
    from pairbench.training.loop import RoundSplits

    if engine in ("lightning", "jax"):
        pytest.importorskip(engine, reason="the peers are an extra: pip install 'pairbench[peers]'")
    if engine == "jax" and net == "deep_cnn":
        pytest.skip("batch norm and dropout are not written in JAX here")
    config = config_of(f"{NETS[net]} {TRAINING}")
    rounds, device = range(config.train.rounds), torch.device("cpu")
    pools = {split: config.dataset.load(split, rounds=len(rounds), seed=0) for split in SPLITS}
    plain = splits_of(config, len(rounds))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    scales = [scaling(config.train.normalize, pools["train"], number) for number in rounds]
    # Scaled beforehand on both sides: what is timed is training and evaluation.
    splits = [RoundSplits(*(RoundData(pools[split], n, scales[n], device) for split in SPLITS)) for n in rounds]

    def run() -> list[float]:
        if engine == "obvious":
            return [
                train_round(config, plain["train"][n], plain["test"][n], config.train.epochs, n)["accuracy"]
                for n in rounds
            ]
        if engine == "lightning":
            sets = [(plain["train"][n], plain["test"][n]) for n in rounds]
            return [lightning_round(config, *pair, config.train.epochs, n) for n, pair in enumerate(sets)]
        if engine == "jax":
            return jax_rounds(config, plain["train"], plain["test"], config.train.epochs)
        choice = Choice(engine, "fp32", False, "asked")
        done = list(train_rounds(config, device, choice, list(rounds), splits.__getitem__))
        assert all(item.error is None and item.choice.engine == engine for item in done)
        return [float(item.outcome.metrics["accuracy"] or 0) for item in done if item.outcome]

    benchmark.group = f"training of {net}, {len(rounds)} rounds"
    accuracies = benchmark.pedantic(run, rounds=3, warmup_rounds=1)
    benchmark.extra_info |= {"accuracies": accuracies, "threads": 1}
    torch.set_num_threads(threads)
    assert len(accuracies) == len(rounds)
    # Untrained networks lie near a half; every way has to have learned.
    assert sum(accuracies) / len(accuracies) > 0.55


@pytest.mark.parametrize(
    "arguments", [["--help"], ["list"], ["run", *SHORT.split(), "--no-timing"]], ids=lambda a: a[0]
)
def test_start(benchmark: Any, arguments: list[str]) -> None:
    """The wall time of a command from nothing."""

    def run() -> None:
        with tempfile.TemporaryDirectory() as store:
            more = ["--store", store] if arguments[0] == "run" else []
            subprocess.run([sys.executable, "-m", "pairbench", *arguments, *more], check=True, capture_output=True)

    benchmark.group = "start"
    benchmark.pedantic(run, rounds=3)
