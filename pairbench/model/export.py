"""Exports a saved model as one graph for other runtimes, after checking it on real pairs against the original.

The graph takes `images`, (N, V, C, H, W) uint8 pixel values with any N, and returns `logits` and `probabilities`,
(N, O); it includes scaling, the mean over an ensemble and test-time augmentation.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pairbench.config.run_config import canonical
from pairbench.errors import DataError, PairbenchError, SpecError
from pairbench.model.onnx_graph import missing_package, onnx_model, quiet_export
from pairbench.model.pair_tables import write_whole
from pairbench.model.predictor import Model, Network
from pairbench.store.atomic import draft_of
from pairbench.text import one_line, printable

TOLERANCE = 1e-4
PAIRS = 256
SUFFIXES = {"onnx": ".onnx", "torch_export": ".pt2"}
Run = Callable[[Tensor], tuple[Tensor, Tensor]]


class ExportError(PairbenchError):
    """A model could not be exported, or its export gives different answers than the original."""


class _Graph(nn.Module):
    """Pixel values (N, V, C, H, W) uint8 -> logits and probabilities, (N, O) each."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.network(images).float()
        return logits, logits.softmax(dim=1)


def exported(model: Model, to: str, output: Path | None = None, pairs: Path | None = None) -> dict[str, Any]:
    """Write `model` to `output` (default: a file in the current folder named after it), and return what was checked.

    Args:
        model: on the CPU.
        to: "onnx" or "torch_export".
        output: the file to write.
        pairs: a CSV file of pairs to check with; the test pairs of the model's dataset where None.

    Raises:
        SpecError: a package is missing, or the file cannot be written there.
        ExportError: the graph cannot be created, or gives different answers; no file is left behind.
    """
    suffix = SUFFIXES[to]
    path = output or Path(f"{model.description['config_id']}-{model.description['round']}{suffix}")
    if path.suffix != suffix:
        raise SpecError(f"--output {printable(str(path), 120)}: expected a name that ends in {suffix}.")
    if not path.parent.is_dir():
        raise SpecError(f"--output {printable(str(path), 120)}: there is no folder {path.parent}. Create it first.")
    if to == "onnx" and (missing := missing_package()):
        raise SpecError(f"export --to onnx needs {missing}. Run: pip install 'pairbench[onnx]'")
    images = _examples(model, pairs)
    graph = _Graph(model.network).eval()
    with draft_of(path, suffix) as draft:
        try:
            with quiet_export(), torch.no_grad():
                (_to_onnx if to == "onnx" else _to_torch_export)(graph, images[:3], draft, _told(model))
        except Exception as error:
            reason = printable(one_line(error), 300)
            raise ExportError(f"this model cannot be exported to {to}: {reason}") from error
        run = _onnx_run(draft) if to == "onnx" else _torch_run(draft)
        far = _difference(model, run, images)
        if not far <= TOLERANCE:
            raise ExportError(
                f"the export to {to} differs from the model: logits differ by up to {far:.2g}, more than "
                f"{TOLERANCE:g}. Nothing was written."
            )
        write_whole(path, draft.read_bytes())
    shape = "uint8 (N, {}, {}, {}, {})".format(*images.shape[1:])
    return {
        "file": str(path),
        "to": to,
        "max_difference": far,
        "tolerance": TOLERANCE,
        "pairs": len(images),
        "input": f"images: {shape}, pixel values",
        "output": f"logits, probabilities: float32 (N, {len(model.outcomes)})",
        "outcomes": list(model.outcomes),
    }


def _examples(model: Model, pairs: Path | None) -> Tensor:
    """Real pairs to check with, (N, V, C, H, W) uint8."""
    if pairs is not None:
        rows = model.config.dataset.pair_list(pairs).paths[:PAIRS]
        return torch.stack([torch.stack([model.pixels(path) for path in row]) for row in rows])
    round_index = model.description["round"]
    try:
        pool = model.config.dataset.load("test", rounds=round_index + 1, seed=model.config.train.seed)
    except DataError as error:
        raise DataError(f"{error} Or give other pairs to check with: --csv FILE.") from None
    return pool.images[pool.pairs[round_index][:PAIRS]]


def _told(model: Model) -> dict[str, str]:
    """The metadata of the exported file."""
    about = {name: model.description[name] for name in ("config_id", "round", "config", "outcomes", "metrics")}
    return {"pairbench": canonical(about), "outcomes": ",".join(model.outcomes)}


def _to_onnx(graph: nn.Module, images: Tensor, path: Path, told: dict[str, str]) -> None:
    import onnx

    proto = onnx_model(graph, images, ["logits", "probabilities"])
    for name, text in told.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = name, text
    onnx.checker.check_model(proto)
    onnx.save(proto, str(path))


def _to_torch_export(graph: nn.Module, images: Tensor, path: Path, told: dict[str, str]) -> None:
    program = torch.export.export(graph, (images,), dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1)}})
    torch.export.save(program, path, extra_files=told)


def _onnx_run(path: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> tuple[Tensor, Tensor]:
        logits, probabilities = session.run(["logits", "probabilities"], {"images": images.numpy()})
        return torch.from_numpy(logits), torch.from_numpy(probabilities)

    return run


def _torch_run(path: Path) -> Run:
    with quiet_export():
        module = torch.export.load(path).module()

    def run(images: Tensor) -> tuple[Tensor, Tensor]:
        logits, probabilities = module(images)
        return logits, probabilities

    return run


@torch.no_grad()
def _difference(model: Model, run: Run, images: Tensor) -> float:
    """The largest difference of a logit (relative if it is above 1) or probability, for several batch sizes."""
    far = 0.0
    for part in (images[:1], images[1:8], images):
        if not len(part):
            continue
        logits = model.network(part).float()
        theirs, probabilities = run(part)
        if theirs.shape != logits.shape or not bool(theirs.isfinite().eq(logits.isfinite()).all()):
            return float("inf")
        apart = ((theirs - logits).abs() / logits.abs().clamp(min=1)).nan_to_num(0)
        far = max(far, float(apart.max()), float((probabilities - logits.softmax(dim=1)).abs().max()))
    return far
