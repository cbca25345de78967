"""The options under train. in a spec: how each round of a config is trained and evaluated."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pairbench.config.transform_calls import parsed_call
from pairbench.plugin.components import (
    NonNegativeFloat,
    NonNegativeInt,
    Options,
    PositiveFloat,
    PositiveInt,
    Probability,
)
from pairbench.plugin.dotted import is_dotted

Scalar = bool | int | float | str
Mapped = dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], Scalar | tuple[Scalar, ...]]
Distortion = Literal["rotate", "scale", "shear", "shift", "elastic"]
Augment = dict[Distortion, NonNegativeFloat]


class TrainOptions(Options):
    """How each round is trained and evaluated.

    rounds: independent repeats, each with its own data, weights and shuffling.
    seed: the seed that the seeds of all rounds are drawn from.
    epochs: passes over the training pairs.
    batch_size: pairs in a step; a single pair that is left over at the end of an epoch joins the step before it.
    optimizer: an optimiser of torch (adam, adamw, sgd, ...) or timm (lamb, lion, ...) by name, or one of another
        package by its dotted path, such as my_package.MyOptimizer.
    learning_rate: the peak learning rate.
    weight_decay: the weight decay; none uses the optimiser's default.
    decay_all: true decays every parameter, as torch does; false excludes biases and the weights of norms.
    clip_norm: the largest norm of a round's gradient; larger ones are scaled down to it; none turns clipping off.
    ema: the decay of an exponential moving average of the weights, which is evaluated in their place; 0 turns it off.
    optimizer_options: more arguments of the optimiser, such as [momentum=0.9,nesterov=true] or [betas=[0.9,0.95]].
    schedule: constant, cosine, linear, one_cycle, or a scheduler of torch (StepLR, ...) or timm (tanh, poly, ...),
        or the dotted path of another.
    warmup: the share of all steps in which the learning rate rises linearly from zero; for constant, cosine and
        linear, and for timm's schedulers.
    schedule_options: more arguments of the scheduler, such as [step_size=10,gamma=0.5].
    normalize: how images are scaled: unit is [0, 1], raw is 0-255, standard subtracts the mean and divides by the
        standard deviation of the round's training images, channel by channel.
    augment: random distortions, drawn again each time a training image is seen: rotate (degrees), scale and shear
        (fractions), shift and elastic (pixels), such as [rotate=10,shift=1]; each is the largest amount.
    transforms: random transforms of torchvision, applied in order to the 8-bit pixels of each training image and
        drawn again each time it is seen, such as [RandomHorizontalFlip(p=0.5),ColorJitter(brightness=0.2)]; a dotted
        path names one of another package, such as [my_package.Rain(drops=9)].
    swap: swap the images of a random half of the training pairs, and adjust their answers.
    repair: draw new pairs of the labelled training images in each epoch.
    tta: at test time, average the answers over this many distorted copies of the images, at half of augment's
        amounts; 0 uses the undistorted images.
    members: models in an ensemble; each is trained on the round's data from its own weights, and their probabilities
        are averaged.
    precision: fp32, or bf16: the forward pass under autocast, or only the products of an accelerator that multiplies in
        bf16 on its own. auto takes bf16 where a few steps are clearly faster and it has been shown to leave figures as
        they are: autocast with normalize=standard, and accelerators that say so.
    engine: loop trains one round after the other; stacked trains several at once, their weights in one tensor; auto
        takes whichever is clearly faster in a few trial steps, and loop if there is too little work to tell.
    compile: on trains with torch.compile; auto does so if a trial shows that it saves more time than it costs.
    evaluate_every: epochs between evaluations on the test pairs, for the curves; 0 evaluates only after the last.
    device: where to train; auto prefers CUDA, then MPS, then the CPU.
    evaluation: eval is correct. train evaluates with dropout and batch statistics active, a flaw of the source report,
        available only to reproduce its figures.
    carry_over: false is correct. true passes the trained model and optimiser of a round on to the next, another flaw of
        the source report, available only to reproduce its figures.
    """

    rounds: Annotated[int, Field(ge=1, le=10_000)] = 10
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    epochs: PositiveInt = 12
    batch_size: PositiveInt = 64
    optimizer: str = "adam"
    learning_rate: PositiveFloat = 3e-3
    weight_decay: NonNegativeFloat | None = None
    decay_all: bool = True
    clip_norm: PositiveFloat | None = None
    ema: Probability = 0.0
    optimizer_options: Mapped = Field(default_factory=dict)
    schedule: str = "cosine"
    warmup: Annotated[float, Field(ge=0, le=1)] = 0.1
    schedule_options: Mapped = Field(default_factory=dict)
    normalize: Literal["unit", "raw", "standard"] = "unit"
    augment: Augment = Field(default_factory=dict)
    transforms: tuple[str, ...] = ()
    swap: bool = False
    repair: bool = False
    tta: Annotated[int, Field(ge=0, le=1000)] = 0
    members: Annotated[int, Field(ge=1, le=1000)] = 1
    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    engine: Literal["auto", "loop", "stacked"] = "auto"
    compile: Literal["auto", "on", "off"] = "off"
    evaluate_every: NonNegativeInt = 1
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    evaluation: Literal["eval", "train"] = "eval"
    carry_over: bool = False

    @model_validator(mode="after")
    def _fits(self) -> TrainOptions:
        for call in self.transforms:
            parsed_call(call)
        if self.carry_over and (self.members > 1 or self.ema):
            raise ValueError(
                "carry_over passes on a single model. Set train.members=1 and train.ema=0, or carry_over=false."
            )
        if self.compile == "on" and self.engine == "stacked":
            raise ValueError("compile=on works with a single model. Set train.engine=loop, or train.compile=off.")
        if self.evaluation == "train" and (self.members > 1 or self.tta):
            raise ValueError("evaluation=train only reproduces the report. Set train.members=1 and train.tta=0.")
        if self.tta and not any(self.augment.values()):
            raise ValueError("tta averages over distorted copies, but augment names no distortion. Set train.augment.")
        return self

    def dotted(self) -> list[str]:
        """The dotted paths by which options name things of other packages, each once."""
        named = [self.optimizer, self.schedule, *(parsed_call(call)[0] for call in self.transforms)]
        return sorted({name for name in named if is_dotted(name)})
