"""What others would write: a Lightning module, and JAX with all rounds along an axis of `vmap`; same networks and data.

Both need the extra `peers`: pip install "pairbench[peers]".
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from obvious import network

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.data import TensorDataset

    from pairbench.config.run_config import RunConfig


def lightning_round(config: RunConfig, train: TensorDataset, test: TensorDataset, epochs: int, seed: int) -> float:
    """The accuracy after `epochs` in Lightning's own training loop, evaluated each epoch."""
    import lightning
    import torch
    from torch.utils.data import DataLoader

    from pairbench.plugin.components import PairBatch, PairOutput

    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    torch.manual_seed(seed)

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.right, self.count, self.accuracy = network(config), 0, 0, 0.0

        def training_step(self, batch: Any, _: int) -> Any:
            images, target, classes = batch
            logits, embeddings = self.model(images)
            return self.model.loss(PairOutput(logits, embeddings), PairBatch(images, target, classes))[0]

        def on_validation_epoch_start(self) -> None:
            self.right = self.count = 0

        def validation_step(self, batch: Any, _: int) -> None:
            images, target, _ = batch
            self.right += int((self.model(images)[0].argmax(1) == target).sum())
            self.count += len(target)

        def on_validation_epoch_end(self) -> None:
            self.accuracy = self.right / self.count

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=config.train.learning_rate)

    size, module = config.train.batch_size, Module()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(module, DataLoader(train, batch_size=size, shuffle=True), DataLoader(test, batch_size=size))
    return module.accuracy


def jax_rounds(
    config: RunConfig, train: Sequence[TensorDataset], test: Sequence[TensorDataset], epochs: int
) -> list[float]:
    """The accuracy of each round after `epochs`: Adam over all rounds at once, one compiled step, evaluated each epoch.

    Knows networks of linear layers, unpadded convolutions and ReLU, with a linear head and the loss `aux`.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np
    import torch

    weights, forward = [], None
    for seed in range(len(train)):
        torch.manual_seed(seed)
        model = network(config)
        parameters, forward = _translated(model)
        weights.append(parameters)
    assert forward is not None
    state = jax.tree.map(lambda *parts: jnp.stack(parts), *weights)
    weigh = config.loss.values()["weights"]

    def loss(parameters: Any, images: Any, target: Any, classes: Any) -> Any:
        logits, embeddings = forward(parameters, images)
        terms = [_cross_entropy(jax, embeddings[:, view], classes[:, view]) for view in range(2)]
        return sum(w * t for w, t in zip(weigh, [*terms, _cross_entropy(jax, logits, target)], strict=True))

    def step(parameters: Any, first: Any, second: Any, count: Any, *batch: Any) -> Any:
        gradient = jax.grad(loss)(parameters, *batch)
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradient)
        rate = config.train.learning_rate * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        moved = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + 1e-8), parameters, first, second)
        return moved, first, second

    every = jax.jit(jax.vmap(step, in_axes=(0, 0, 0, None, 0, 0, 0)))
    answer = jax.jit(jax.vmap(lambda parameters, images: forward(parameters, images)[0].argmax(1)))

    def stacked(sets: Sequence[TensorDataset]) -> list[Any]:
        return [np.stack([part.tensors[place].numpy() for part in sets]) for place in range(3)]

    learned, asked = stacked(train), stacked(test)
    first, second = jax.tree.map(jnp.zeros_like, state), jax.tree.map(jnp.zeros_like, state)
    random, count, size = np.random.default_rng(0), 0, config.train.batch_size
    rows, accuracy = np.arange(len(train))[:, None], np.zeros(len(train))
    for _ in range(epochs):
        order = np.stack([random.permutation(learned[1].shape[1]) for _ in train])
        for start in range(0, order.shape[1], size):
            chosen, count = order[:, start : start + size], count + 1
            state, first, second = every(state, first, second, count, *(part[rows, chosen] for part in learned))
        accuracy = (np.asarray(answer(state, asked[0])) == asked[1]).mean(axis=1)
    return [float(value) for value in accuracy]


def _cross_entropy(jax: Any, logits: Any, target: Any) -> Any:
    chosen = jax.nn.log_softmax(logits)[jax.numpy.arange(len(target)), target]
    return -chosen.mean()


def _translated(model: nn.Module) -> tuple[list[Any], Callable[[Any, Any], Any]]:
    """The weights of a siamese network as JAX arrays, and a function (weights, images) -> (logits, embeddings)."""
    import jax
    import jax.numpy as jnp
    from torch import nn

    layers = [layer for part in (model.encoders[0], model.head) for layer in part]
    split = len(list(model.encoders[0]))
    weights = [[jnp.asarray(item.detach().numpy()) for item in layer.parameters()] for layer in layers]

    def through(parameters: Any, values: Any, start: int, stop: int) -> Any:
        for layer, own in zip(layers[start:stop], parameters[start:stop], strict=True):
            if isinstance(layer, nn.Flatten):
                values = values.reshape(len(values), -1)
            elif isinstance(layer, nn.ReLU):
                values = jax.nn.relu(values)
            elif isinstance(layer, nn.Linear):
                values = values @ own[0].T + (own[1] if len(own) > 1 else 0)
            elif isinstance(layer, nn.Conv2d):
                values = jax.lax.conv(values, own[0], layer.stride, "VALID") + own[1][None, :, None, None]
            else:
                raise NotImplementedError(f"{type(layer).__name__} is not written in JAX here")
        return values

    def forward(parameters: Any, images: Any) -> Any:
        folded = images.reshape(-1, *images.shape[2:])
        embeddings = through(parameters, folded, 0, split).reshape(*images.shape[:2], -1)
        return through(parameters, embeddings, split, len(layers)), embeddings

    return weights, forward
