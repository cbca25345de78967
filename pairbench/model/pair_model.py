"""The network that a config describes: its encoders, head and loss, joined by the pairing."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pairbench.config.run_config import Pairing, RunConfig
from pairbench.errors import PairbenchError
from pairbench.plugin.components import ImageShape, PairOutput, PairTask


class ShapeError(PairbenchError):
    """A plugin's module returned a tensor whose shape violates its interface."""


class PairModel(nn.Module):
    """Images (N, V, C, H, W) -> PairOutput; includes the loss module, which may have weights too.

    pairing: "siamese" has one encoder for all images, "pseudo_siamese" one for each, "two_channel" one for all
        images stacked along the channels (Zagoruyko and Komodakis, CVPR 2015).
    """

    def __init__(self, pairing: Pairing, encoders: list[nn.Module], head: nn.Module, loss: nn.Module) -> None:
        super().__init__()
        self.pairing = pairing
        self.encoders = nn.ModuleList(encoders)
        self.head = head
        self.loss = loss
        # Batch norm over both images at once is a different network than batch norm over each in turn. Splitting the
        # batch for a few norms is cheaper than encoding the images one after the other; for many norms it is not.
        # Frozen norms do not depend on the batch.
        self._leads = [frozen_children(encoder) for encoder in encoders]
        frozen = {id(part) for lead in self.frozen_parts() for part in lead.modules()}
        parts = [part for encoder in encoders for part in encoder.modules() if id(part) not in frozen]
        norms = sum(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in parts)
        layers = sum(isinstance(part, nn.Linear | nn.modules.conv._ConvNd) for part in parts)
        self.batch_coupled = norms > 0
        self.views_together = 0 < 3 * norms <= layers
        # Whether layers multiply in bf16 on their own, without autocast.
        self.casts_itself = False

    def forward(self, images: Tensor) -> PairOutput:
        return self.compare(self.embed(images))

    def train(self, mode: bool = True) -> PairModel:
        """Training mode; frozen parts, including their norms and dropout, stay in eval mode."""
        super().train(mode)
        for part in self.frozen_parts():
            part.eval()
        return self

    def frozen_parts(self) -> list[nn.Module]:
        """The frozen encoders, or the frozen first layers of each encoder."""
        found = []
        for encoder, lead in zip(self.encoders, self._leads, strict=True):
            if lead is not None:
                found.append(encoder[:lead] if lead and isinstance(encoder, nn.Sequential) else encoder)
        return found

    def features(self, images: Tensor, number: int = 0) -> Tensor:
        """(N, C, H, W) -> (N, ...), the output of the frozen part of encoder `number`."""
        features: Tensor = self.frozen_parts()[number](images)
        return features

    def embed_features(self, features: Tensor, number: int = 0) -> Tensor:
        """(N, ...), the output of `features` -> (N, D)."""
        encoder, lead = self.encoders[number], self._leads[number]
        embeddings: Tensor = encoder[lead:](features) if lead and isinstance(encoder, nn.Sequential) else features
        return embeddings

    def answer(self, features: Tensor) -> PairOutput:
        """(N, V, ...), the output of `features` for each image -> PairOutput."""
        if self.pairing == "pseudo_siamese" or (self.training and self.batch_coupled):
            last = len(self.encoders) - 1
            views = enumerate(features.unbind(1))
            embeddings = torch.stack([self.embed_features(part, min(view, last)) for view, part in views], dim=1)
        else:
            embeddings = self.embed_features(features.flatten(0, 1)).view(*features.shape[:2], -1)
        return self.compare(embeddings)

    def embed(self, images: Tensor) -> Tensor:
        """(N, V, C, H, W) -> (N, M, D)."""
        if self.pairing == "two_channel":
            return self._encode(0, images.flatten(1, 2)).unsqueeze(1)
        count, views = images.shape[:2]
        if self.pairing == "siamese" and not (self.training and self.batch_coupled):
            return self._encode(0, images.flatten(0, 1)).view(count, views, -1)
        if self.pairing == "siamese" and self.views_together:
            with _views_apart(self._norms(), views):
                return self._encode(0, images.transpose(0, 1).flatten(0, 1)).view(views, count, -1).transpose(0, 1)
        return torch.stack([self.embed_view(view, images[:, view]) for view in range(views)], dim=1)

    def embed_view(self, view: int, images: Tensor) -> Tensor:
        """(N, C, H, W), image `view` of each example -> (N, D)."""
        return self._encode(view if self.pairing == "pseudo_siamese" else 0, images)

    def compare(self, embeddings: Tensor) -> PairOutput:
        """(N, M, D) -> PairOutput."""
        return PairOutput(self.head(embeddings), embeddings)

    def class_logits(self, embeddings: Tensor) -> Tensor:
        """(N, M, D) -> (N, M, K), for a loss that supervises classes."""
        logits: Tensor = self.loss.class_logits(embeddings)  # type: ignore[operator]
        return logits

    def _norms(self) -> list[nn.Module]:
        frozen = {id(part) for lead in self.frozen_parts() for part in lead.modules()}
        parts = [part for part in self.encoders.modules() if id(part) not in frozen]
        return [part for part in parts if isinstance(part, nn.modules.batchnorm._BatchNorm)]

    def _encode(self, number: int, images: Tensor) -> Tensor:
        embedding: Tensor = self.encoders[number](images)
        return embedding


