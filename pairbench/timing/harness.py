"""A model and its optimiser, and the calls that timings and benchmarks repeat."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import torch

from pairbench.config.run_config import RunConfig
from pairbench.model.pair_model import build_model
from pairbench.plugin.components import PairBatch
from pairbench.training.acceleration import accelerated, autocast, laid_out, suitable
from pairbench.training.optim import build_optimizer


class Subject:
    """One config on one device; its weights come from seed 0 and its batches are noise."""

    def __init__(self, config: RunConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        torch.manual_seed(0)
        self.model = build_model(config).to(device)
        self._within = contextlib.ExitStack()
        self.optimizer = build_optimizer(config.train, self.model)
        # Members of an ensemble cost the same, so one is repeated; so are the copies of test-time augmentation.
        self.passes = config.train.members * max(1, config.train.tta)

    def batch(self, size: int) -> PairBatch:
        """`size` examples of noise in the shapes of the config's dataset."""
        task = self.config.dataset.task
        images = torch.rand(size, task.views, *task.image_shape)
        classes = torch.full((size, task.views), -1)
        if task.num_classes:
            classes = torch.randint(task.num_classes, (size, task.views))
        target = torch.randint(len(task.outcomes), (size,))
        return PairBatch(images.to(self.device), target.to(self.device), classes.to(self.device))

    def ready(self, training: bool, *, accelerators: bool = False) -> None:
        """Put the model into training or eval mode, as torch runs it by default or with the accelerators that suit."""
        self._within.close()
        self.model.train(training)
        if accelerators:
            laid_out(self.model, self.config.train, self.device)
            self._within.enter_context(accelerated(self.config.train, self.device, self.model))
        else:
            self.model.to(memory_format=torch.contiguous_format)

    def accelerators(self) -> list[str]:
        """The accelerators that training this config uses."""
        return list(suitable(self.model, self.config.train, self.device))

    def train(self, batch: PairBatch) -> None:
        """One training step; after `ready(True)`."""
        self.optimizer.zero_grad(set_to_none=True)
        with autocast(self.model, self.device.type, self.config.train.precision == "bf16"):
            comparison = self.model(batch.images)
        total, _ = self.model.loss(comparison.float(), batch)
        total.backward()
        self.optimizer.step()

    def infer(self, batch: PairBatch) -> None:
        """The answers to a batch; after `ready(False)`."""
        with torch.inference_mode():
            self.repeated(lambda: self.model(batch.images))

    def repeated(self, answer: Callable[[], object]) -> None:
        """Call `answer` once for each member of an ensemble and each copy of test-time augmentation."""
        for _ in range(self.passes):
            answer()

    def encode(self, batch: PairBatch) -> None:
        """The embeddings of a batch, without the head; after `ready(False)`."""
        with torch.inference_mode():
            for _ in range(self.passes):
                self.model.embed(batch.images)

    def synchronise(self) -> None:
        """Wait until the device has finished all work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()
