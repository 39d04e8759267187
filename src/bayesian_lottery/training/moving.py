"""Masks that move in training: sparse training from scratch, and gradual pruning.

A mover says after which steps the mask moves, and where to. Its random numbers come from streams
named by the step, so that it has no state to save; `remasking` gives the network its mask.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from bayesian_lottery import models
from bayesian_lottery.data.decoded import Images
from bayesian_lottery.imports import named
from bayesian_lottery.inference import kinds, networks
from bayesian_lottery.inference.networks import Network, State
from bayesian_lottery.randomness import generator
from bayesian_lottery.tickets import masks, moves, patterns, rankings
from bayesian_lottery.tickets.masks import Mask
from bayesian_lottery.tickets.searches import last_move, search_of
from bayesian_lottery.training import pruning


class Mover(Protocol):
    """Moves the mask of a network in training."""

    def due(self, step: int) -> bool:
        """Whether the mask moves after so many steps."""

    def mask(self, step: int) -> Mask:
        """The mask to go on with after so many steps."""


def mover_of(
    network: Network, images: Images, settings: Mapping, stream: Sequence[object], steps: int
) -> Mover | None:
    """What moves the mask of a node of `settings` in `steps` steps of training, if anything."""
    found = search_of(settings)
    if found is None or not found[0].moves:
        return None
    return named(found[0].moves)(network, images, settings, stream, steps, found[1])


def dense_mask(
    network: Network, images: Images, settings: Mapping, stream: Sequence[object]
) -> Mask:
    """The start of gradual pruning: everything is kept."""
    return pruning.dense_mask(network.template, settings)


def random_mask(
    network: Network, images: Images, settings: Mapping, stream: Sequence[object]
) -> Mask:
    """The start of sparse training: a random mask of the level's count, dealt out as it says."""
    mask = dense_mask(network, images, settings, stream)
    shapes = {name: layer.shape for name, layer in mask.items()}
    sizes = {name: shape.numel() for name, shape in shapes.items()}
    _, options = search_of(settings) or (None, {})
    shares = {"erdos_renyi": moves.erdos_renyi(shapes), "uniform": sizes}[options["layers"]]
    count = rankings.left(sum(sizes.values()), settings["prune_fraction"], settings["level"])
    counts = masks.allocate(sizes, shares, count)
    return masks.random(mask, counts, generator(*stream, "start"))


@dataclass(frozen=True)
class Course:
    """The training of a network whose mask moves.

    Attributes:
        network: what is trained.
        images, settings, stream: its data, the node's settings, and what names its random streams.
        steps: of the whole training.
        options: the search's.
    """

    network: Network
    images: Images
    settings: Mapping
    stream: Sequence[object]
    steps: int
    options: Mapping

    @property
    def last(self) -> int:
        """After how many steps the mask moves no more."""
        return last_move(self.options["end"], self.steps)

    @property
    def present(self) -> Mask:
        """The mask of now, on the CPU."""
        return {name: layer.cpu() for name, layer in self.network.mask.items()}

    def scores(self, step: int) -> State:
        """What the node's scorer says of every weight."""
        scorer, stream = self.settings["scorer"], [*self.stream, "dropping", step]
        return pruning.scores(self.network, scorer, self.images, self.settings, stream)


class Rewiring(Course):
    """Sparse training from scratch: SET (Mocanu et al. 2018) and RigL (Evci et al. 2020)."""

    def due(self, step: int) -> bool:
        """Every so many steps, as long as the mask may move."""
        return step % self.options["every"] == 0 and step < self.last

    def mask(self, step: int) -> Mask:
        """The mask with a share of each layer's survivors dropped, and as many weights grown."""
        share = moves.cosine(self.options["share"], step, self.last)
        growing = GROWTHS[self.options["growth"]](self, [*self.stream, "growing", step])
        return moves.rewire(self.present, self.scores(step), growing, share)


class Thinning(Course):
    """Gradual pruning, from dense to the level's count (Zhu & Gupta 2017)."""

    @property
    def first(self) -> int:
        """After how many steps pruning begins."""
        return min(int(self.options["begin"] * self.steps), self.last - 1)

    def due(self, step: int) -> bool:
        """Every so many steps from the first on, and after the last, which reaches the count."""
        done = step - self.first
        between = 0 < done < self.last - self.first
        return step == self.last or (between and done % self.options["every"] == 0)

    def mask(self, step: int) -> Mask:
        """The mask pruned to the count of the step."""
        present, progress = self.present, (step - self.first) / (self.last - self.first)
        left = []
        for last in pruning.contests(present, self.settings, self.settings["level"]):
            size = sum(present[name].numel() for name in last.names)
            left.append(replace(last, count=moves.cubic(size, last.count, progress)))
        template, pattern = self.network.template, patterns.name_of(self.settings)
        return patterns.prune(pattern, present, self.scores(step), left, template)


def random_growth(course: Course, stream: Sequence[object]) -> State:
    """Scores that grow weights at random."""
    drawing = generator(*stream)
    return {
        n: torch.rand(layer.shape, generator=drawing) for n, layer in course.network.mask.items()
    }


def gradient_growth(course: Course, stream: Sequence[object]) -> State:
    """The size of the gradient of every weight, pruned ones too: of the data term, at value 0.

    A copy of the network, with nothing pruned and pruned weights 0, computes it when it is asked.
    """
    network, settings = course.network, course.settings
    kind, options = kinds.kind_name(settings), kinds.options_of(settings)
    shape, classes = course.images.image_shape, len(course.images.classes)
    template = models.build(models.of(settings), shape, classes, seed=0)
    probe = networks.build(kind, template.to(course.images.mean.device), options)
    lowest = math.log(torch.finfo(torch.float32).tiny)  # of a log sigma, whose pruned value is -inf
    state = {name: value.nan_to_num(neginf=lowest) if value.is_floating_point() else value
             for name, value in network.state().items()}  # fmt: skip
    probe.load(state, {name: torch.ones_like(layer) for name, layer in network.mask.items()})
    found = pruning.gradients(probe, course.images, settings, stream)
    return {name: gradient.abs() for name, gradient in found.items()}


GROWTHS = {"random": random_growth, "gradient": gradient_growth}
