"""Checks of an accelerator on small networks of pairs: convolutions, recurrence, attention and linear layers."""

from __future__ import annotations

import copy
import itertools
import warnings
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from pairbench.errors import DataError
from pairbench.model.pair_model import PairModel
from pairbench.plugin.accelerators import Accelerator, CannotBatch
from pairbench.testing.kit import broken
from pairbench.testing.network_checks.probes import isolated

PAIRS, CHANNELS, SIZE, EMBEDDING = 24, 1, 12, 10
TOLERANCE = 2e-4


@isolated
def outputs_and_gradients_are_torchs(accelerator: Accelerator) -> None:
    """Outputs, gradients and running statistics of a training step equal torch's but for rounding."""
    for name, model, device in _suited(accelerator):
        other = copy.deepcopy(model)
        expected = _step(model, device)
        with accelerator.applied(other, device, "fp32"):
            found = _step(other, device)
        for what, was in expected.items():
            gap = _gap(found.get(what), was, _least(expected))
            if not gap <= TOLERANCE:
                raise broken(f"with {name}, {what} differs from torch's by {gap:.2g} of its size", "Correct it")


@isolated
def answers_are_torchs(accelerator: Accelerator) -> None:
    """In eval mode, batches of any size have torch's answers."""
    for name, model, device in _suited(accelerator):
        model.eval()
        for count in (1, 3, PAIRS):
            images = _images(count, device)
            with torch.inference_mode():
                expected = model(images).logits
                with accelerator.applied(model, device, "fp32"):
                    found = model(images).logits
            gap = _gap(found, expected)
            if not gap <= TOLERANCE:
                raise broken(f"with {name}, answers to {count} pairs differ from torch's by {gap:.2g}", "Correct it")


@isolated
def the_model_is_left_as_it_was(accelerator: Accelerator) -> None:
    """`suits` changes nothing, and when the block of `applied` ends, also after an error, nothing of it is left."""
    for name, model, device in _suited(accelerator):
        before, flags = _state(model), (model.views_together, model.casts_itself)
        accelerator.suits(model, device, "fp32")
        if _state(model) != before:
            raise broken(f"`suits` changes {name}", "Change the model in `applied` alone")
        for error in (False, True):
            try:
                with accelerator.applied(model, device, "fp32"):
                    if error:
                        raise _Stop
            except _Stop:
                pass
            # The core puts these two back by itself.
            model.views_together, model.casts_itself = flags
            if _state(model) != before:
                raise broken(
                    f"the block of `applied` leaves {name} changed{' after an error' if error else ''}",
                    "Undo every change in a `finally`",
                )


@isolated
def rounds_are_stacked_or_refused(accelerator: Accelerator) -> None:
    """In the vmap that trains several rounds at once it gives each round's own gradients, or raises CannotBatch."""
    for name, model, device in _suited(accelerator):
        models = [copy.deepcopy(model) for _ in range(2)]
        for one in models:
            _without_dropout(one)
            for parameter in one.parameters():
                parameter.data += 0.1 * torch.randn_like(parameter)
        expected = [_step(copy.deepcopy(one), device) for one in models]
        try:
            with accelerator.applied(models[0], device, "fp32"):
                found = _stacked(models, device)
        except CannotBatch:
            continue
        except RuntimeError:
            if _torch_batches(models, device):
                raise
            continue
        for (index, alone), what in itertools.product(enumerate(expected), found):
            gap = _gap(found[what][index], alone[f"gradient of {what}"], _least(alone))
            if not gap <= TOLERANCE:
                raise broken(
                    f"with {name}, the gradient of {what} in a stack differs from the round's own by {gap:.2g}",
                    "Correct it, or raise pairbench.CannotBatch",
                )


class _Stop(Exception):  # noqa: N818 - ends a block on purpose
    pass


def _suited(accelerator: Accelerator) -> Iterator[tuple[str, PairModel, torch.device]]:
    """The networks of the kit that `accelerator` suits, in training mode, each with where it runs.

    Raises:
        DataError: it cannot be used here, or suits none of them.
    """
    if reason := accelerator.unavailable():
        raise DataError(f"accelerator '{accelerator.name}' cannot be used here: {reason}.")
    kinds = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    found = False
    for kind, (name, encoder) in itertools.product(kinds, _encoders()):
        device = torch.device(kind)
        head, loss = nn.Sequential(nn.Flatten(), nn.Linear(2 * EMBEDDING, 2)), nn.Identity()
        model = PairModel("siamese", [encoder], head, loss).to(device)
        if accelerator.suits(model, device, "fp32"):
            found = True
            yield f"{name} on {kind}", model, device
    if not found:
        raise DataError(
            f"accelerator '{accelerator.name}' suits none of the kit's networks, so nothing of it was checked."
        )


