"""A saved model as a callable: images in, answers with probabilities out; each image is encoded once."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor, nn

from pairbench.data.augmentation import grids, resampled
from pairbench.errors import DataError, SpecError
from pairbench.model.checkpoint import Kept, restored
from pairbench.plugin.images import opened
from pairbench.plugin.registry import installed
from pairbench.seeds import stream_seed
from pairbench.store.model_files import find_model
from pairbench.store.store import Store

AT_ONCE = 256


@dataclass(frozen=True)
class Answer:
    """A model's answer to one example.

    answer: the outcome with the highest probability.
    probabilities: of each outcome, by name.
    logits: the model's output; for an ensemble the logarithms of the mean probabilities.
    """

    answer: str
    probabilities: dict[str, float]
    logits: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Answers(Sequence[Answer]):
    """A model's answers to N examples, as a sequence of `Answer`; logits and probabilities (N, O) are on the CPU."""

    outcomes: tuple[str, ...]
    logits: Tensor

    @property
    def probabilities(self) -> Tensor:
        """(N, O); each row sums to 1."""
        return self.logits.double().softmax(dim=1)

    @property
    def answers(self) -> list[str]:
        """The name of each answer."""
        return [self.outcomes[number] for number in self.logits.argmax(dim=1).tolist()]

    def __len__(self) -> int:
        return len(self.logits)

    @overload
    def __getitem__(self, index: int) -> Answer: ...
    @overload
    def __getitem__(self, index: slice) -> Answers: ...
    def __getitem__(self, index: int | slice) -> Answer | Answers:
        if isinstance(index, slice):
            return Answers(self.outcomes, self.logits[index])
        logits = self.logits[index]
        probabilities = dict(zip(self.outcomes, logits.double().softmax(dim=0).tolist(), strict=True))
        return Answer(self.outcomes[int(logits.argmax())], probabilities, tuple(logits.tolist()))


class Network(nn.Module):
    """The complete computation of a saved model on pixels: scaling, members of an ensemble, test-time augmentation.

    Test-time distortions are the same for all images, so that an answer does not depend on the rest of the batch.
    """

    def __init__(self, kept: Kept) -> None:
        super().__init__()
        self.members = nn.ModuleList(kept.members)
        self.register_buffer("shift", kept.scaling.shift)
        self.register_buffer("scale", kept.scaling.scale)
        train, (_, height, width) = kept.config.train, kept.config.dataset.task.image_shape
        generator = torch.Generator().manual_seed(stream_seed(train.seed, 0, "tta"))
        amounts = {name: amount / 2 for name, amount in train.augment.items()}
        grid = grids(train.tta, height, width, amounts, generator) if train.tta else torch.zeros(0, height, width, 2)
        self.register_buffer("grid", grid)
        self.shift: Tensor
        self.scale: Tensor
        self.grid: Tensor
        self.pairing = kept.config.pairing

    @property
    def passes(self) -> list[tuple[Any, int | None]]:
        """Each member with each test-time distortion (None for undistorted images)."""
        copies = range(len(self.grid)) if len(self.grid) else (None,)
        return [(member, copy) for member in self.members for copy in copies]

    def forward(self, images: Tensor) -> Tensor:
        """(N, V, C, H, W) pixel values from 0 to 255 -> logits (N, O)."""
        views = images.shape[1]
        outputs = []
        for member, copy in self.passes:
            seen = [self.seen(images[:, view], copy) for view in range(views)]
            outputs.append(member(torch.stack(seen, dim=1)).logits)
        return mean_logits(outputs)

    def seen(self, images: Tensor, copy: int | None) -> Tensor:
        """Pixels (N, C, H, W) scaled for the members, float32."""
        scaled = (images.float() - self.shift) * self.scale
        if copy is None:
            return scaled
        grid = self.grid[copy].unsqueeze(0).expand(images.shape[0], -1, -1, -1)
        return resampled(scaled, grid, -self.shift * self.scale)


def mean_logits(outputs: Sequence[Tensor]) -> Tensor:
    """The logits of one model, or the logarithms of the mean probabilities of several."""
    if len(outputs) == 1:
        return outputs[0]
    return torch.stack([part.float().softmax(dim=-1) for part in outputs]).mean(dim=0).clamp(min=1e-38).log()


