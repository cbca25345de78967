"""Scoring models on the pairs of a split, encoding each image once."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from pairbench.config.train_options import Distortion, TrainOptions
from pairbench.data.augmentation import distort
from pairbench.data.round_data import RoundData
from pairbench.model.pair_model import PairModel
from pairbench.plugin.components import PairBatch, PairOutput
from pairbench.seeds import stream_seed
from pairbench.training.feature_cache import IMAGES_AT_ONCE
from pairbench.training.frozen_features import Features, LookedUpBatch, features_of, looked_up

PAIRS_AT_ONCE = 4096


@dataclass(frozen=True)
class Scores:
    """The output for N examples: logits (N, O), class logits (N, M, K) or None, and mean total loss.

    swapped: logits (N, O) after the first and second image, or candidate, are exchanged; None if not evaluated.
    """

    logits: Tensor
    class_logits: Tensor | None
    total_loss: float
    swapped: Tensor | None = None


@torch.no_grad()
def evaluate(
    models: Sequence[PairModel],
    data: RoundData,
    train: TrainOptions,
    *,
    supervises: bool,
    copies: int = 0,
    swap: bool = False,
) -> Scores:
    """The output of an ensemble for `data` in eval mode, the correct way to evaluate.

    An example does not depend on its neighbours in eval mode, so N pairs over P images cost P encodings a model.

    Args:
        models: the members; their probabilities are averaged.
        data: the examples.
        train: the options that say how images are distorted at test time.
        supervises: whether the loss has class logits.
        copies: average over this many distorted copies of the images, at half of the training amounts.
        swap: whether to evaluate the exchanged examples too.
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
            scores.append(_scores_once(model, data, supervises, amounts, generator, swap))
    return _mean(scores)


@torch.no_grad()
def evaluate_in_training_mode(
    model: PairModel, data: RoundData, *, supervises: bool, batch_size: int, swap: bool = False
) -> Scores:
    """The output of `model` batch by batch with dropout and batch statistics active, as the report evaluated."""
    model.train()
    parts, swapped = [], []
    for chunk in torch.arange(len(data), device=data.rows.device).split(batch_size):
        batch = data.batch(chunk)
        parts.append(_score(model, model(batch.images), batch, supervises))
        if swap:
            with _restored(model):
                swapped.append(model(exchanged(batch.images)).logits)
    return _gathered(parts, data, swapped)


def exchanged(views: Tensor) -> Tensor:
    """(N, V, ...) with the last two views exchanged: the images of a pair, the candidates of a preference."""
    return torch.cat([views[:, :-2], views[:, -2:].flip(1)], dim=1)


@contextmanager
def _restored(model: PairModel) -> Generator[None]:
    """Restore the buffers of `model` and the state of the random numbers after this block."""
    kept = [buffer.clone() for buffer in model.buffers()]
    devices = {buffer.device for buffer in (*model.parameters(), *kept) if buffer.device.type == "cuda"}
    with torch.random.fork_rng(devices=sorted(devices, key=str)):
        yield
    for buffer, value in zip(model.buffers(), kept, strict=True):
        buffer.copy_(value)


def _scores_once(
    model: PairModel,
    data: RoundData,
    supervises: bool,
    amounts: dict[Distortion, float],
    generator: torch.Generator,
    swap: bool,
) -> Scores:
    two_channel = model.pairing == "two_channel"
    features = features_of(model, data) if looked_up(model, amounts) else None
    embedded = [] if two_channel else _embed_once(model, data, amounts, generator, features, swap)
    parts, swapped = [], []
    for chunk in torch.arange(len(data), device=data.rows.device).split(PAIRS_AT_ONCE):
        batch = (
            data.batch(chunk)
            if features is None
            else LookedUpBatch(features, data, data.rows[chunk], data.target[chunk], data.classes[chunk])
        )
        if two_channel:
            images = batch.images.flatten(0, 1)
            images = distort(images, amounts, generator, data.black) if amounts else images
            images = images.view(batch.images.shape)
            embeddings = _embed_examples(model, images)
            other = _embed_examples(model, exchanged(images)) if swap else None
        else:
            embeddings = _picked(embedded, data.rows[chunk])
            other = _picked(embedded, exchanged(data.rows[chunk])) if swap else None
        parts.append(_score(model, model.compare(embeddings), batch, supervises))
        if other is not None:
            swapped.append(model.compare(other).logits)
    return _gathered(parts, data, swapped)


