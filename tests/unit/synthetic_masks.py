"""A made-up ticket: initial weights, its mask, and shuffles of it."""

from pathlib import Path

import torch

from bayesian_lottery.files import write_tensors
from bayesian_lottery.tickets import masks


def files(folder: Path) -> dict[str, Path]:
    """The files of the ticket, written to `folder`, by the names that figure 3 has for them."""
    stream = torch.Generator().manual_seed(0)
    weights = {
        f"{name}.weight": torch.empty(shape).uniform_(-bound, bound, generator=stream)
        for name, shape, bound in (
            ("stem", (4, 1, 3, 3), 1 / 3),
            ("first", (8, 4, 3, 3), 1 / 6),
            ("second", (40, 60), 0.12),
        )
    }
    write_tensors(folder / "initial", weights)
    scores = {name: weight.abs() for name, weight in weights.items()}
    ones = masks.ones({name: weight.shape for name, weight in weights.items()})
    ticket = masks.prune(ones, scores, 0.6)
    made = {
        "ticket": ticket,
        "reinit": ticket,
        "shuffle_layerwise": masks.shuffle_layerwise(ticket, stream),
        "shuffle_even": masks.shuffle_even(ticket, stream),
        "shuffle_global": masks.shuffle_global(ticket, stream),
    }
    for name, mask in made.items():
        masks.save(folder / name, mask)
    return {name: folder / name for name in ["initial", *made]}
