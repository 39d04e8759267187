"""Running statistics of batch norms, made anew from training images for given weights."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bayesian_lottery.inference.networks import Batches
from bayesian_lottery.inference.survivors import State, Survivors
from bayesian_lottery.models.layers import BatchNorm2d

IMAGES = 10_000  # training images, at most, from which statistics are made

Norms = dict[str, BatchNorm2d]


def norms_of(template: nn.Module) -> Norms:
    """The batch norms of a model that have running statistics, by name."""
    named = template.named_modules()
    return {n: m for n, m in named if isinstance(m, BatchNorm2d) and m.running_mean is not None}


def running(norms: Norms, tensors: Mapping[str, Tensor]) -> State:
    """Of a model's tensors those that are running statistics."""
    names = [f"{norm}.{own}" for norm in norms for own in ("running_mean", "running_var")]
    return {name: tensors[name] for name in names}


def logits(survivors: Survivors, images: Tensor, row: Tensor, others: State) -> Tensor:
    """Logits (1, B, K) by a row (n,) and by `others` in the place of those of their names."""
    own = survivors.others
    try:
        survivors.others = {**own, **others}
        return survivors.logits(images, row[None])
    finally:
        survivors.others = own


@torch.no_grad()
def measure(
    survivors: Survivors, norms: Norms, row: Tensor, others: State, batches: Batches
) -> State:
    """The running statistics for the weights of a row (n,), and `others`: means over batches.

    Izmailov et al. 2018, Averaging weights leads to wider optima, section 3.2. They are of up to
    `IMAGES` images, and of one batch at least.
    """
    template = survivors.template
    found = {n: each.clone() for n, each in running(norms, survivors.others).items()}
    before = [(norm, norm.momentum, norm.turn) for norm in norms.values()]
    training = template.training
    template.eval()
    for number, (inputs, _) in enumerate(batches(), 1):
        for norm in norms.values():
            norm.train()
            norm.momentum, norm.turn = 1 / number, (0, 1, 1)
        logits(survivors, inputs, row, {**others, **found})
        if number * len(inputs) >= IMAGES:
            break
    for norm, momentum, turn in before:
        norm.momentum, norm.turn = momentum, turn
    template.train(training)
    return found