def _embed_examples(model: PairModel, images: Tensor) -> Tensor:
    """(N, V, C, H, W) -> (N, M, D), some examples at a time."""
    return torch.cat([model.embed(piece) for piece in images.split(IMAGES_AT_ONCE)])


@dataclass(frozen=True)
class _Embedded:
    """The embeddings of one encoder: a table (R, D), and the row of each image of the round in it."""

    table: Tensor
    places: Tensor

    def of(self, images: Tensor) -> Tensor:
        """(N, ...) indices of images -> (N, ..., D)."""
        return self.table.index_select(0, self.places[images.flatten()]).view(*images.shape, -1)


def _picked(embedded: list[_Embedded], rows: Tensor) -> Tensor:
    """(N, V, D), the embeddings of the images at rows (N, V), each view by its own encoder."""
    if len(embedded) == 1:
        return embedded[0].of(rows)
    return torch.stack([made.of(rows[:, view]) for view, made in enumerate(embedded)], dim=1)


def _embed_once(
    model: PairModel,
    data: RoundData,
    amounts: dict[Distortion, float],
    generator: torch.Generator,
    features: Sequence[Features] | None,
    swap: bool,
) -> list[_Embedded]:
    """The embeddings of the images that each view may need, by its own encoder; one item if all views share one."""
    everything = torch.arange(data.image_count, device=data.rows.device)
    if model.pairing == "siamese":
        return [_embed_with(model, 0, data, everything, amounts, generator, features)]
    found, state = [], generator.get_state()
    for view in range(data.rows.shape[1]):
        # The same distortions for each encoder.
        generator.set_state(state)
        wanted = everything if swap or amounts else torch.unique(data.rows[:, view])
        found.append(_embed_with(model, view, data, wanted, amounts, generator, features))
    return found


def _embed_with(
    model: PairModel,
    view: int,
    data: RoundData,
    wanted: Tensor,
    amounts: dict[Distortion, float],
    generator: torch.Generator,
    features: Sequence[Features] | None,
) -> _Embedded:
    table: Tensor | None = None
    start = 0
    for rows in wanted.split(IMAGES_AT_ONCE):
        if features is not None:
            embeddings = model.embed_features(features[view](rows), view)
        else:
            images = data.images(rows)
            images = distort(images, amounts, generator, data.black) if amounts else images
            embeddings = model.embed_view(view, images)
        if table is None:
            table = embeddings.new_empty(len(wanted), embeddings.shape[1])
        # Copied piece by piece: concatenating at the end takes several times as long if the batch is last in memory.
        table[start : start + len(rows)] = embeddings
        start += len(rows)
    assert table is not None
    places = wanted.new_empty(data.image_count)
    places[wanted] = torch.arange(len(wanted), device=wanted.device)
    return _Embedded(table, places)


def _score(
    model: PairModel, comparison: PairOutput, batch: PairBatch, supervises: bool
) -> tuple[Tensor, Tensor | None, Tensor]:
    total, _ = model.loss(comparison, batch)
    class_logits = model.class_logits(comparison.embeddings) if supervises else None
    return comparison.logits, class_logits, total * len(batch.target)


def _gathered(parts: list[tuple[Tensor, Tensor | None, Tensor]], data: RoundData, swapped: Sequence[Tensor]) -> Scores:
    logits = torch.cat([part[0] for part in parts])
    class_parts = [part[1] for part in parts if part[1] is not None]
    total = float(torch.stack([part[2] for part in parts]).sum()) / len(data)
    return Scores(
        logits,
        torch.cat(class_parts) if class_parts else None,
        total,
        torch.cat(list(swapped)) if swapped else None,
    )


def _mean(scores: list[Scores]) -> Scores:
    """The mean of the probabilities, as logarithms; the mean of the total losses."""
    if len(scores) == 1:
        return scores[0]
    class_logits = [score.class_logits for score in scores if score.class_logits is not None]
    swapped = [score.swapped for score in scores if score.swapped is not None]
    return Scores(
        _log_mean([score.logits for score in scores]),
        _log_mean(class_logits) if class_logits else None,
        sum(score.total_loss for score in scores) / len(scores),
        _log_mean(swapped) if swapped else None,
    )


def _log_mean(logits: Sequence[Tensor]) -> Tensor:
    return torch.stack([part.float().log_softmax(dim=-1) for part in logits]).logsumexp(dim=0)
