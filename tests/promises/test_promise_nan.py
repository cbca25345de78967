"""Promise 9: a round whose figures are not finite has none, and ranks nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import Install

import pairbench

SOURCE = '''
    import pairbench
    from tiny import TinyHead, TinyLoss, TinyPairs

    class Bursting(pairbench.Encoder):
        """One layer, whose features burst.

        factor: what they are multiplied by.
        when: in training, or in evaluation alone.
        """
        name = "bursting"
        factor: float = 1.0
        when: str = "evaluation"

        def build(self, image_shape):
            from torch import nn

            class Module(nn.Module):
                def __init__(self, factor, when):
                    super().__init__()
                    self.factor, self.when, self.linear = factor, when, nn.LazyLinear(3)
                def forward(self, images):
                    features = self.linear(images.flatten(1))
                    return features * self.factor if self.training == (self.when == "training") else features
            return Module(self.factor, self.when)

    @pairbench.hookimpl
    def pairbench_components():
        return [TinyPairs, TinyHead, TinyLoss, Bursting]
'''


@pytest.mark.parametrize("engine", ["loop", "stacked"])
@pytest.mark.parametrize("when", ["training", "evaluation"])
def test_figures_that_are_not_finite_never_rank(
    engine: str, when: str, install_plugin: Install, tmp_path: Path
) -> None:
    install_plugin("bursting", SOURCE)
    words = ("dataset=tiny_pairs", "encoder=bursting", "head=tiny_head", "loss=tiny_loss", f"train.engine={engine}")
    # 1e39 is more than a float32 holds.
    factors = ("encoder.factor=1.0,1e39", f"encoder.when={when}", "train.rounds=2", "train.epochs=2")
    found = pairbench.run(*words, *factors, store=tmp_path / "records", workers=0, timing=False)
    statuses: dict[float, set[Any]] = {}
    for result in found:
        factor = result.config["encoder.factor"]
        statuses[factor] = {record["status"] for record in result.records}
        assert {record["environment"]["engine"] for record in result.records} == {engine}
        if statuses[factor] == {"diverged"}:
            assert all(record["metrics"] == {} for record in result.records)
            assert result.values("accuracy") == {}
    assert statuses == {1.0: {"finished"}, 1e39: {"diverged"}}
    shown = pairbench.leaderboard(store=tmp_path / "records")
    assert {result.config["encoder.factor"]: len(result.finished) for result in shown} == {1.0: 2, 1e39: 0}
    assert shown[0].config["encoder.factor"] == 1.0
    assert "nan" not in str(shown)
    assert "DIVERGED" in str(shown)
