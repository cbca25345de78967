"""Converts a network to ONNX, for exports and for timing with ONNX Runtime."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Generator, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
OPSET = 20


def missing_package() -> str | None:
    """The first package that conversion and ONNX Runtime need and that is not installed."""
    return next((name for name in PACKAGES if find_spec(name) is None), None)


def onnx_model(graph: nn.Module, images: Tensor, outputs: Sequence[str]) -> Any:
    """The `onnx.ModelProto` of `graph`; its input is "images", of which there may be any number.

    Args:
        graph: on the CPU, in evaluation mode.
        images: (N, ...), an example of the input.
        outputs: the names of what `graph` returns.
    """
    # A single example would make N a constant.
    several = images if len(images) > 1 else images.repeat(2, *[1] * (images.ndim - 1))
    with quiet_export():
        program: Any = torch.onnx.export(
            graph,
            (several,),
            input_names=["images"],
            output_names=list(outputs),
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    return program.model_proto


@contextlib.contextmanager
def quiet_export() -> Generator[None]:
    """Within this block torch's exporters print no warnings and no progress."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
