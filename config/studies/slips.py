"""Slips of published code for these experiments, as methods beside the right ones: see slips.yaml.

- `snr_squared` scores a Bayesian weight |mu| / (sigma^2 + 1e-8), not |mu| / sigma.
- `square_log` scores it mu^2 + (log sigma)^2, not mu^2 + sigma^2. Its root has the same order.
- `sigma_left` leaves pruned weights (mu, sigma) = (0, 1), as log sigma times a mask does: every
  weight sample draws them from N(0, 1). Their KL term from the prior N(0, 1) is 0.
- `masked_shuffle_...` shuffles a mask of which the initial weights were masked already: survivors
  at places that the unshuffled mask prunes start from 0.
"""

from dataclasses import dataclass, replace

from bayesian_lottery.inference.kinds import KINDS, Kind, Variational
from bayesian_lottery.tickets.branches import BRANCHES, Branch
from bayesian_lottery.tickets.scores import SCORERS, Scorer

SCORERS["snr_squared"] = Scorer(
    ("mean", "std"),
    lambda mu, sigma: mu.abs() / (sigma.square() + 1e-8),
    "a slip, |mu| / (sigma^2 + 1e-8)",
)
SCORERS["square_log"] = Scorer(
    ("mean", "std"),
    lambda mu, sigma: mu.square() + sigma.log().square(),
    "a slip, mu^2 + (log sigma)^2",
)


@dataclass(frozen=True)
class MaskedBranch(Branch):
    """A branch from weights that its level's mask has set to 0 before the mask is changed."""

    def ticket(self, ticket, stream, *options):
        masked = {name: ticket.weights[name] * kept for name, kept in ticket.mask.items()}
        own = replace(ticket, weights={**ticket.weights, **masked})
        return super().ticket(own, stream, *options)


for shuffle in ("shuffle_global", "shuffle_even", "shuffle_layerwise"):
    BRANCHES[f"masked_{shuffle}"] = MaskedBranch(mask=shuffle)


def sigma_left(template, options):
    """A Bayesian network whose pruned weights are drawn from N(0, 1) in every sample."""
    from copy import copy

    import torch

    from bayesian_lottery.inference import bayesian
    from bayesian_lottery.inference.variational import BayesianNetwork
    from bayesian_lottery.tickets import masks

    class SigmaLeft(BayesianNetwork):
        together = property()  # it trains one network at a time

        def load(self, state, mask):
            super().load(state, mask)
            self.all = copy(self.survivors)  # every weight has its place in a row
            self.all.sparse = False
            self.all.keep(masks.ones({name: layer.shape for name, layer in mask.items()}))
            self.places = (self.survivors.columns < len(self.survivors)).nonzero().flatten()

        def noise(self, samples, generator):
            rows, device = (samples, len(self.all)), self.mean.device
            return torch.randn(rows, generator=generator, device=device, dtype=self.mean.dtype)

        def logits(self, images, weights, noise):
            mean, std, _ = weights
            kept = bayesian.sample(mean, std, noise[:, self.places])
            return self.all.logits(images, noise.index_copy(1, self.places, kept))

    return SigmaLeft.of(template, options)


KINDS["sigma_left"] = Kind(
    words="Bayesian, sigma left",
    code=f"{__name__}:sigma_left",
    offers=("mean", "std"),
    options=Variational,
    scorers=("snr",),
    stochastic=True,
    tensors=2,
)
