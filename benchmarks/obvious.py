"""The loop that most people would write: a DataLoader, one branch after the other, metrics read batch by batch.

It trains the very networks of a config, and shares nothing else with pairbench. As a program it trains rounds of the
rows of Table I and prints one JSON document:

    python benchmarks/obvious.py --rows "Baseline,Best Model" --share 0.1 --rounds 1 --threads 1
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.utils.data import TensorDataset

    from pairbench.config.run_config import RunConfig

SUITE = "report"


@dataclass(frozen=True)
class Row:
    """One row of Table I, and the epochs that the report trains it for."""

    name: str
    config: RunConfig

    @property
    def epochs(self) -> int:
        return self.config.train.epochs


def table_one(names: Sequence[str] = ()) -> list[Row]:
    """The rows `names` of the report's Table I; all nine where there are none."""
    from pairbench.config.suite import find_suite
    from pairbench.plugin.registry import installed

    registry = installed()
    found = find_suite(SUITE, registry).only(list(names)).configs([], registry)
    return [Row(name, config) for name, _, config in found]


def shortened(epochs: int, share: float) -> int:
    """`share` of the epochs of a row, one at least."""
    return max(1, round(share * epochs))


def splits_of(config: RunConfig, rounds: int) -> dict[str, list[TensorDataset]]:
    """For train and test, the examples of each round as float32 images (N, V, C, H, W), targets and classes."""
    import torch
    from torch.utils.data import TensorDataset

    scale = {"raw": 1.0, "unit": 1 / 255}[config.train.normalize]
    found: dict[str, list[TensorDataset]] = {}
    for split in ("train", "test"):
        pool = config.dataset.load(split, rounds=rounds, seed=config.train.seed)
        images = pool.images.to(torch.float32) * scale
        found[split] = [
            TensorDataset(images[pool.pairs[number]], pool.target[number], pool.classes[pool.pairs[number]])
            for number in range(rounds)
        ]
    return found


def network(config: RunConfig) -> nn.Module:
    """The network of `config` as a plain module, (N, V, C, H, W) -> (logits (N, O), embeddings (N, M, D))."""
    import torch
    from torch import nn

    from pairbench.model.pair_model import build_model

    built = build_model(config)

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoders, self.head, self.loss = built.encoders, built.head, built.loss

        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            if config.pairing == "two_channel":
                embeddings = self.encoders[0](images.flatten(1, 2)).unsqueeze(1)
            else:
                first = self.encoders[0](images[:, 0])
                second = self.encoders[-1](images[:, 1])
                embeddings = torch.stack([first, second], dim=1)
            return self.head(embeddings), embeddings

    return Network()


def train_round(config: RunConfig, train: TensorDataset, test: TensorDataset, epochs: int, seed: int) -> dict[str, Any]:
    """Train and evaluate one round; the accuracies of the last epoch, and the curves."""
    import torch
    from torch.utils.data import DataLoader

    from pairbench.plugin.components import PairBatch, PairOutput

    torch.manual_seed(seed)
    model = network(config)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[config.train.optimizer]
    optimizer = kind(model.parameters(), lr=config.train.learning_rate)
    train_loader = DataLoader(train, batch_size=config.train.batch_size, shuffle=True)
    test_loader = DataLoader(test, batch_size=config.train.batch_size)

    def one_epoch(loader: DataLoader[Any], training: bool) -> dict[str, float]:
        model.train(training)
        total, right, hit, claimed, positive, count = 0.0, 0, 0, 0, 0, 0
        with torch.set_grad_enabled(training):
            for images, target, classes in loader:
                logits, embeddings = model(images)
                loss, _ = model.loss(PairOutput(logits, embeddings), PairBatch(images, target, classes))
                if training:
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                answer = logits.argmax(dim=1)
                total += loss.item() * len(target)
                right += (answer == target).sum().item()
                hit += ((answer == 1) & (target == 1)).sum().item()
                claimed += (answer == 1).sum().item()
                positive += (target == 1).sum().item()
                count += len(target)
        return {"loss": total / count, "accuracy": right / count, "f1": 2 * hit / max(claimed + positive, 1)}

    curves: dict[str, list[dict[str, float]]] = {"train": [], "test": []}
    for _ in range(epochs):
        curves["train"].append(one_epoch(train_loader, True))
        curves["test"].append(one_epoch(test_loader, False))
    return {"accuracy": curves["test"][-1]["accuracy"], "curves": curves}


def main() -> None:
    """Train the rows that are asked for, one model after the other, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="", help="rows of Table I with commas between; all where none is named")
    parser.add_argument("--share", type=float, default=1.0, help="the share of each row's epochs")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    started = time.perf_counter()
    os.environ["OMP_NUM_THREADS"] = str(chosen.threads)
    import torch

    torch.set_num_threads(chosen.threads)
    # The first optimiser of a process loads torch's compiler; that belongs to starting, not to the first row.
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    rows = table_one([name.strip() for name in chosen.rows.split(",") if name.strip()])
    start = time.perf_counter() - started
    found = []
    for row in rows:
        epochs = shortened(row.epochs, chosen.share)
        wall, cpu = time.perf_counter(), time.process_time()
        splits = splits_of(row.config, chosen.rounds)
        accuracies = [
            train_round(row.config, splits["train"][number], splits["test"][number], epochs, number)["accuracy"]
            for number in range(chosen.rounds)
        ]
        found.append(
            {
                "name": row.name,
                "epochs": epochs,
                "seconds": time.perf_counter() - wall,
                "cpu_seconds": time.process_time() - cpu,
                "accuracies": accuracies,
            }
        )
    print(json.dumps({"start_seconds": start, "threads": chosen.threads, "rounds": chosen.rounds, "rows": found}))


if __name__ == "__main__":
    main()
