"""The interface of an accelerator: faster code for parts of a network, which gives torch's figures but for rounding."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pairbench.plugin.code_digest import digest_of_code

if TYPE_CHECKING:
    import torch
    from torch import nn


class CannotBatch(RuntimeError):  # noqa: N818 - a reason to train otherwise, not a fault
    """Layers of an accelerator cannot run inside the torch.func.vmap that trains several rounds at once.

    Raise it in a forward or backward pass: the step is tried once more with autograd inside of the vmap, and if that
    fails too, the rounds are trained one after the other.
    """


class Accelerator(ABC):
    """Runs parts of a network faster on some devices; used wherever it suits, and named in each record it computed.

    Outputs and gradients equal torch's but for rounding. `timing` and `run` show the speed of plain torch first, and
    the speed with an accelerator as a second figure under its name. An accelerator that raises is not used, and a note
    says so.

    name: what records, timings and `timing --modes` call it.
    contiguous: whether it is faster with weights in torch's default layout than with channels last.
    neutral_in_bf16: whether its bf16 has been shown to leave accuracy as it is; train.precision=auto relies on it.
    inference_batch: the largest batch of pairs that it answers at once; None for any.
    """

    name: ClassVar[str] = ""
    contiguous: ClassVar[bool] = False
    neutral_in_bf16: ClassVar[bool] = False
    inference_batch: ClassVar[int | None] = None

    def unavailable(self) -> str:
        """Why it cannot be used on this machine, in one line, such as "llvmlite is not installed"; "" where it can."""
        return ""

    @abstractmethod
    def suits(self, model: nn.Module, device: torch.device, precision: str) -> bool:
        """Whether it makes `model` faster.

        Args:
            model: a network of pairs, images (N, V, C, H, W) -> logits; it must stay as it is.
            device: where it runs.
            precision: "fp32" or "bf16".
        """

    @abstractmethod
    def applied(self, model: nn.Module, device: torch.device, precision: str) -> AbstractContextManager[object]:
        """A block within which `model`, for which `suits` was true, computes with this code; undone when it ends.

        Two attributes of the model may be changed for the block: `views_together`, whether batch norm processes the
        views of one joined batch one after the other, and `casts_itself`, whether layers multiply in bf16 on their own
        and the model is not run under autocast.
        """

    def fingerprint(self) -> str:
        """A digest of the code that computes; a round it computed is trained again when this changes.

        By default over the module of the class and what it imports from its own package, without comments.
        """
        file = getattr(sys.modules.get(type(self).__module__), "__file__", None)
        return digest_of_code(Path(file)) if file else ""