class Model:
    """A saved model: call it with the images of one example, or with a batch for each position."""

    def __init__(self, kept: Kept, device: torch.device | None = None) -> None:
        self.kept, self.device = kept, device or torch.device("cpu")
        self.config, self.task = kept.config, kept.config.dataset.task
        self.network = Network(kept).to(self.device).eval()

    @property
    def outcomes(self) -> tuple[str, ...]:
        """The names of the answers."""
        return self.task.outcomes

    @property
    def description(self) -> dict[str, Any]:
        """The description in the model's file: config, config_id, round, seed, metrics, scaling and more."""
        return dict(self.kept.description)

    def __repr__(self) -> str:
        about = self.description
        return f"<pairbench model {about['config_id']}/{about['round']}: {self.config}>"

    def __call__(self, *images: Any) -> Answer | Answers:
        """The answer to one example, or to a batch of them.

        Args:
            images: one for each position (two, or reference, first and second). Each is a path, a PIL image, an array
                (H, W) or (H, W, C) of uint8, a tensor (C, H, W) of uint8, or for a batch a list of these, an array
                (N, H, W, C) or a tensor (N, C, H, W).

        Raises:
            DataError: an image cannot be used.
        """
        self._count(len(images))
        batched = [_is_batch(image) for image in images]
        if not any(batched):
            return self.compare([images])[0]
        if not all(batched):
            raise DataError("got both a single image and a batch: expected only single images or only batches.")
        if len({len(image) for image in images}) > 1:
            raise DataError("the batches differ in size: expected the same number of images in each.")
        return self.compare(list(zip(*images, strict=True)))

    def compare(self, examples: Sequence[Sequence[Any]], progress: Callable[[int, int], None] | None = None) -> Answers:
        """The answers to `examples`, each a sequence of two images (or three); repeated paths are read once."""
        seen: dict[Any, int] = {}
        order: list[Any] = []
        rows = []
        for example in examples:
            self._count(len(example))
            row = []
            for image in example:
                key = str(Path(image)) if isinstance(image, str | PathLike) else id(image)
                if key not in seen:
                    seen[key] = len(order)
                    order.append(image)
                row.append(seen[key])
            rows.append(row)
        if not rows:
            return Answers(self.outcomes, torch.zeros(0, len(self.outcomes)))
        return self.compare_rows(lambda number: self.pixels(order[number]), len(order), torch.tensor(rows), progress)

    @torch.inference_mode()
    def compare_rows(
        self,
        pixels: Callable[[int], Tensor],
        count: int,
        rows: Tensor,
        progress: Callable[[int, int], None] | None = None,
    ) -> Answers:
        """The answers to rows (N, V) of `count` images; `pixels` returns image i as (C, H, W) uint8.

        Raises:
            DataError: an image cannot be used.
        """
        tell = progress or _silent
        if self.network.pairing == "two_channel":
            return self._stacked(pixels, rows, tell)
        views = rows.shape[1]
        kinds = range(1 if self.network.pairing == "siamese" else views)
        tables: list[list[list[Tensor]]] = [[[] for _ in kinds] for _ in self.network.passes]
        for start in range(0, count, AT_ONCE):
            stop = min(start + AT_ONCE, count)
            images = torch.stack([pixels(number) for number in range(start, stop)]).to(self.device)
            for table, (member, copy) in zip(tables, self.network.passes, strict=True):
                scaled = self.network.seen(images, copy)
                for view in kinds:
                    table[view].append(member.embed_view(view, scaled))
            tell(stop, count)
        outputs = []
        for table, (member, _) in zip(tables, self.network.passes, strict=True):
            joined = [torch.cat(parts) for parts in table]
            embedded = joined * views if len(joined) == 1 else joined
            logits = []
            for part in rows.to(self.device).split(4096):
                chosen = torch.stack([embedded[view][part[:, view]] for view in range(views)], dim=1)
                logits.append(member.compare(chosen).logits)
            outputs.append(torch.cat(logits))
        return Answers(self.outcomes, mean_logits(outputs).float().cpu())

    def _stacked(self, pixels: Callable[[int], Tensor], rows: Tensor, tell: Callable[[int, int], None]) -> Answers:
        """Like `compare_rows`, for an encoder that sees all images of an example at once."""
        logits, done = [], 0
        for part in rows.split(AT_ONCE):
            used, places = torch.unique(part, return_inverse=True)
            images = torch.stack([pixels(int(number)) for number in used])
            logits.append(self.network(images[places].to(self.device)).float().cpu())
            done += len(part)
            tell(done, len(rows))
        return Answers(self.outcomes, torch.cat(logits))

    @torch.inference_mode()
    def embed(self, images: Any, *, view: int = 0) -> Tensor:
        """The embeddings (N, D) of a batch of images, or (D,) of one, by the first member of an ensemble.

        view: the position whose encoder is used, if each position has its own.

        Raises:
            SpecError: the encoder sees all images of an example at once, so that one alone has no embedding.
        """
        if self.network.pairing == "two_channel":
            raise SpecError("pairing=two_channel has no embedding of one image. Use a model with pairing=siamese.")
        batch = images if _is_batch(images) else [images]
        member: Any = self.network.members[0]
        parts = []
        for start in range(0, len(batch), AT_ONCE):
            pixels = torch.stack([self.pixels(image) for image in _items(batch)[start : start + AT_ONCE]])
            parts.append(member.embed_view(view, self.network.seen(pixels.to(self.device), None)).float().cpu())
        joined = torch.cat(parts) if parts else torch.zeros(0, 0)
        return joined if _is_batch(images) else joined[0]

    def pixels(self, image: Any) -> Tensor:
        """One image in the format of the model's dataset: (C, H, W) uint8.

        Raises:
            DataError: it cannot be used.
        """
        if isinstance(image, str | PathLike):
            with opened(image, self.config.dataset.largest_image) as found:
                return self._fitting(found)
        if isinstance(image, Tensor) and image.ndim == 3 and image.dtype == torch.uint8:
            if tuple(image.shape) == self.task.image_shape:
                return image.cpu()
            image = image.permute(1, 2, 0).cpu().numpy()
            image = image[:, :, 0] if image.shape[2] == 1 else image
        if isinstance(image, np.ndarray):
            return self._fitting(_from_array(image))
        if hasattr(image, "getexif"):
            return self._fitting(image)
        what = f"{image.dtype} {tuple(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
        raise DataError(
            f"an image is {what}: expected a path, a PIL image, an array (H, W[, C]) or a tensor (C, H, W), of uint8."
        )

    def _fitting(self, image: Any) -> Tensor:
        fitting = torch.from_numpy(np.array(self.config.dataset.pixels(image)))
        if fitting.dtype != torch.uint8 or tuple(fitting.shape) != self.task.image_shape:
            raise DataError(
                f"dataset '{self.config.dataset.name}' turned an image into {tuple(fitting.shape)}: expected "
                f"{self.task.image_shape} of uint8."
            )
        return fitting

    def _count(self, count: int) -> None:
        if count != self.task.views:
            names = "a reference and two candidates" if self.task.views == 3 else "two images"
            raise DataError(f"{count} images were given: expected {names}.")


