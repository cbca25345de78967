"""Examples of components and of the values that they exchange."""

from __future__ import annotations

INTERFACES = {
    "Component": """
import pairbench
from pairbench_report import Cnn

print(issubclass(Cnn, pairbench.Component), Cnn.slot, Cnn.name)  # -> True encoder cnn
print(Cnn(channels=(4, 8)) == Cnn(channels=(4, 8)))  # -> True
print(Cnn(channels=(4, 8)).values()["channels"])  # -> [4, 8]
""",
    "PairDataset": """
import pairbench


class Levels(pairbench.PairDataset):
    \"\"\"Is the first square at most as bright as the second?

    pairs: pairs in a round.
    \"\"\"

    name = "levels"
    pairs: pairbench.PositiveInt = 100

    @property
    def task(self):
        return pairbench.PairTask("ordering", (1, 8, 8))

    def load(self, split, *, rounds, seed):
        import torch

        # No gray level is in two splits, so no image is.
        levels = torch.arange(pairbench.SPLITS.index(split), 256, 3)
        generators = [torch.Generator().manual_seed(1000 * seed + number) for number in range(rounds)]
        pairs = torch.stack([torch.randint(len(levels), (self.pairs, 2), generator=one) for one in generators])
        first, second = levels[pairs].unbind(dim=2)
        images = levels.to(torch.uint8).reshape(-1, 1, 1, 1).repeat(1, 1, 8, 8)
        return pairbench.PairPool(images, pairs, (first <= second).long(), torch.full((len(levels),), -1))


print(tuple(Levels().load("test", rounds=3, seed=0).pairs.shape))  # -> (3, 100, 2)
""",
    "Encoder": """
import pairbench


class Pooled(pairbench.Encoder):
    \"\"\"Average pooling and one linear layer.

    embedding_dim: the size of the embedding.
    \"\"\"

    name = "pooled"
    embedding_dim: pairbench.PositiveInt = 10

    def build(self, image_shape):
        from torch import nn

        return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.LazyLinear(self.embedding_dim))


print(len(Pooled(embedding_dim=32).build((1, 14, 14))))  # -> 3
""",
    "ComparisonHead": """
import pairbench


class Concatenated(pairbench.ComparisonHead):
    \"\"\"One linear layer over the concatenated embeddings.\"\"\"

    name = "concatenated"

    def build(self, embedding_shape, task):
        from torch import nn

        images, size = embedding_shape
        return nn.Sequential(nn.Flatten(), nn.Linear(images * size, len(task.outcomes)))


head = Concatenated().build((2, 10), pairbench.PairTask("ordering", (1, 14, 14)))
print(head[1].in_features, head[1].out_features)  # -> 20 2
""",
    "LossStrategy": """
import pairbench


class Hinge(pairbench.LossStrategy):
    \"\"\"A multi-class hinge loss.

    margin: by how much the right answer has to win.
    \"\"\"

    name = "hinge"
    margin: pairbench.PositiveFloat = 1.0

    def build(self, embedding_shape, task):
        from torch import nn

        class Module(nn.Module):
            def forward(module, output, batch):
                loss = nn.functional.multi_margin_loss(output.logits, batch.target, margin=self.margin)
                return loss, {"hinge": loss}

        return Module()


print(Hinge(margin=2).margin)  # -> 2.0
""",
}

VALUES = {
    "PairTask": """
import pairbench

task = pairbench.PairTask("verification", (3, 32, 32), outcomes=("different", "same"), num_classes=5)
print(task.views, task.outcomes[1])  # -> 2 same
""",
    "PairPool": """
import pairbench
from pairbench_report import MnistPairs

pool = MnistPairs(train_pairs=50).load("train", rounds=3, seed=0)
print(isinstance(pool, pairbench.PairPool), tuple(pool.pairs.shape))  # -> True (3, 50, 2)
first, second = pool.images[pool.pairs[0, 0]]  # the images of the first pair of round 0
""",
    "PairBatch": """
import pairbench
import torch

batch = pairbench.PairBatch(
    images=torch.rand(4, 2, 1, 14, 14), target=torch.tensor([0, 1, 1, 0]), classes=torch.full((4, 2), -1)
)
print(len(batch.target))  # -> 4
""",
    "PairOutput": """
import pairbench
import torch

output = pairbench.PairOutput(logits=torch.zeros(4, 2), embeddings=torch.zeros(4, 2, 10))
print(output.logits.argmax(dim=1).tolist())  # -> [0, 0, 0, 0]
""",
    "Comparison": """
import pairbench

print(pairbench.Comparison is pairbench.PairOutput)  # -> True
""",
    "SPLITS": """
import pairbench

print(pairbench.SPLITS)  # -> ('train', 'validation', 'test')
""",
}

OPTION_TYPES = {
    "PositiveInt": """
import pairbench


class Stem(pairbench.Encoder):
    \"\"\"Convolutions of one width.

    depth: how many there are.
    width: the channels of each; none gives each twice as many as the one before it.
    \"\"\"

    name = "stem"
    depth: pairbench.PositiveInt = 2
    width: pairbench.PositiveInt | None = 16

    def build(self, image_shape): ...


print(Stem(depth=3).depth, Stem(width=None).width)  # -> 3 None
""",
    "NonNegativeInt": """
import pairbench


class Padded(pairbench.Encoder):
    \"\"\"A padded image, flattened.

    padding: pixels added on each side.
    \"\"\"

    name = "padded"
    padding: pairbench.NonNegativeInt = 0

    def build(self, image_shape): ...


print(Padded().padding)  # -> 0
""",
    "PositiveFloat": """
import pairbench


class Scaled(pairbench.ComparisonHead):
    \"\"\"A scaled cosine.

    temperature: what the cosine is divided by.
    \"\"\"

    name = "scaled"
    temperature: pairbench.PositiveFloat = 0.1

    def build(self, embedding_shape, task): ...


print(Scaled(temperature=0.5).temperature)  # -> 0.5
""",
    "NonNegativeFloat": """
import pairbench


class Weighted(pairbench.LossStrategy):
    \"\"\"Two terms in one sum.

    weights: the weight of each.
    \"\"\"

    name = "weighted"
    weights: tuple[pairbench.NonNegativeFloat, ...] = (1.0, 0.5)

    def build(self, embedding_shape, task): ...


print(Weighted(weights=(1, 0)).weights)  # -> (1.0, 0.0)
""",
    "Probability": """
import pairbench


class Dropped(pairbench.Encoder):
    \"\"\"A linear layer after dropout.

    dropout: the chance that a number is dropped.
    \"\"\"

    name = "dropped"
    dropout: pairbench.Probability = 0.5

    def build(self, image_shape): ...


print(Dropped(dropout=0.25).dropout)  # -> 0.25
""",
}
