"""Priors of samplers over a row of survivors. To add one, add an entry to `PRIORS`.

A prior is a family, a distribution of mean 0, and a scale for each of the row's n entries. It needs
no torch: what it computes takes arrays of torch, numpy or JAX, and as `xp` the module they are of.

Samplers move in free coordinates, in which every real number is allowed: weights are
scale x `values`(free). For the normal family free coordinates are weights over their scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from bayesian_lottery.errors import InputError, choice
from bayesian_lottery.options import option

if TYPE_CHECKING:
    import torch

    from bayesian_lottery.inference.survivors import Survivors
    from bayesian_lottery.tickets.branches import Ticket

EDGE = 0.99  # the part of a bounded support within which a chain may start


@dataclass(frozen=True)
class Family:
    """Independent values of mean 0, in units of their scale.

    Attributes:
        log_density: of values (n,), each entry's, normalised.
        values: of free coordinates (n,).
        free: the inverse of `values`.
        energy: of free coordinates each entry's -log density there, up to a constant.
        draw: values from a shape, a generator and further arguments of torch's functions.
        bounded: whether all values lie in [-1, 1].
    """

    log_density: Callable[[Any, Any], Any]
    values: Callable[[Any, Any], Any]
    free: Callable[[Any, Any], Any]
    energy: Callable[[Any, Any], Any]
    draw: Callable[..., torch.Tensor]
    bounded: bool = False


def _randn(n: int, **where) -> torch.Tensor:
    import torch

    return torch.randn(n, **where)


def _rand(n: int, **where) -> torch.Tensor:
    import torch

    return 2 * torch.rand(n, **where) - 1


NORMAL = Family(
    log_density=lambda u, xp: -0.5 * u * u - 0.5 * math.log(2 * math.pi),
    values=lambda z, xp: z,
    free=lambda u, xp: u,
    energy=lambda z, xp: 0.5 * z * z,
    draw=_randn,
)
# Free coordinates of a uniform value are logistic: u = 2 sigmoid(z) - 1.
UNIFORM = Family(
    log_density=lambda u, xp: xp.where(abs(u) <= 1, -math.log(2), -math.inf) + 0 * u,
    values=lambda z, xp: xp.tanh(0.5 * z),
    free=lambda u, xp: xp.log1p(u) - xp.log1p(-u),
    energy=lambda z, xp: abs(z) + 2 * xp.log1p(xp.exp(-abs(z))),
    draw=_rand,
    bounded=True,
)


@dataclass(frozen=True)
class Rule:
    """A family and its scale: 1, or with a gain that of Glorot and Bengio (2010).

    gain: scale = sqrt(gain / (fan_in + fan_out)) for a layer's weights and biases; their equation
        16 has 6, the bound of uniform weights, whose variance is that of normal ones by 2.
    """

    family: Family
    gain: float | None = None


PRIORS: dict[str, Rule] = {
    "normal": Rule(NORMAL),
    "uniform": Rule(UNIFORM),
    "glorot_normal": Rule(NORMAL, 2),
    "glorot_uniform": Rule(UNIFORM, 6),
}
FANS = ("surviving", "dense")


@dataclass(frozen=True)
class PriorOptions:
    """Options that samplers share; their classes of options inherit these."""

    prior: str = option(
        "normal",
        "Prior of weights and biases; N(0, 1), uniform on [-1, 1], or scaled by a layer's fans.",
        enum=list(PRIORS),
    )
    prior_width: float = option(
        1.0,
        "Factor on the prior's scale.",
        minimum=1e-6,
        maximum=1e6,
        because="a prior without width has no density",
    )
    fans: str = option(
        "surviving",
        "What the fans of a Glorot prior count; surviving weights, or all.",
        enum=list(FANS),
    )


@dataclass(frozen=True)
class Prior:
    """A prior of a row: family and scale (n,)."""

    family: Family
    scale: Any

    def log_density(self, row: Any, xp: Any) -> Any:
        """Of a row of weights (n,), normalised, in nats; -inf outside of a bounded support."""
        return (self.family.log_density(row / self.scale, xp) - xp.log(self.scale)).sum()

    def draw(self, generator: torch.Generator) -> torch.Tensor:
        """A row (n,) from the prior, for a scale that is a tensor."""
        like = {"dtype": self.scale.dtype, "device": self.scale.device}
        return self.scale * self.family.draw(len(self.scale), generator=generator, **like)

    def weights(self, free: Any, xp: Any) -> Any:
        """The row of free coordinates (n,)."""
        return self.scale * self.family.values(free, xp)

    def free(self, row: Any, xp: Any) -> tuple[Any, int]:
        """Free coordinates of a row, and how many entries were clipped to lie within `EDGE` of a
        bounded support first."""
        values = row / self.scale
        if not self.family.bounded:
            return values, 0
        outside = int((abs(values) > EDGE).sum())
        return self.family.free(xp.clip(values, -EDGE, EDGE), xp), outside


def prior_of(options: PriorOptions, survivors: Survivors) -> Prior:
    """The prior that options name, for the rows of `survivors`; its scale is a tensor like them.

    Raises:
        InputError: as `scales` does.
    """
    import torch

    found = scales(options, survivors.shapes, survivors.mask)
    parts = [
        survivors.like.new_full((count,), found[name])
        for name, count in zip(survivors.shapes, survivors.counts, strict=True)
    ]
    return Prior(PRIORS[options.prior].family, torch.cat(parts))


def scales(
    options: PriorOptions, shapes: Mapping[str, torch.Size], mask: Mapping[str, torch.Tensor]
) -> dict[str, float]:
    """The prior's scale for each weight and bias of these shapes; of a mask, that of no layer is
    that of all of it.

    Raises:
        InputError: there is no such prior, no such count of fans, or the width is not positive.
    """
    import torch

    if options.prior not in PRIORS:
        raise choice("prior", options.prior, PRIORS)
    if options.fans not in FANS:
        raise choice("fans", options.fans, FANS)
    if not 0 < options.prior_width < math.inf:
        raise InputError(
            f"prior_width: {options.prior_width} is not allowed; it must be a number above 0."
        )
    rule, found = PRIORS[options.prior], {}
    for name in shapes:
        weight = f"{name.rpartition('.')[0]}.weight"
        scale = 1.0
        if rule.gain:
            kept = mask.get(weight) if options.fans == "surviving" else None
            if kept is None:
                kept = torch.ones(shapes[weight], dtype=torch.bool)
            scale = math.sqrt(rule.gain / max(1.0, sum(fans(kept))))
        found[name] = options.prior_width * scale
    return found


def draw(ticket: Ticket, options: Mapping, stream: torch.Generator) -> dict[str, torch.Tensor]:
    """Weights and biases of a ticket's layers from the prior of the inference with these options:
    a sampler's, or of others N(0, `prior_std`^2), which is N(0, 1) where they have none."""
    told = {each.name: options[each.name] for each in fields(PriorOptions) if each.name in options}
    prior = PriorOptions(**{"prior_width": options.get("prior_std", 1.0), **told})
    layers = {
        name.rpartition(".")[0]
        for name, each in ticket.weights.items()
        if name.endswith(".weight") and each.ndim > 1
    }
    shapes = {
        name: each.shape
        for name, each in ticket.weights.items()
        if name.rpartition(".")[0] in layers
    }
    family, drawn = PRIORS[prior.prior].family, {}
    for name, scale in scales(prior, shapes, ticket.mask).items():
        values = family.draw(shapes[name].numel(), generator=stream).view(shapes[name])
        drawn[name] = scale * values.to(ticket.weights[name].dtype)
    return drawn


def fans(kept: torch.Tensor) -> tuple[float, float]:
    """A layer's fans under its mask (O, I, ...): how many weights go into an output unit and come
    from an input unit, on average over the units that have any; (0, 0) of an empty layer."""
    total = int(kept.sum())
    into, outof = kept.flatten(1).any(1), kept.transpose(0, 1).flatten(1).any(1)
    return total / max(1, int(into.sum())), total / max(1, int(outof.sum()))