def _encoders() -> Iterator[tuple[str, nn.Module]]:
    inner = SIZE - 4
    yield (
        "two convolutions",
        nn.Sequential(
            nn.Conv2d(CHANNELS, 8, 3),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * inner**2, EMBEDDING),
        ),
    )
    yield (
        "padded convolutions with batch norm and pooling",
        nn.Sequential(
            nn.Conv2d(CHANNELS, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 8, 3),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(8 * (SIZE // 2 - 2) ** 2, EMBEDDING),
        ),
    )
    yield "a recurrence", _Rows()
    yield "linear layers", nn.Sequential(nn.Flatten(), nn.Linear(SIZE**2, 16), nn.ReLU(), nn.Linear(16, EMBEDDING))
    yield "attention", _Attention()


class _Rows(nn.Module):
    """An Elman network over the rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrence = nn.RNN(SIZE, 12, batch_first=True)
        self.last = nn.Linear(12, EMBEDDING)

    def forward(self, images: Tensor) -> Tensor:
        embedding: Tensor = self.last(self.recurrence(images[:, 0])[0][:, -1])
        return embedding


class _Attention(nn.Module):
    """Attention over the rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.TransformerEncoderLayer(SIZE, 2, 16, dropout=0.0, batch_first=True)
        self.last = nn.Linear(SIZE, EMBEDDING)

    def forward(self, images: Tensor) -> Tensor:
        embedding: Tensor = self.last(self.block(images[:, 0]).mean(1))
        return embedding


def _images(count: int, device: torch.device) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, 2, CHANNELS, SIZE, SIZE, generator=generator).to(device)


def _step(model: PairModel, device: torch.device) -> dict[str, Tensor]:
    """The logits, gradients and buffers of one training step."""
    model.train()
    model.zero_grad()
    logits = model(_images(PAIRS, device)).logits
    logits.square().sum().backward()
    found = {"the answer": logits.detach()}
    found |= {f"gradient of {name}": item.grad for name, item in model.named_parameters() if item.grad is not None}
    return found | {f"buffer {name}": item.clone() for name, item in model.named_buffers()}


def _torch_batches(models: list[PairModel], device: torch.device) -> bool:
    try:
        _stacked(models, device)
    except RuntimeError:
        return False
    return True


def _stacked(models: list[PairModel], device: torch.device) -> dict[str, Tensor]:
    """The gradients (R, ...) of the parameters of `models`, trained as the engine `stacked` trains them."""
    base = models[0].train()
    parameters = _rows([dict(model.named_parameters()) for model in models])
    for item in parameters.values():
        item.requires_grad_()
    buffers = _rows([dict(model.named_buffers()) for model in models])
    images = torch.stack([_images(PAIRS, device)] * len(models))

    def call(own: dict[str, Tensor], state: dict[str, Tensor], batch: Tensor) -> Tensor:
        cloned = {name: item.clone() for name, item in state.items()}
        logits: Tensor = functional_call(base, {**own, **cloned}, (batch,)).logits
        return logits

    with warnings.catch_warnings():
        # Batching an operation with a slow loop is allowed.
        warnings.simplefilter("ignore")
        logits = vmap(call, randomness="different")(parameters, buffers, images)
        logits.square().sum().backward()
    return {name: item.grad for name, item in parameters.items() if item.grad is not None}


def _rows(models: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of several models by name, with an axis for the models in front."""
    return {name: torch.stack([model[name].detach() for model in models]) for name in models[0]}


def _without_dropout(model: nn.Module) -> None:
    for part in model.modules():
        if isinstance(part, nn.Dropout | nn.Dropout2d):
            part.p = 0.0


def _state(model: PairModel) -> dict[str, object]:
    """What a network is made of, to be compared: attributes of its modules, and the values of its tensors."""
    state: dict[str, object] = {name: item.detach().cpu().tolist() for name, item in model.state_dict().items()}
    for name, part in model.named_modules():
        sizes = {key: len(value) for key, value in vars(part).items() if isinstance(value, dict)}
        state[f"attributes of {name}"] = (type(part), sorted(vars(part)), sizes)
    return state | {"views_together": model.views_together, "casts_itself": model.casts_itself}


def _least(step: Mapping[str, Tensor]) -> float:
    """The size below which a gradient of this step is rounding, such as that of a bias before batch norm."""
    return 0.01 * max(float(item.abs().max()) for name, item in step.items() if name.startswith("gradient"))


def _gap(found: Tensor | None, expected: Tensor, least: float = 1e-3) -> float:
    """The largest difference, as a share of the largest expected value or of `least`; infinite for another shape."""
    if found is None or found.shape != expected.shape:
        return float("inf")
    if not expected.is_floating_point():
        return float((found != expected).any())
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=least))
