"""Promise 20: of two timings of the same thing, one lies inside the other's interval in 95 of 100 cases."""

from __future__ import annotations

import math
import statistics

import pytest
import tiny

from pairbench.config.run_config import RunConfig


@pytest.mark.slow
def test_a_timing_beside_itself_stays_inside_its_own_interval(tiny_registry: object) -> None:
    import torch
    from conftest import config_of
    from scipy.special import stdtrit

    from pairbench.timing.measure import measure

    torch.set_num_threads(1)
    first: RunConfig = config_of(*tiny.SPECS)
    pairs, inside = 40, 0
    for _ in range(pairs):
        one, two = measure([first, first], torch.device("cpu"), {}, 11)
        logs = [
            math.log(a / b)
            for a, b in zip(
                one["inference_pairs_per_second"]["repeats"],
                two["inference_pairs_per_second"]["repeats"],
                strict=True,
            )
        ]
        half = float(stdtrit(len(logs) - 1, 0.975)) * statistics.stdev(logs) / math.sqrt(len(logs))
        inside += abs(statistics.fmean(logs)) <= half
    print(f"\n{pairs} pairs of timings of one config: {inside} inside their own 95% interval")
    # With a true rate of 95%, fewer than 33 of 40 happen in less than 1 of 500 cases.
    assert inside >= 33
