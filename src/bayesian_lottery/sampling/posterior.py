"""The posterior that a chain samples: which images, which prior, from where."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import torch

from bayesian_lottery.data.decoded import Images, Split, normalise
from bayesian_lottery.errors import InputError
from bayesian_lottery.imports import named
from bayesian_lottery.inference.chains import ChainNetwork
from bayesian_lottery.inference.monte_carlo import Exact
from bayesian_lottery.inference.priors import Prior
from bayesian_lottery.randomness import generator, seed_of
from bayesian_lottery.sampling.density import Data, arrange, log_likelihood
from bayesian_lottery.sampling.layout import layout_of
from bayesian_lottery.sampling.warmup import Sampler


def choose(training: Split, count: int, images: Images, kind: str) -> Split:
    """So many of the training images, the same for every node of a data set; 0 are all.

    Raises:
        InputError: there are not so many, or among those chosen a class is missing.
    """
    if not count:
        return training
    if count > len(training):
        raise InputError(
            f"{kind}.images: {count} is more than the {len(training)} training images."
        )
    order = torch.randperm(len(training), generator=generator("sampled images", images.name))
    chosen = training[order[:count].sort().values]
    absent = set(range(len(images.classes))) - set(chosen.labels.tolist())
    if absent:
        names = ", ".join(images.classes[each] for each in sorted(absent))
        raise InputError(f"{kind}.images: of {count} images none is of the class {names}.")
    return chosen


def assemble(
    network: ChainNetwork,
    prior: Prior,
    chosen: Split,
    images: Images,
    options: Exact,
    stream: Sequence[object],
) -> tuple[Sampler, Data, Callable[[Any], jax.Array]]:
    """The sampler, the data that it is given, and weights (n,) as a function of a position."""
    layout = layout_of(network.survivors)
    inputs = normalise(chosen.images, images.mean, images.std).cpu()
    data = arrange(layout, inputs, chosen.labels.cpu())
    print(
        f"{len(chosen)} images, {layout.size} survivors; gradients by {layout.words()}", flush=True
    )
    likelihood, family = log_likelihood(layout), prior.family
    scale = jnp.asarray(prior.scale.cpu().numpy())
    # A bounded prior is flat, hot or cold; its energy is that of the coordinates.
    share = 1.0 if family.bounded else 1 / options.temperature

    def density(position, data):
        row = scale * family.values(position, jnp)
        energy = family.energy(position, jnp).sum()
        return likelihood(row, data) / options.temperature - share * energy

    kernel = named(options.kernel)(options)
    key = jax.random.PRNGKey(seed_of(*stream, "chain") >> 32)
    sampler = Sampler(kernel, density, options.acceptance, key)
    return sampler, data, jax.jit(lambda position: scale * family.values(position, jnp))


def start(
    network: ChainNetwork, prior: Prior, options: Exact, stream: Sequence[object]
) -> jax.Array:
    """The free coordinates where a chain starts; the log says if weights were clipped."""
    row = network.row().detach()
    if options.start == "prior":
        row = prior.draw(generator(*stream, "prior", device=row.device))
    position, clipped = prior.free(row, torch)
    if clipped:
        print(
            f"{clipped} of {len(row)} weights lie outside of the prior's support or at its edge, "
            "and start within it",
            flush=True,
        )
    return jnp.asarray(position.cpu().numpy())
