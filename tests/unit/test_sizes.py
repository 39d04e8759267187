"""Sizes of networks, data sets and the files of nodes: operations, parameters and bytes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from timed_study import DIGITS, load, node

from bayesian_lottery import models, study
from bayesian_lottery.data import sources
from bayesian_lottery.errors import InputError
from bayesian_lottery.inference import networks
from bayesian_lottery.inference.kinds import KINDS
from bayesian_lottery.running import cost
from bayesian_lottery.study import Node, datasets

pytestmark = pytest.mark.slow


@pytest.fixture
def loaded(tmp_path, monkeypatch) -> tuple[dict, list[Node]]:
    monkeypatch.chdir(tmp_path)
    return load()


@pytest.mark.parametrize(
    ("model", "billions"),
    [
        ("resnet20", 0.041),
        ("resnet110", 0.253),
        ("resnet18", 0.555),
        ("vgg11", 0.153),
        ("vgg19", 0.398),
        ("vit_tiny", 0.365),
        ("vit_base", 5.60),
    ],
)
def test_multiply_adds(model, billions):
    found = cost.size(model, (3, 32, 32), 10).multiply_adds / 1e9
    assert found == pytest.approx(billions, abs=0.5 * 10 ** -len(str(billions).partition(".")[2]))


def test_multiply_adds_of_a_perceptron_by_hand():
    found = cost.size("lenet_100_50", (1, 8, 8), 10)
    weights = 64 * 100 + 100 * 50 + 50 * 10
    assert found.multiply_adds == weights
    assert found.parameters == found.random == weights + 100 + 50 + 10
    assert found.prunable == 64 * 100 + 100 * 50


@pytest.mark.parametrize("inference", ["deterministic", "bayesian"])
@pytest.mark.parametrize("model", ["resnet8_slim", "vit_nano", "lenet_100_50"])
def test_bytes_of_weights_are_those_that_are_saved(model, inference):
    template = models.build(model, (1, 8, 8), 10)
    network = networks.build(inference, template, {"initial_std": 0.1, "prior_std": 1.0})
    saved = sum(tensor.numel() * tensor.element_size() for tensor in network.state().values())
    assert cost.size(model, (1, 8, 8), 10).weight_bytes(KINDS[inference]) == saved


def test_counting_needs_no_memory_and_leaves_the_random_state():
    before = torch.get_rng_state()
    cost.size.cache_clear()
    cost.size("vit_nano", (1, 8, 8), 10)
    assert torch.equal(before, torch.get_rng_state())


def test_images_are_read_from_the_decoded_file_where_there_is_one(loaded):
    config, _ = loaded
    assert datasets.images_of(config, "digits") == DIGITS
    pytest.importorskip("sklearn")
    sources.prepare("digits", {"source": "digits"}, study.data_file(config, "digits"))
    assert datasets.images_of(config, "digits") == DIGITS
    stored = Path(study.data_file(config, "digits")).stat().st_size
    assert stored == pytest.approx(DIGITS.stored_bytes, rel=0.01)


def test_a_decoded_file_of_other_settings_says_nothing(loaded):
    config, _ = loaded
    given, file = config["datasets"]["digits"], Path(study.data_file(config, "digits"))
    sources.prepare("digits", given, file)
    given["images"] = 500
    assert datasets.images_of(config, "digits").train == 450
    given["images"] = 5000
    with pytest.raises(InputError, match=r"images: 5000 is not fewer than the 1438"):
        datasets.images_of(config, "digits")
    sources.note_of(file).unlink()  # as files of before
    assert datasets.images_of(config, "digits") == DIGITS


def test_weights_that_stay(loaded):
    config, nodes = loaded
    network = cost.size("lenet_100_50", (1, 8, 8), 10)
    weights, mask = network.weight_bytes(KINDS["bayesian"]), network.prunable / 8
    text = 12_000 + 4 * 500 + 2 * 359 * 10

    def kept(each: Node, config: dict = config) -> tuple[int, int]:
        return cost.node_bytes(config, each, study.node_settings(config, each), network, DIGITS)

    checkpoint = weights + 8 * network.trained(KINDS["bayesian"])
    dense, level = node(nodes, "bayesian", 0), node(nodes, "bayesian", 1)
    assert kept(dense) == (text + 3 * mask + weights, checkpoint)  # a mask a scorer
    assert kept(level) == (text + mask, checkpoint + weights)
    assert kept(replace(level, rewind="lrr")) == (text + mask + weights, checkpoint)
    assert kept(level, {**config, "weights": "all"}) == (text + mask + weights, checkpoint)
    drawing = {**config, "inferences": {"chain": {"kind": "sghmc", "keep": 7}}}
    chain = network.weight_bytes(KINDS["sghmc"]) + 7 * 4 * network.parameters
    assert kept(replace(dense, inference="chain"), drawing)[0] == text + 3 * mask + chain
    transplant = node(nodes, "deterministic", 1, "transplant_trained")
    assert kept(transplant) == (text + mask, checkpoint + weights)
