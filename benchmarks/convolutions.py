"""Each convolution of a network as torch computes it and with the batch last: milliseconds, and the floor.

    python benchmarks/convolutions.py                        # those of the report's best model
    python benchmarks/convolutions.py 16,32,12 64,64,28      # input channels, output channels, pixels across

One thread, 128 images, a 3x3 kernel, forward and backward, ReLU included; both take turns, medians. The floor is the
arithmetic at the speed of a large matrix product that is timed in the same turns.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")
import torch
from torch import nn

from pairbench_cpu.patching import fast_layers

DEEP = ("1,5,14", "5,10,12", "10,20,10", "20,40,8", "40,80,6", "80,160,4")
IMAGES = 128


def step(layers: nn.Sequential, images: torch.Tensor) -> Callable[[], object]:
    """One pass forward and backward through the convolution `layers`."""
    wanted = [*layers.parameters(), *([images] if images.requires_grad else [])]
    with torch.no_grad():
        back = torch.ones_like(layers(images))
    return lambda: torch.autograd.grad(layers(images), wanted, back)


def main() -> None:
    """Print one row for each convolution that is asked for."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    square = torch.rand(1024, 1024)
    print(f"{'convolution':24} {'floor':>8} {'torch':>8} {'batch last':>11} {'ratio':>6}")
    for text in sys.argv[1:] or DEEP:
        channels, outputs, size = (int(part) for part in text.split(","))
        images = torch.rand(IMAGES, channels, size, size).requires_grad_(channels > 3)
        plain = nn.Sequential(nn.Conv2d(channels, outputs, 3), nn.ReLU()).to(memory_format=torch.channels_last)
        fast = nn.Sequential(nn.Conv2d(channels, outputs, 3), nn.ReLU())
        theirs = images.detach().contiguous(memory_format=torch.channels_last).requires_grad_(channels > 3)
        # Between two layers the batch is last already.
        ours = images.detach().permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2).requires_grad_(channels > 3)
        with fast_layers(fast):
            calls = {"peak": lambda: square @ square, "torch": step(plain, theirs), "batch last": step(fast, ours)}
            taken: dict[str, list[float]] = {name: [] for name in calls}
            for _ in range(25):
                for name, call in calls.items():
                    started = time.perf_counter()
                    call()
                    taken[name].append(1000 * (time.perf_counter() - started))
        middle = {name: statistics.median(values[3:]) for name, values in taken.items()}
        work = IMAGES * (size - 2) ** 2 * 9 * channels * outputs * (3 if channels > 3 else 2)
        floor = middle["peak"] * work / 1024**3
        ratio = middle["torch"] / middle["batch last"]
        print(
            f"{channels:4} to {outputs:3}, {size:2}x{size:<2}        {floor:8.2f} {middle['torch']:8.2f} "
            f"{middle['batch last']:11.2f} {ratio:6.2f}"
        )


if __name__ == "__main__":
    main()