def _silent(done: int, total: int) -> None:
    """Tell nobody."""


def _from_array(image: Any) -> Any:
    from PIL import Image

    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3, 4)):
        raise DataError(f"an image is an array {image.shape} of {image.dtype}: expected (H, W) or (H, W, C) of uint8.")
    if not image.size:
        raise DataError(f"an image is an array {image.shape}: expected at least one pixel.")
    return Image.fromarray(image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else np.ascontiguousarray(image))


def _is_batch(images: Any) -> bool:
    return isinstance(images, list | tuple) or (isinstance(images, np.ndarray | Tensor) and images.ndim == 4)


def _items(batch: Any) -> Any:
    return list(batch) if not isinstance(batch, list) else batch


def load(path: str | Path, *, store: str | Path | None = None, device: str = "cpu") -> Model:
    """The saved model at `path`, ready to be called with images; a path, or CONFIG_ID[/ROUND] of the store.

    Warns if the code that the model was trained with has changed since.

    Raises:
        SpecError: there is no such model.
        DataError: it is damaged, or needs a component that is not installed here.
    """
    model = opened_model(str(path), store, device)
    for note in model.kept.notes:
        warnings.warn(note, UserWarning, stacklevel=2)
    return model


def opened_model(handle: str, store: str | Path | None = None, device: str = "cpu") -> Model:
    """Like `load`, without warnings: the saved model's notes say the same."""
    registry = installed()
    place = torch.device(device)
    return Model(restored(find_model(handle, Store(store), registry), place, registry), place)
