"""Scoring a model on the pairs of a split, encoding each image once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pairbench.data import RoundData
from pairbench.interfaces import Comparison, PairBatch
from pairbench.metrics import answer_metrics, class_accuracy
from pairbench.model import PairModel

IMAGES_AT_ONCE = 256
PAIRS_AT_ONCE = 4096


@dataclass(frozen=True)
class Scores:
    """What a model said of N examples: logits (N, O), class logits (N, M, K) or None, and its mean total loss."""

    logits: Tensor
    class_logits: Tensor | None
    total_loss: float


def metrics(scores: Scores, target: Tensor, classes: Tensor) -> dict[str, float]:
    """Every figure of `scores` against target (N,) and classes (N, V)."""
    figures = answer_metrics(scores.logits, target)
    if scores.class_logits is not None:
        figures["class_accuracy"] = class_accuracy(scores.class_logits, classes)
    return figures | {"total_loss": scores.total_loss}


@torch.no_grad()
def evaluate(model: PairModel, data: RoundData, *, supervises: bool) -> dict[str, float]:
    """The figures of `model` on `data` in eval mode, as they should be taken.

    An example does not depend on its neighbours in eval mode, so N pairs over P images cost P encodings.
    """
    model.eval()
    examples = torch.arange(len(data), device=data.rows.device).split(PAIRS_AT_ONCE)
    embedded = None if model.pairing == "two_channel" else _embed_once(model, data)
    parts = []
    for chunk in examples:
        batch = data.batch(chunk)
        if embedded is None:
            embeddings = torch.cat([model.embed(images) for images in batch.images.split(IMAGES_AT_ONCE)])
        else:
            views = range(batch.images.shape[1])
            embeddings = torch.stack([embedded[view][data.rows[chunk, view]] for view in views], dim=1)
        parts.append(_score(model, model.compare(embeddings), batch, supervises))
    return _gathered(parts, data)


@torch.no_grad()
def evaluate_in_training_mode(
    model: PairModel, data: RoundData, *, supervises: bool, batch_size: int
) -> dict[str, float]:
    """The figures of `model` with dropout and batch statistics active, batch by batch: the report's published way."""
    model.train()
    parts = []
    for chunk in torch.arange(len(data), device=data.rows.device).split(batch_size):
        batch = data.batch(chunk)
        parts.append(_score(model, model(batch.images), batch, supervises))
    return _gathered(parts, data)


def _embed_once(model: PairModel, data: RoundData) -> list[Tensor]:
    """For each view the embeddings of all images of the round; one tensor for all views where they share weights."""
    views = data.rows.shape[1]
    shared = model.pairing == "siamese"
    rows = torch.arange(data.image_count, device=data.rows.device).split(IMAGES_AT_ONCE)
    tables = [
        torch.cat([model.embed_view(view, data.images(chunk)) for chunk in rows])
        for view in range(1 if shared else views)
    ]
    return tables * views if shared else tables


def _score(
    model: PairModel, comparison: Comparison, batch: PairBatch, supervises: bool
) -> tuple[Tensor, Tensor | None, Tensor]:
    total, _ = model.loss(comparison, batch)
    class_logits = model.class_logits(comparison.embeddings) if supervises else None
    return comparison.logits, class_logits, total * len(batch.target)


def _gathered(parts: list[tuple[Tensor, Tensor | None, Tensor]], data: RoundData) -> dict[str, float]:
    logits = torch.cat([part[0] for part in parts])
    class_parts = [part[1] for part in parts if part[1] is not None]
    total = float(torch.stack([part[2] for part in parts]).sum()) / len(data)
    return metrics(Scores(logits, torch.cat(class_parts) if class_parts else None, total), data.target, data.classes)
