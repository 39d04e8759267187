"""Pieces of branches: other data, another seed's weights, signs alone, no training."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_study import SmallStudy

from bayesian_lottery import study
from bayesian_lottery.data import decoded, subsets
from bayesian_lottery.errors import InputError
from bayesian_lottery.exports import tickets
from bayesian_lottery.files import read_tensors, write_tensors
from bayesian_lottery.running import cost, speeds, work
from bayesian_lottery.study import configuration, datasets, node_metrics
from bayesian_lottery.tickets import masks
from bayesian_lottery.training import jobs, starts

MODEL = "resnet8_slim"
KINDS = {
    "transfer": {"dataset": "half"},
    "fine_tuned": {"dataset": "half", "weights": "trained"},
    "signs": {"weights": "signs"},
    "seed7": {"seed": 7},
    "untrained": {"train": False},
}


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> SmallStudy:
    """A study with two trained networks, and half of its classes as a data set of its own."""
    folder = tmp_path_factory.mktemp("pieces")
    found = SmallStudy(folder)
    found.config["branch_kinds"] = KINDS
    found.config["datasets"]["half"] = {**found.config["datasets"]["digits"], "classes": [5, 6, 7]}
    images = jobs.decoded.load(found.data)
    half = replace(subsets.of_classes(images, [5, 6, 7]), name="half")
    decoded.save(study.data_file(found.config, "half"), half, "made here")
    jobs.initialise(found.data, MODEL, 7, Path(initial(found, 7)))
    for inference in ("deterministic", "bayesian"):
        found.train(found.node(MODEL, inference))
    return found


def initial(small: SmallStudy, seed: int) -> str:
    return f"{small.config['results']}/initial/digits/{MODEL}/seed{seed}.safetensors"


def branch(small: SmallStudy, name: str, inference="deterministic", level=1) -> study.Node:
    return replace(small.node(MODEL, inference, level=level), branch=name, replicate=0)


def started(small: SmallStudy, node: study.Node):
    task = small.task(node)
    images = decoded.load(task.inputs.data)
    return starts.start(images, task.settings, task.inputs, ["any"], torch.device("cpu"))


@pytest.mark.parametrize("inference", ["deterministic", "bayesian"])
def test_a_ticket_is_trained_on_other_data_with_a_classifier_drawn_anew(small, inference):
    node = branch(small, "transfer", inference)
    state, own = started(small, node).state(), read_tensors(initial(small, 0))[0]
    mask = masks.load(small.inputs(node)["mask"])
    mean = "classifier._weight_mean" if inference == "bayesian" else "classifier.weight"
    assert state[mean].shape[0] == 3 and state[mean].abs().max() <= state[mean].shape[1] ** -0.5
    for name in mask:
        found = state[name.replace(".weight", "._weight_mean") if inference == "bayesian" else name]
        assert torch.equal(found, torch.where(mask[name], own[name], 0)), name
    small.train(node)
    metrics = node_metrics.read(small.path(node, "metrics.json"))
    assert metrics["classifier"] == "drawn anew"
    assert metrics["settings"]["dataset"] == "half" and metrics["node"]["dataset"] == "digits"
    probabilities = read_tensors(small.path(node, "predictions.safetensors"))[0]["probabilities"]
    assert probabilities.shape == (15, 3)


def test_a_transfer_is_counted_with_the_data_that_it_is_trained_on(small):
    nodes = [small.node(MODEL), small.node(MODEL, level=1), branch(small, "transfer")]
    found = {job.node: job for job in work.jobs(small.config, nodes)}
    assert found[nodes[-1]].dataset == "half"
    assert {job.dataset for job in work.jobs(small.config, nodes)} == {"digits", "half"}
    # Of a GPU, for what other tests trained here was measured on a CPU, however busy it was.
    items = cost.estimate(small.config, nodes, device="gpu").items
    seconds = {item.job.node: item.seconds for item in items}
    assert seconds[nodes[2]] < seconds[nodes[1]], "fewer images"


@pytest.mark.parametrize("inference", ["deterministic", "bayesian"])
def test_trained_weights_are_carried_over_too(small, inference):
    node = branch(small, "fine_tuned", inference, level=0)
    state = started(small, replace(node, scorer=None, rewind=None)).state()
    own, _ = read_tensors(small.path(node.dense, "weights.safetensors"))
    name = "stem._weight_mean" if inference == "bayesian" else "stem.weight"
    name = next(n for n in own if n.endswith(name.partition(".")[2]) and "classifier" not in n)
    assert torch.equal(state[name], own[name])
    small.train(replace(node, scorer=None, rewind=None))


def test_another_seeds_initial_weights_lie_under_the_mask(small):
    node = branch(small, "seed7")
    assert small.inputs(node)["initial"] == initial(small, 7)
    assert small.inputs(node)["mask"] == small.inputs(small.node(MODEL, level=1))["mask"]
    state, other = started(small, node).state(), read_tensors(initial(small, 7))[0]
    mask = masks.load(small.inputs(node)["mask"])
    assert all(torch.equal(state[n], torch.where(layer, other[n], 0)) for n, layer in mask.items())
    files = [str(job.output) for job in work.jobs(small.config, [node])]
    assert initial(small, 7) in files
    small.train(node)
    found = tickets.load(small.path(node, "metrics.json").parent).initial
    assert all(torch.equal(found[name], other[name]) for name in mask)


def test_signs_stay_and_magnitudes_are_drawn_as_the_model_draws_them(small):
    node = branch(small, "signs")
    state, own = started(small, node).state(), read_tensors(initial(small, 0))[0]
    for name, layer in masks.load(small.inputs(node)["mask"]).items():
        found, was = state[name][layer], own[name][layer]
        assert torch.equal(found.sign(), was.sign()) and not torch.equal(found, was)
        bound = own[name][0].numel() ** -0.5
        assert found.abs().max() <= bound
        if found.numel() > 500:  # |U(-b, b)| has the mean b / 2 and the deviation b / sqrt(12)
            error = abs(found.abs().mean().item() - bound / 2)
            assert error < 4 * bound / 12**0.5 / found.numel() ** 0.5


@pytest.mark.parametrize("inference", ["deterministic", "bayesian"])
def test_an_untrained_ticket_is_tested_as_it_starts(small, inference):
    node = branch(small, "untrained", inference)
    start = started(small, node).state()
    small.train(node)
    weights, _ = read_tensors(small.path(node, "weights.safetensors"))
    assert all(torch.equal(weights[name], start[name]) for name in start)
    metrics = node_metrics.read(small.path(node, "metrics.json"))
    assert metrics["cost"]["epochs"] == 0 and metrics["results"]["peak"]["epoch"] == 0
    assert metrics["results"]["final"]["accuracy"] < 0.5
    results = work.runs(small.config["results"])
    assert speeds.measure(small.config, results).seconds(metrics["settings"]) is not None


def test_pieces_that_change_nothing_are_in_no_parameters(small):
    task = study.node_settings(small.config, branch(small, "signs"))
    assert task["pieces"] == {
        "mask": "kept",
        "weights": "signs",
        "inference": None,
        "curriculum": None,
        "of": None,
    }
    assert "pieces" not in study.node_settings(small.config, branch(small, "reinit"))
    told = study.node_settings(small.config, branch(small, "untrained"))
    assert told["pieces"]["train"] is False and told["curriculum"]["epochs"] == 0


def test_halves_of_cifar_have_half_its_images_and_classes(small):
    given = {"source": "cifar10", "root": "nowhere", "validation": 0.1, "classes": [0, 1, 2, 3, 4]}
    config = {**small.config, "datasets": {"lower": given}}
    images = datasets.images_of(config, "lower")
    assert (images.train, images.validation, images.test) == (22_500, 2_500, 5_000)
    assert images.classes == 5


@pytest.mark.parametrize(
    ("pieces", "entry", "sentence"),
    [
        ({"dataset": "none"}, {}, "branch_kinds.x.dataset: 'none' is not known; choose from"),
        ({"dataset": "digits"}, {}, "x is trained on digits, and so is deterministic/magnitude"),
        ({"seed": 0}, {}, "x takes the initial weights of seed 0, and so does deterministic/"),
        ({"seed": 1, "weights": "trained"}, {}, "branch_kinds.x.seed: it says whose initial weig"),
        ({"train": False, "curriculum": "sgd"}, {}, "branch_kinds.x.curriculum: nothing is traine"),
        (
            {"dataset": "wide"},
            {"model": MODEL},
            "branch_kinds.x.dataset: the images of wide are 3 x 32 x 32, and those of digits, "
            "where the tickets are found, 1 x 8 x 8; a ticket fits one shape.",
        ),
    ],
)
def test_pieces_that_make_no_sense_are_refused(small, pieces, entry, sentence):
    wide = {**small.config["datasets"]["digits"], "source": "cifar10", "root": "nowhere"}
    config = {
        **small.config,
        "datasets": {**small.config["datasets"], "wide": wide},
        "branch_kinds": {"x": pieces},
        "branches": [{"branch": "x", "levels": [1], "replicates": 1, **entry}],
    }
    with pytest.raises(InputError) as refused:
        configuration.validate(config)
    assert sentence in str(refused.value)


def test_a_name_of_a_papers_branch_is_refused(small):
    config = {**small.config, "branch_kinds": {"reinit": {"mask": "shuffle_global"}}}
    with pytest.raises(InputError, match=r"branch_kinds\.reinit: the package has a branch reinit"):
        configuration.validate(config)


def test_a_pruned_classifier_fits_one_number_of_classes(small):
    trunk = {**small.config["trunks"][0], "pattern": "units"}
    branches = [{"branch": "transfer", "levels": [1], "replicates": 1}]
    config = {**small.config, "trunks": [trunk], "branches": branches}
    with pytest.raises(InputError) as refused:
        configuration.validate(config)
    assert "half has 3 classes, digits 10, and masks by the ranking" in str(refused.value)
    branches[0]["levels"] = [0]
    configuration.validate(config)  # the dense network's mask leaves the classifier out


def test_initial_weights_of_images_of_another_shape_are_refused(small, tmp_path):
    task = small.task(small.node(MODEL))
    weights, metadata = read_tensors(task.inputs.initial)
    write_tensors(tmp_path / "other", weights, {**metadata, "image_shape": [1, 16, 16]})
    inputs = replace(task.inputs, initial=tmp_path / "other")
    images = decoded.load(inputs.data)
    with pytest.raises(InputError, match=r"of images of \(1, 16, 16\), and digits has \(1, 8, 8\)"):
        starts.start(images, task.settings, inputs, ["any"], torch.device("cpu"))
