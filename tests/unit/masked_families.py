"""Networks of the small models under a random mask, in float64, and a batch of images for each."""

import torch
from families import FAMILIES

from bayesian_lottery import models
from bayesian_lottery.inference import networks
from bayesian_lottery.randomness import generator

BATCH = 6


def masked(model, inference, options, density=0.6, empty=()):
    """A network of random survivors, with none in the layers `empty`."""
    template = models.build(model, FAMILIES[model], 10, seed=1).double()
    network = networks.build(inference, template, options)
    stream = generator("mask")
    mask = {
        name: torch.rand(shape, generator=stream) < (0 if name in empty else density)
        for name, shape in models.prunable(template).items()
    }
    network.load(network.state(), mask)
    return network


def batch(model):
    stream = generator("images")
    images = torch.randn(BATCH, *FAMILIES[model], dtype=torch.float64, generator=stream)
    return images, torch.randint(10, (BATCH,), generator=stream)
