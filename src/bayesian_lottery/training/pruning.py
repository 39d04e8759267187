"""Pruning a trained network: what scorers are given, and the mask that follows."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from bayesian_lottery import models
from bayesian_lottery.data import decoded
from bayesian_lottery.imports import named
from bayesian_lottery.inference.networks import Network, State
from bayesian_lottery.models import classifier_of
from bayesian_lottery.randomness import generator
from bayesian_lottery.tickets import masks, patterns, rankings
from bayesian_lottery.tickets.scores import GRADIENT, SCORERS, Scorer
from bayesian_lottery.training.batches import divide
from bayesian_lottery.training.engine import Engine, Plan


def prune(
    network: Network,
    mask: masks.Mask,
    scorer: str,
    images: decoded.Images,
    settings: Mapping,
    stream: Sequence[object],
    level: int,
) -> masks.Mask:
    """The mask of a `level`, by the scores of a trained network, the ranking and the pattern.

    Args:
        mask: the network's.
        settings: of the network's node, or of one that starts from the mask.
    """
    found, cut = scores(network, scorer, images, settings, stream), contests(mask, settings, level)
    return patterns.prune(patterns.name_of(settings), mask, found, cut, network.template)


def scores(
    network: Network,
    scorer: str,
    images: decoded.Images,
    settings: Mapping,
    stream: Sequence[object],
) -> State:
    """What a scorer says of each prunable weight of a network; inverted, with the sign changed."""
    entry = SCORERS[scorer]
    found = _scores(network, entry, images, settings, stream)
    return {name: -layer for name, layer in found.items()} if entry.inverted else found


def _scores(
    network: Network,
    entry: Scorer,
    images: decoded.Images,
    settings: Mapping,
    stream: Sequence[object],
) -> State:
    if entry.score is None:
        return named(entry.code)(network, images, settings, stream)
    offered = network.moments()
    if GRADIENT in entry.needs:
        offered |= {GRADIENT: gradients(network, images, settings, stream)}
    return {
        name: entry.score(*(offered[need][name] for need in entry.needs)) for name in network.mask
    }


def contests(mask: masks.Mask, settings: Mapping, level: int) -> list[rankings.Contest]:
    """What competes for a level's mask, of those that cover what `mask` covers."""
    sizes = {name: layer.numel() for name, layer in mask.items()}
    ranking = rankings.options_of(settings)
    return rankings.contests(*ranking, sizes, settings["prune_fraction"], level)


def covers_classifier(settings: Mapping, template: nn.Module) -> bool:
    """Whether masks by the ranking and the pattern of a node of `settings` cover the classifier."""
    _, shares = rankings.options_of(settings)
    return classifier_of(template) in shares or patterns.PATTERNS[patterns.name_of(settings)].units


def dense_mask(template: nn.Module, settings: Mapping) -> masks.Mask:
    """Everything is kept of what masks by a node's ranking and pattern cover."""
    return masks.ones(models.prunable(template, covers_classifier(settings, template)))


def initial_mask(
    network: Network, images: decoded.Images, settings: Mapping, stream: Sequence[object]
) -> masks.Mask:
    """The mask of a level by the scores of the network's initial weights, in rounds.

    Round k of n leaves the k/n-th power of the level's density (Tanaka et al. 2020, algorithm 1).
    The network is left under the mask of the last but one.
    """
    scorer, pattern = settings["scorer"], patterns.name_of(settings)
    rounds = settings["search_options"]["rounds"] or SCORERS[scorer].rounds
    mask, initial = dense_mask(network.template, settings), network.state()
    last = contests(mask, settings, settings["level"])
    sizes = {each: sum(mask[name].numel() for name in each.names) for each in last}
    for number in range(1, rounds + 1):
        network.load(initial, mask)
        found = scores(network, scorer, images, settings, [*stream, "round", number])
        left = [
            replace(each, count=round(size * (each.count / size) ** (number / rounds)))
            for each, size in sizes.items()
        ]
        now = left if number < rounds else last
        mask = patterns.prune(pattern, mask, found, now, network.template)
    return mask


def gradients(
    network: Network, images: decoded.Images, settings: Mapping, stream: Sequence[object]
) -> State:
    """What scorers that need a gradient get: of the data term, by weight (or its mean).

    It is of one batch of training images, as they are, and of the objective's weight samples; norms
    take their running statistics and do not move.
    """
    objective = network.objective
    inputs, labels = batch_of(images, settings, stream)
    trains = network.template.training
    network.template.eval()
    drawing = generator(*stream, "scoring", "weights", device=inputs.device)
    noise = network.noise(objective.samples, drawing)
    engine = Engine(network, images.image_shape, Plan(**settings["compute"]))
    for tensor in network.tensors().values():
        tensor.grad = None
    engine.gradients(inputs, labels, noise, objective.likelihood, heat=0.0)
    network.template.train(trains)
    return network.gradients()


def batch_of(
    images: decoded.Images, settings: Mapping, stream: Sequence[object]
) -> tuple[Tensor, Tensor]:
    """Inputs and labels of one batch of training images, as they are, for scores.

    It is as large as the search says, or as a batch of the curriculum.
    """
    labels = images.train.labels
    # Numbers in the place of images, so that these are not copied for the sake of one batch.
    numbered = decoded.Split(torch.arange(len(labels), device=labels.device), labels)
    training, _ = divide(images, settings, numbered)
    told = settings.get("search_options", {}).get("batch")
    order = torch.randperm(len(training), generator=generator(*stream, "scoring", "batch"))
    chosen = order[: told or settings["curriculum"]["batch_size"]]
    rows = training.images[chosen.to(labels.device)]
    batch, device = images.train[rows], images.mean.device
    pixels, labels = (decoded.to_device(part, device) for part in (batch.images, batch.labels))
    return decoded.normalise(pixels, images.mean, images.std), labels
