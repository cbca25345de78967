"""Each convolution of a network in every way that was considered, and with the batch last: milliseconds, and the floor.

    python benchmarks/convolutions.py                        # those of the report's best model
    python benchmarks/convolutions.py 16,32,12 64,64,28      # input channels, output channels, pixels across

One thread, 128 images, a 3x3 kernel, forward and backward, ReLU included; all take turns, medians. NCHW and NHWC are
torch's own, compiled is NHWC through torch.compile (left out without a C++ compiler), im2col is a matrix product over
copied windows (`torch.nn.functional.unfold`). The floor is the arithmetic at the speed of a large matrix product, which
is timed in the same turns.
"""

from __future__ import annotations

import os
import shutil
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


def step(layers: nn.Module, images: torch.Tensor) -> Callable[[], object]:
    """One pass forward and backward through the convolution `layers`."""
    wanted = [*layers.parameters(), *([images] if images.requires_grad else [])]
    with torch.no_grad():
        back = torch.ones_like(layers(images))
    return lambda: torch.autograd.grad(layers(images), wanted, back)


class Im2col(nn.Module):
    """A 3x3 convolution and a ReLU as one matrix product over the copied windows of all images."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(channels, outputs, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, K, H - 2, W - 2)."""
        high, wide = (size - 2 for size in images.shape[2:])
        windows = nn.functional.unfold(images, 3)
        found = self.layer.weight.flatten(1) @ windows + self.layer.bias[:, None]
        return found.view(len(images), -1, high, wide).relu()


def ways(channels: int, outputs: int, size: int) -> dict[str, tuple[nn.Module, torch.Tensor]]:
    """Each way to compute a convolution, with images in the layout that it takes."""
    images, inner = torch.rand(IMAGES, channels, size, size), channels > 3

    def layers() -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(channels, outputs, 3), nn.ReLU())

    last = images.contiguous(memory_format=torch.channels_last)
    found: dict[str, tuple[nn.Module, torch.Tensor]] = {
        "NCHW": (layers(), images),
        "NHWC": (layers().to(memory_format=torch.channels_last), last),
        "im2col": (Im2col(channels, outputs), images),
        # Between two layers the batch is last already.
        "batch last": (layers(), images.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2)),
    }
    if shutil.which("g++"):
        compiled = torch.compile(layers().to(memory_format=torch.channels_last), dynamic=False)
        found["compiled"] = (compiled, last)
    return {name: (part, given.detach().requires_grad_(inner)) for name, (part, given) in found.items()}


def main() -> None:
    """Print one row for each convolution that is asked for."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    square = torch.rand(1024, 1024)
    names = ["NCHW", "NHWC", *(["compiled"] if shutil.which("g++") else []), "im2col", "batch last"]
    print(f"{'convolution':24} {'floor':>8}" + "".join(f" {name:>10}" for name in names))
    for text in sys.argv[1:] or DEEP:
        channels, outputs, size = (int(part) for part in text.split(","))
        torch.compiler.reset()
        found = ways(channels, outputs, size)
        with fast_layers(found["batch last"][0]):
            calls = {"peak": lambda: square @ square, **{name: step(*found[name]) for name in names}}
            taken: dict[str, list[float]] = {name: [] for name in calls}
            for _ in range(25):
                for name, call in calls.items():
                    started = time.perf_counter()
                    call()
                    taken[name].append(1000 * (time.perf_counter() - started))
        middle = {name: statistics.median(values[3:]) for name, values in taken.items()}
        work = IMAGES * (size - 2) ** 2 * 9 * channels * outputs * (3 if channels > 3 else 2)
        floor = middle["peak"] * work / 1024**3
        print(f"{channels:4} to {outputs:3}, {size:2}x{size:<2}        {floor:8.2f}", end="")
        print("".join(f" {middle[name]:10.2f}" for name in names), flush=True)


if __name__ == "__main__":
    main()
