"""Scoring models on the pairs of a split, encoding each image once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pairbench.config import Distortion, TrainOptions
from pairbench.data import RoundData
from pairbench.interfaces import Comparison, PairBatch
from pairbench.metrics import answer_metrics, class_accuracy
from pairbench.model import PairModel
from pairbench.seeds import stream_seed
from pairbench.training.augmentation import distort
from pairbench.training.frozen import Features, LookedUpBatch, features_of, looked_up
from pairbench.training.shelf import IMAGES_AT_ONCE

PAIRS_AT_ONCE = 4096


@dataclass(frozen=True)
class Scores:
    """What was said of N examples: logits (N, O), class logits (N, M, K) or None, and the mean total loss."""

    logits: Tensor
    class_logits: Tensor | None
    total_loss: float


def metrics(scores: Scores, target: Tensor, classes: Tensor) -> dict[str, float]:
    """Every figure of `scores` against target (N,) and classes (N, V)."""
    # On the CPU, since figures are taken in float64 and MPS has none.
    figures = answer_metrics(scores.logits.cpu(), target.cpu())
    if scores.class_logits is not None:
        figures["class_accuracy"] = class_accuracy(scores.class_logits.cpu(), classes.cpu())
    return figures | {"total_loss": scores.total_loss}


@torch.no_grad()
def evaluate(
    models: Sequence[PairModel], data: RoundData, train: TrainOptions, *, supervises: bool, copies: int = 0
) -> dict[str, float]:
    """The figures of an ensemble on `data` in eval mode, as they should be taken.

    An example does not depend on its neighbours in eval mode, so N pairs over P images cost P encodings a model.

    Args:
        models: the members; their probabilities are averaged.
        data: the examples.
        train: says how images are distorted at test time.
        supervises: whether the loss gives class logits.
        copies: average over this many distorted copies of the images, at half of the training amounts.
    """
    seed = stream_seed(train.seed, 0, "tta")
    scores = []
    for model in models:
        model.eval()
        generator = torch.Generator().manual_seed(seed)
        for _ in range(max(copies, 1)):
            amounts: dict[Distortion, float] = (
                {name: amount / 2 for name, amount in train.augment.items()} if copies else {}
            )
            scores.append(_evaluate_once(model, data, supervises, amounts, generator))
    return metrics(_mean(scores), data.target, data.classes)


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
    return metrics(_gathered(parts, data), data.target, data.classes)


def _evaluate_once(
    model: PairModel, data: RoundData, supervises: bool, amounts: dict[Distortion, float], generator: torch.Generator
) -> Scores:
    two_channel = model.pairing == "two_channel"
    features = features_of(model, data) if looked_up(model, amounts) else None
    embedded = [] if two_channel else _embed_once(model, data, amounts, generator, features)
    parts = []
    for chunk in torch.arange(len(data), device=data.rows.device).split(PAIRS_AT_ONCE):
        batch = (
            data.batch(chunk)
            if features is None
            else LookedUpBatch(features, data, data.rows[chunk], data.target[chunk], data.classes[chunk])
        )
        if two_channel:
            images = batch.images.flatten(0, 1)
            images = distort(images, amounts, generator, data.black) if amounts else images
            pieces = images.view(batch.images.shape).split(IMAGES_AT_ONCE)
            embeddings = torch.cat([model.embed(piece) for piece in pieces])
        else:
            views = range(batch.images.shape[1])
            embeddings = torch.stack([embedded[view][data.rows[chunk, view]] for view in views], dim=1)
        parts.append(_score(model, model.compare(embeddings), batch, supervises))
    return _gathered(parts, data)


def _embed_once(
    model: PairModel,
    data: RoundData,
    amounts: dict[Distortion, float],
    generator: torch.Generator,
    features: Features | None,
) -> list[Tensor]:
    """For each view the embeddings of all images of the round; one tensor for all views where they share weights."""
    views = data.rows.shape[1]
    shared = model.pairing == "siamese"
    tables: list[list[Tensor]] = [[] for _ in range(1 if shared else views)]
    for rows in torch.arange(data.image_count, device=data.rows.device).split(IMAGES_AT_ONCE):
        if features is not None:
            tables[0].append(model.embed_features(features(rows)))
            continue
        images = data.images(rows)
        images = distort(images, amounts, generator, data.black) if amounts else images
        for view, table in enumerate(tables):
            table.append(model.embed_view(view, images))
    joined = [torch.cat(table) for table in tables]
    return joined * views if shared else joined


def _score(
    model: PairModel, comparison: Comparison, batch: PairBatch, supervises: bool
) -> tuple[Tensor, Tensor | None, Tensor]:
    total, _ = model.loss(comparison, batch)
    class_logits = model.class_logits(comparison.embeddings) if supervises else None
    return comparison.logits, class_logits, total * len(batch.target)


def _gathered(parts: list[tuple[Tensor, Tensor | None, Tensor]], data: RoundData) -> Scores:
    logits = torch.cat([part[0] for part in parts])
    class_parts = [part[1] for part in parts if part[1] is not None]
    total = float(torch.stack([part[2] for part in parts]).sum()) / len(data)
    return Scores(logits, torch.cat(class_parts) if class_parts else None, total)


def _mean(scores: list[Scores]) -> Scores:
    """The mean of the probabilities, as logarithms; the mean of the total losses."""
    if len(scores) == 1:
        return scores[0]
    class_logits = [score.class_logits for score in scores if score.class_logits is not None]
    return Scores(
        _log_mean([score.logits for score in scores]),
        _log_mean(class_logits) if class_logits else None,
        sum(score.total_loss for score in scores) / len(scores),
    )


def _log_mean(logits: Sequence[Tensor]) -> Tensor:
    return torch.stack([part.float().log_softmax(dim=-1) for part in logits]).logsumexp(dim=0)
