"""What a model costs before it is trained: parameters and operations."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from pairbench.config.run_config import RunConfig
from pairbench.model.pair_model import PairModel, build_model
from pairbench.training.optim import build_optimizer, build_schedule, try_options
from pairbench.training.sampling import check_sampling


@dataclass(frozen=True)
class Profile:
    """The size and work of one config, over all members of an ensemble and all copies of test-time augmentation.

    parameters: trainable and fixed parameters of the model, including those of its loss.
    flops_per_pair: floating-point operations for one example; a multiply-add counts as two.
    """

    parameters: int
    flops_per_pair: int


def profile(config: RunConfig) -> Profile:
    """Build the model, optimiser and schedule of `config` once, and count.

    Raises:
        MismatchError: two parts do not fit together, or the optimiser or schedule is not available.
    """
    check_sampling(config.train, config.dataset.task)
    torch.manual_seed(0)
    model = build_model(config)
    optimizer = build_optimizer(config.train, model)
    try_options(config.train)
    build_schedule(config.train, optimizer, 1)
    members, copies = config.train.members, max(1, config.train.tta)
    parameters = members * sum(parameter.numel() for parameter in model.parameters())
    return Profile(parameters, members * copies * count_flops(model, config))


def count_flops(model: PairModel, config: RunConfig) -> int:
    """Floating-point operations of one forward pass over one example."""
    task = config.dataset.task
    was_training = model.training
    model.eval()
    # Without gradients, a recurrent layer is a single operation that is not counted.
    images = torch.zeros(1, task.views, *task.image_shape, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        model(images)
    model.train(was_training)
    return int(counter.get_total_flops())
