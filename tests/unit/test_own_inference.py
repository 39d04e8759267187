"""A kind of inference of one's own, that is neither of the two there are: an ensemble."""

import pytest
import torch
from torch import nn

from bayesian_lottery import models
from bayesian_lottery.errors import InputError
from bayesian_lottery.inference import networks, packs
from bayesian_lottery.inference.networks import Network, Objective
from bayesian_lottery.inference.survivors import Survivors
from bayesian_lottery.randomness import generator
from bayesian_lottery.tickets import masks
from bayesian_lottery.training.engine import Engine, Plan

SHAPE, MEMBERS, BATCH = (1, 8, 16), 3, 6


class Ensemble(Network):
    """Members of one mask, each a row of survivors; a row of noise is a member's number."""

    def __init__(self, template: nn.Module, states: list, mask: masks.Mask):
        self.objective = Objective(samples=len(states), likelihood="elbo")
        self.survivors = Survivors(template)
        self.survivors.keep(mask)
        self.rows = nn.Parameter(torch.stack([self.survivors.collect(s) for s in states]))

    def tensors(self):
        return {"rows": self.rows, **self.survivors.others}

    def parameter_groups(self, weight_decay):
        return [{"params": [self.rows], "weight_decay": weight_decay}]

    def weights(self):
        return (self.rows,)

    def noise(self, samples, *generators):
        return torch.arange(samples)[:, None]

    def logits(self, images, weights, noise):
        return self.survivors.logits(images, weights[0][noise[:, 0]])

    def divergence(self, weights):
        return weights[0].new_zeros(1)


@pytest.mark.parametrize("density", [0.5, 0.1])  # by dense and by sparse products
def test_an_ensemble_takes_the_steps_that_its_members_would_take_alone(density):
    def template(seed):
        return models.build("lenet_300_100", SHAPE, 10, seed=seed).double()

    stream = generator("own inference")
    mask = {
        name: torch.rand(shape, generator=stream) < density
        for name, shape in models.prunable(template(0)).items()
    }
    images = torch.randn(BATCH, *SHAPE, dtype=torch.float64, generator=stream)
    labels = torch.randint(10, (BATCH,), generator=stream)

    def steps(network):
        engine = Engine(network, SHAPE, Plan(samples_per_pass=2))
        optimizer = torch.optim.SGD(network.parameter_groups(0.0), lr=0.1, momentum=0.9)
        for _ in range(3):
            noise = network.noise(network.objective.samples)
            logits, *_ = engine.gradients(images, labels, noise, "elbo", 0.0)
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.grad *= network.objective.samples  # of the sum, not of the mean
            optimizer.step()
            optimizer.zero_grad()
        return logits

    ensemble = Ensemble(template(0), [template(m).state_dict() for m in range(MEMBERS)], mask)
    logits = steps(ensemble)
    for member in range(MEMBERS):
        alone = networks.build("deterministic", template(member))
        alone.load(alone.state(), mask)
        torch.testing.assert_close(logits[member], steps(alone)[0], rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(ensemble.rows[member], alone.weight, rtol=1e-9, atol=1e-11)
    with pytest.raises(InputError, match="networks_per_job: Ensemble trains one network at a time"):
        packs.pack([ensemble, ensemble])
