"""Ways to run a trained model: as torch does by default, and faster ones that give the same answers."""

from __future__ import annotations

import contextlib
import copy
import shutil
import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from pairbench.model.onnx_graph import missing_package, onnx_model
from pairbench.model.pair_model import PairModel
from pairbench.plugin.accelerators import Accelerator
from pairbench.plugin.registry import installed
from pairbench.text import one_line
from pairbench.training.acceleration import why_unavailable

# The largest difference in a logit that rounding explains, relative to the largest logit (or to 1).
TOLERANCE = {
    "channels_last": 1e-3,
    "bf16": 0.1,
    "compiled": 1e-3,
    "compiled_bf16": 0.1,
    "onnx": 1e-3,
}
ACCELERATED = 1e-3

Answer = Callable[[Tensor], Tensor]


class Unavailable(Exception):  # noqa: N818 - becomes a note, and the other modes are timed
    """This mode is not available here; the message says why and how to fix it."""


class Answers(nn.Module):
    """Images (N, V, C, H, W) -> logits (N, O)."""

    def __init__(self, model: PairModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images).logits
        return logits


def mode_of(name: str, model: PairModel, example: Tensor) -> Answer:
    """The function of mode `name`: images (N, V, C, H, W) float32 -> logits (N, O) float32; `model` is not changed.

    Raises:
        Unavailable: something is missing, or the model cannot be run that way.
    """
    answers = Answers(copy.deepcopy(model)).eval().requires_grad_(False)
    try:
        answers.to(memory_format=torch.contiguous_format)
        if name in _MODES:
            return _MODES[name](answers, example)
        return _accelerated(installed().accelerators[name].accelerator, answers, example)
    except Unavailable:
        raise
    except Exception as error:
        raise Unavailable(one_line(f"{type(error).__name__}: {error}")[:160]) from error


def checked(name: str, answer: Answer, model: PairModel, images: Tensor) -> float:
    """The largest difference of a logit from that of `model` in eager mode.

    Raises:
        Unavailable: it is more than rounding explains.
    """
    with torch.inference_mode():
        wanted = Answers(model)(images).float()
    got = answer(images).detach().float()
    difference = float((got - wanted).abs().max())
    if not difference <= TOLERANCE.get(name, ACCELERATED) * max(1.0, float(wanted.abs().max())) and name != "eager":
        raise Unavailable(f"its answers differ from eager ones by {difference:.2g}, more than rounding explains")
    return difference


def _plain(answers: nn.Module, dtype: torch.dtype = torch.float32) -> Answer:
    @torch.inference_mode()
    def answer(images: Tensor) -> Tensor:
        logits: Tensor = answers(images.to(dtype))
        return logits.float()

    return answer


def _eager(answers: nn.Module, _: Tensor) -> Answer:
    return _plain(answers)


def _channels_last(answers: nn.Module, _: Tensor) -> Answer:
    return _plain(answers.to(memory_format=torch.channels_last))


def _accelerated(accelerator: Accelerator, answers: Answers, example: Tensor) -> Answer:
    if reason := why_unavailable(accelerator):
        raise Unavailable(reason)
    if not accelerator.suits(answers.model, example.device, "fp32"):
        raise Unavailable("it has no faster code for this model on this device")
    plain, size = _plain(answers), accelerator.inference_batch
    within = contextlib.ExitStack()
    within.enter_context(accelerator.applied(answers.model, example.device, "fp32"))

    def answer(images: Tensor, _: object = within) -> Tensor:
        return torch.cat([plain(piece) for piece in images.split(size or len(images))])

    return answer


def _bf16(answers: nn.Module, _: Tensor) -> Answer:
    return _plain(answers.to(torch.bfloat16).to(memory_format=torch.channels_last), torch.bfloat16)


def _compiled(answers: nn.Module, example: Tensor, dtype: torch.dtype = torch.float32) -> Answer:
    if example.device.type == "cpu" and not any(shutil.which(name) for name in ("g++", "clang++", "c++")):
        raise Unavailable("there is no C++ compiler. Install g++")
    run = torch.compile(answers.to(dtype).to(memory_format=torch.channels_last), dynamic=False)

    seen: set[tuple[int, ...]] = set()

    @torch.no_grad()
    def answer(images: Tensor) -> Tensor:
        # The settings matter only while a shape is compiled, and cost a tenth of a millisecond each time.
        with contextlib.nullcontext() if tuple(images.shape) in seen else _frozen():
            logits: Tensor = run(images.to(dtype))
        seen.add(tuple(images.shape))
        return logits.float()

    return answer


@contextlib.contextmanager
def _frozen() -> Iterator[None]:
    """Compile with constant weights and folded batch norm, and never fall back to eager after many shapes."""
    import torch._dynamo
    import torch._inductor.config

    with (
        warnings.catch_warnings(),
        torch._inductor.config.patch({"freezing": True, "compile_threads": 1}),
        torch._dynamo.config.patch({"recompile_limit": 1000, "accumulated_recompile_limit": 1000}),
    ):
        warnings.simplefilter("ignore")
        yield


def _compiled_bf16(answers: nn.Module, example: Tensor) -> Answer:
    return _compiled(answers, example, torch.bfloat16)


def _onnx(answers: nn.Module, example: Tensor) -> Answer:
    if missing := missing_package():
        raise Unavailable(f"the package {missing} is missing. Run: pip install 'pairbench[onnx]'")
    import onnxruntime

    content = onnx_model(answers.cpu(), example.cpu(), ["logits"]).SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    there = onnxruntime.get_available_providers()
    wanted = ["CUDAExecutionProvider"] if example.device.type == "cuda" else []
    if wanted and wanted[0] not in there:
        raise Unavailable("this ONNX Runtime has no CUDA. Run: pip install onnxruntime-gpu")
    session = onnxruntime.InferenceSession(content, options, providers=[*wanted, "CPUExecutionProvider"])

    def answer(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {"images": images.cpu().numpy()})[0])

    return answer


_MODES: dict[str, Callable[[nn.Module, Tensor], Answer]] = {
    "eager": _eager,
    "channels_last": _channels_last,
    "bf16": _bf16,
    "compiled": _compiled,
    "compiled_bf16": _compiled_bf16,
    "onnx": _onnx,
}
