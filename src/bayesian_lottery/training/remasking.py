"""Another mask for a network in training: what survivors keep, where grown weights start."""

import torch
from torch import Tensor

from bayesian_lottery.errors import InputError
from bayesian_lottery.inference.networks import Network
from bayesian_lottery.inference.survivors import State
from bayesian_lottery.tickets.masks import Mask


def remask(network: Network, optimizer: torch.optim.Optimizer, mask: Mask) -> None:
    """Give a network, which trains alone, another mask.

    Survivors keep their values and the optimiser's moments; grown weights start from
    `Network.born`, and their moments from 0. Parameters stay the same objects, of other lengths.

    Args:
        network: which is changed, as is the state of its optimiser.
        optimizer: of the network's parameters.
        mask: of the names and shapes of the network's.

    Raises:
        InputError: weights grow, and the kind of inference does not say where they start.
    """
    survivors = network.survivors
    new = {n: layer.to(survivors.mask[n].device) for n, layer in mask.items()}
    grown = {name: layer & ~survivors.mask[name] for name, layer in new.items()}
    vectors = {n: each for n, each in network.tensors().items() if n not in survivors.others}
    values = {name: survivors.named(vector.detach()) for name, vector in vectors.items()}
    moments = {
        (name, key): survivors.named(moment)
        for name, vector in vectors.items()
        for key, moment in optimizer.state.get(vector, {}).items()
        if isinstance(moment, Tensor) and moment.shape == vector.shape
    }
    survivors.keep({name: layer.cpu() for name, layer in mask.items()})
    for name, vector in vectors.items():
        start = {layer: _born(network, layer, name) for layer in mask if grown[layer].any()}
        vector.data, vector.grad = survivors.collect(_filled(values[name], grown, start)), None
    for (name, key), dense in moments.items():
        start = {layer: 0.0 for layer in mask if grown[layer].any()}
        optimizer.state[vectors[name]][key] = survivors.collect(_filled(dense, grown, start))


def _born(network: Network, layer: str, vector: str) -> float:
    values = network.born(layer)
    if not values or vector not in values:
        raise InputError(
            f"search: {type(network).__name__} does not say where weights start that grow in "
            "training (born); use a search that grows none."
        )
    return values[vector]


def _filled(tensors: State, places: Mask, values: dict[str, float]) -> State:
    """Tensors with a value of each layer at its places."""
    filled = {name: tensors[name].masked_fill(places[name], values[name]) for name in values}
    return tensors | filled
