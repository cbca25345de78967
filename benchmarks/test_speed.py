"""How fast the bundled models train, encode and answer; `--pairbench-spec "encoder=... loss=..."` times others."""

from __future__ import annotations

import pytest

from pairbench.testing.pytest_plugin import Speed

pytestmark = pytest.mark.pairbench_specs(
    "encoder=mlp", "encoder=cnn", "encoder=elman_rnn", "encoder=deep_cnn", "encoder=wide_cnn head=posterior"
)


def test_training_step(pairbench_speed: Speed) -> None:
    pairbench_speed.training_step()


@pytest.mark.parametrize("batch_size", [64, 256])
def test_encoding(pairbench_speed: Speed, batch_size: int) -> None:
    pairbench_speed.encoding(batch_size)


@pytest.mark.parametrize("batch_size", [1, 64, 256])
def test_inference(pairbench_speed: Speed, batch_size: int) -> None:
    pairbench_speed.inference(batch_size)
