"""What training starts from: the ticket of a level, or of a branch, as a network."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from bayesian_lottery import models
from bayesian_lottery.data import decoded
from bayesian_lottery.errors import InputError
from bayesian_lottery.files import read_shapes, read_tensors
from bayesian_lottery.imports import named
from bayesian_lottery.inference import bayesian, kinds, networks
from bayesian_lottery.inference.draws import OWN
from bayesian_lottery.randomness import generator, seed_of
from bayesian_lottery.tickets import masks
from bayesian_lottery.tickets.branches import NETWORKS, Ticket, branch_of
from bayesian_lottery.tickets.rewinds import rewinding
from bayesian_lottery.tickets.searches import search_of
from bayesian_lottery.training import pruning
from bayesian_lottery.training.engine import Engine, Plan
from bayesian_lottery.training.targets import Labels, Targets, Teacher, build
from bayesian_lottery.training.tasks import Inputs, Task, stream_of


def redraws_classifier(template: torch.nn.Module, inputs: Inputs, images: decoded.Images) -> bool:
    """Whether a node's initial weights are of another number of classes than its data.

    Raises:
        InputError: they are of images of another shape.
    """
    shapes, metadata = read_shapes(inputs.initial)
    theirs = tuple(metadata.get("image_shape", images.image_shape))
    if theirs != images.image_shape:
        raise InputError(
            f"{inputs.initial}: of images of {theirs}, and {images.name} has {images.image_shape}."
        )
    return shapes[f"{models.classifier_of(template)}.weight"][0] != len(images.classes)


def _plain(state: Mapping[str, torch.Tensor], names: Iterable[str]) -> dict[str, torch.Tensor]:
    """A saved state by the names of the plain model; of a Bayesian network the means, and without
    what a kind that samples has beside them."""
    means = {bayesian.parameter_names(name)[0]: name for name in names}
    if not state.keys() & means.keys():
        return {name: each for name, each in state.items() if not name.startswith(OWN)}
    stds = {bayesian.parameter_names(name)[1] for name in names}
    return {means.get(name, name): t for name, t in state.items() if name not in stds}


def trained(
    settings: Mapping,
    images: decoded.Images,
    weights: Path,
    told: Mapping,
    device: torch.device,
) -> networks.Network:
    """A dense network with the trained weights of a file.

    Args:
        settings: of which the model counts, and what its mask covers.
        images: the data set.
        weights: the file.
        told: the inference, by which it was trained, its kind and options.
        device: where to put it.
    """
    template = models.build(models.of(settings), images.image_shape, len(images.classes))
    mask = pruning.dense_mask(template, settings)
    kind, options = kinds.kind_name(told), kinds.options_of(told)
    network = networks.build(kind, template.to(device), options)
    state, _ = read_tensors(weights)
    try:
        network.load(state, mask)
    except InputError as error:
        raise InputError(f"{weights}: {error}") from None
    return network


def targets(tasks: Sequence[Task], images: decoded.Images, device: torch.device) -> Targets:
    """What nodes, of one objective, are trained towards."""
    settings = tasks[0].settings
    if "objective" not in settings:
        return Labels()
    plan, teachers = Plan(**settings.get("compute", {})), []
    for task in tasks:
        if weights := task.inputs.teacher:
            told = task.settings["teacher"]
            network = trained(task.settings, images, weights, told, device)
            network.template.eval()
            engine = Engine(network, images.image_shape, plan)
            teachers.append(Teacher(engine, told["samples"], stream_of(task.node)))
    return build(settings, teachers)


def own_network(
    settings: Mapping,
    image_shape: tuple[int, int, int],
    classes: int,
    weights: int,
    covers: bool,
    stream: Sequence[str],
) -> torch.nn.Module:
    """What a branch with a network of its own trains, as its weights are drawn.

    Args:
        settings: the branch's.
        weights: how many the level's mask keeps, or the network's own.
        covers: whether it covers the classifier.
        stream: the coordinates that name the branch's random streams.
    """
    build = named(NETWORKS[str(branch_of(settings).network)])
    seed = seed_of(*stream, "network")
    return build(models.of(settings), image_shape, classes, weights, covers, seed)


def start(
    images: decoded.Images,
    settings: Mapping,
    inputs: Inputs,
    stream: Sequence[str],
    device: torch.device,
) -> networks.Network:
    """The network as training starts from it: the ticket of a level, or of a branch from it.

    Where the weights are of another number of classes than the data, the classifier is drawn anew.

    Raises:
        InputError: a file is missing, damaged, or of another network or shape of images.
    """
    drawn = seed_of(*stream, "classifier")
    model, classes = models.of(settings), len(images.classes)
    template = models.build(model, images.image_shape, classes, seed=drawn)
    for note in getattr(template, "notes", ()):
        print(f"{settings['model']}: {note}", flush=True)
    mask = masks.load(inputs.mask) if inputs.mask else masks.ones(models.prunable(template))
    classifier = f"{models.classifier_of(template)}."
    redrawn = redraws_classifier(template, inputs, images)
    if redrawn and f"{classifier}weight" in mask:
        raise InputError(
            f"{inputs.mask}: it prunes the classifier, and fits no data of another number of "
            f"classes than those of {inputs.initial}."
        )
    masks.check(mask, models.shapes_for(template, mask))
    source = inputs.trained_weights or inputs.initial
    weights = _plain(read_tensors(source)[0], template.state_dict())
    if redrawn:
        own = {k: v for k, v in template.state_dict().items() if k.startswith(classifier)}
        weights = {**{k: v for k, v in weights.items() if not k.startswith(classifier)}, **own}
    networks.check_shapes(source, weights, template.state_dict())
    ticket = Ticket(mask, weights)
    branch = branch_of(settings)
    kind, options = kinds.kind_name(settings), kinds.options_of(settings)
    if branch.network:
        covers = f"{classifier}weight" in mask
        size = masks.survivors(mask), covers
        template = own_network(settings, images.image_shape, classes, *size, stream)
        ticket = Ticket(masks.ones(models.prunable(template, covers)), template.state_dict())
    elif settings["branch"]:
        ticket = branch.ticket(ticket, generator(*stream, "ticket"), options)
    template.load_state_dict(ticket.weights)
    network = networks.build(kind, template.to(device), options)
    if makes_mask := search_of(settings):
        mask = named(makes_mask[0].start)(network, images, settings, stream)
        ticket = replace(ticket, mask=mask)
    state: Mapping[str, torch.Tensor] = network.state()
    if settings["rewind"] and not settings["branch"]:
        trained = read_tensors(inputs.rewind_weights)[0] if inputs.rewind_weights else None
        state = rewinding(settings).start(state, trained)
    network.load(state, ticket.mask)
    return network
