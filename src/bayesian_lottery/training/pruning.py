"""Pruning a trained network: what scorers are given, and the mask that follows."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from bayesian_lottery.data import decoded
from bayesian_lottery.inference.networks import Network, State
from bayesian_lottery.models import classifier_of
from bayesian_lottery.randomness import generator
from bayesian_lottery.tickets import masks, patterns, rankings
from bayesian_lottery.tickets.scores import GRADIENT, SCORERS
from bayesian_lottery.training.engine import Engine, Plan


def prune(
    network: Network,
    mask: masks.Mask,
    scorer: str,
    images: decoded.Images,
    settings: Mapping,
    stream: Sequence[str],
    level: int,
) -> masks.Mask:
    """The mask of a `level`, by the scores of a trained network, the ranking and the pattern.

    Args:
        mask: the network's.
        settings: of the network's node, or of one that starts from the mask.
    """
    entry = SCORERS[scorer]
    offered = network.moments()
    if GRADIENT in entry.needs:
        offered |= {GRADIENT: gradients(network, images, settings, stream)}
    scores = {name: entry.score(*(offered[need][name] for need in entry.needs)) for name in mask}
    sizes = {name: layer.numel() for name, layer in mask.items()}
    ranking = rankings.options_of(settings)
    contests = rankings.contests(*ranking, sizes, settings["prune_fraction"], level)
    return patterns.prune(patterns.name_of(settings), mask, scores, contests, network.template)


def covers_classifier(settings: Mapping, template: nn.Module) -> bool:
    """Whether masks by the ranking and the pattern of a node of `settings` cover the classifier."""
    _, shares = rankings.options_of(settings)
    return classifier_of(template) in shares or patterns.PATTERNS[patterns.name_of(settings)].units


def gradients(
    network: Network, images: decoded.Images, settings: Mapping, stream: Sequence[str]
) -> State:
    """What scorers that need a gradient get: of the data term, by weight (or its mean).

    It is of one batch of training images, as they are, and of the objective's weight samples; norms
    take their running statistics and do not move.
    """
    training, _ = decoded.hold_out(
        images.train, settings["validation"], generator("hold_out", images.name)
    )
    device, objective = images.mean.device, network.objective
    order = torch.randperm(len(training), generator=generator(*stream, "scoring", "batch"))
    batch = training[order[: settings["curriculum"]["batch_size"]].to(training.labels.device)]
    network.template.eval()
    drawing = generator(*stream, "scoring", "weights", device=device)
    noise = network.noise(objective.samples, drawing)
    engine = Engine(network, images.image_shape, Plan(**settings["compute"]))
    pixels, labels = (decoded.to_device(part, device) for part in (batch.images, batch.labels))
    inputs = decoded.normalise(pixels, images.mean, images.std)
    for tensor in network.tensors().values():
        tensor.grad = None
    engine.gradients(inputs, labels, noise, objective.likelihood, heat=0.0)
    return network.gradients()