def frozen_children(encoder: nn.Module) -> int | None:
    """The number of frozen first children of an nn.Sequential; 0 if all of it is frozen; None if nothing is.

    A part is frozen if it has parameters and none of them requires a gradient.
    """
    wants = [parameter.requires_grad for parameter in encoder.parameters()]
    if not wants or (any(wants) and not isinstance(encoder, nn.Sequential)):
        return None
    if not any(wants):
        return 0
    lead = 0
    for number, part in enumerate(encoder.children()):
        own = [parameter.requires_grad for parameter in part.parameters()]
        if any(own):
            break
        lead = number + 1 if own else lead
    return lead or None


@contextmanager
def _views_apart(norms: list[nn.Module], views: int) -> Generator[None]:
    """Within this block, each of `norms` processes the `views` equal parts of its batch one after the other."""

    def split(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        return lambda features: torch.cat([forward(part) for part in features.chunk(views)])

    # A norm whose forward was replaced is computed by the preceding layer, which reads the views.
    split_here = [norm for norm in norms if "forward" not in vars(norm)]
    for norm in norms:
        norm.views = views  # type: ignore[assignment]
    for norm in split_here:
        norm.forward = split(norm.forward)
    try:
        yield
    finally:
        for norm in split_here:
            del norm.forward
        for norm in norms:
            del norm.views


def encoder_shape(pairing: Pairing, task: PairTask) -> ImageShape:
    """The (C, H, W) that each encoder sees."""
    channels, height, width = task.image_shape
    return (channels * task.views if pairing == "two_channel" else channels, height, width)


def build_model(config: RunConfig) -> PairModel:
    """A new model of `config` on the CPU, initialised from torch's global generator.

    Raises:
        MismatchError: two parts do not fit together.
        ShapeError: a module violates its interface.
    """
    task = config.dataset.task
    shape = encoder_shape(config.pairing, task)
    copies = task.views if config.pairing == "pseudo_siamese" else 1
    encoders = [config.encoder.build(shape) for _ in range(copies)]
    size = {_embedding_size(encoder, shape, config.encoder.name) for encoder in encoders}.pop()
    embeddings = (1 if config.pairing == "two_channel" else task.views, size)
    head = config.head.build(embeddings, task)
    loss = config.loss.build(embeddings, task)
    model = PairModel(config.pairing, encoders, head, loss)
    _check_answer(model, embeddings, task, config.head.name)
    return model


def _embedding_size(encoder: nn.Module, shape: ImageShape, name: str) -> int:
    """D, found by encoding one example of zeros, which also initialises lazy layers."""
    encoder.eval()
    with torch.no_grad():
        embedding = encoder(torch.zeros(1, *shape))
    encoder.train()
    if not isinstance(embedding, Tensor) or embedding.ndim != 2 or len(embedding) != 1:
        got = tuple(embedding.shape) if isinstance(embedding, Tensor) else type(embedding).__name__
        raise ShapeError(
            f"encoder '{name}' returned {got} for one image: expected a tensor (1, D). Flatten its output."
        )
    return embedding.shape[1]


def _check_answer(model: PairModel, embeddings: tuple[int, int], task: PairTask, name: str) -> None:
    model.head.eval()
    with torch.no_grad():
        logits = model.head(torch.zeros(1, *embeddings))
    model.head.train()
    wanted = (1, len(task.outcomes))
    if not isinstance(logits, Tensor) or tuple(logits.shape) != wanted:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ShapeError(f"head '{name}' returned {got} for one example: expected logits {wanted}.")
