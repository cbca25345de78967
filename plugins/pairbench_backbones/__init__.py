"""Backbones of timm and torchvision as encoders, with new weights, local checkpoints or downloaded ones."""

from __future__ import annotations

import pairbench
from pairbench_backbones.encoders import Timm, Torchvision


@pairbench.hookimpl
def pairbench_components() -> list[type[pairbench.Component]]:
    """The encoders that come from model zoos."""
    return [Timm, Torchvision]
