"""How long nodes take: operations counted, times published, and times measured."""

import json
import math
from dataclasses import replace

import pytest
from timed_study import DIGITS, finish, load, node

from bayesian_lottery import study
from bayesian_lottery.errors import InputError
from bayesian_lottery.inference import kinds
from bayesian_lottery.running import cost, speeds, work
from bayesian_lottery.running.speeds import Speed
from bayesian_lottery.study import Node
from bayesian_lottery.study.datasets import Images

pytestmark = pytest.mark.slow


@pytest.fixture
def loaded(tmp_path, monkeypatch) -> tuple[dict, list[Node]]:
    monkeypatch.chdir(tmp_path)
    return load()


# Counted


def test_tests_count_epochs_passes_and_samples(loaded):
    config, nodes = loaded
    dense = study.node_settings(config, node(nodes, "deterministic", 0))
    assert speeds.evaluated(dense, DIGITS) == 2 * (359 + 144) + 359
    bayesian = study.node_settings(config, node(nodes, "bayesian", 0))
    assert speeds.evaluated(bayesian, DIGITS) == 5 * (2 * (359 + 144) + 2 * 359)


def test_flops_are_three_forward_passes_a_sample_and_the_tests(loaded):
    config, nodes = loaded
    settings = study.node_settings(config, node(nodes, "bayesian", 0))
    tests = speeds.evaluated(settings, DIGITS)
    assert speeds.flops(settings, DIGITS, 1000) == 2 * 1000 * (3 * 1294 * 4 * 3 + tests)


@pytest.mark.parametrize(
    ("options", "gradients", "images"),
    [
        ({"kind": "nuts", "warmup": 10, "draws": 20, "depth": 4}, 30 * 15, 1294),
        ({"kind": "hmc", "warmup": 10, "draws": 20, "steps": 50, "images": 500}, 30 * 50, 500),
        ({"kind": "mclmc", "warmup": 10, "draws": 20, "steps": 2.5}, 30 * 2 * 5, 1294),
    ],
)
def test_a_chain_is_as_many_gradients_as_it_takes_at_most(loaded, options, gradients, images):
    config, nodes = loaded
    config = {**config, "inferences": {"chain": {**options, "keep": 7}}}
    chain = replace(node(nodes, "deterministic", 0), inference="chain")
    settings = study.node_settings(config, chain)
    assert speeds.training(settings, DIGITS) == (gradients, gradients * images)
    tests = 7 * (2 * (359 + 144) + 359)  # a pass for each of the draws that are kept
    assert speeds.evaluated(settings, DIGITS) == tests
    assert speeds.flops(settings, DIGITS, 1000) == 2000 * (3 * gradients * images + tests)


def test_nodes_of_another_estimator_are_of_another_kind(loaded):
    config, nodes = loaded
    settings = study.node_settings(config, node(nodes, "bayesian", 0))
    other = {**settings, "bayesian": {**settings["bayesian"], "estimator": "flipout"}}
    assert speeds.kind(settings) != speeds.kind(other)
    tests = 2 * 1000 * speeds.evaluated(settings, DIGITS)
    training = speeds.flops(settings, DIGITS, 1000) - tests
    assert speeds.flops(other, DIGITS, 1000) == 3 * training + tests


def test_a_step_takes_its_operations_and_a_fixed_time_besides(loaded):
    config, nodes = loaded
    settings = study.node_settings(config, node(nodes, "bayesian", 0))
    steps = 4 * (1294 // 64)
    arithmetic = speeds.flops(settings, DIGITS, 10**6) / 1e9
    found = speeds.assumed_seconds(settings, DIGITS, 10**6, Speed(1e-3, 0.01))
    assert found == pytest.approx(arithmetic + steps / 100)


# Published


@pytest.mark.parametrize("model", speeds.PUBLISHED)
@pytest.mark.parametrize("samples", [1, 10])
def test_the_papers_models_take_the_published_minutes(model, samples):
    settings = {
        "curriculum": {"epochs": 160, "batch_size": 128},
        "evaluation": {"every": 1, "passes": 0, "samples": samples},
        "inference": "bayesian",
        "bayesian": {"samples": samples},
    }
    cifar = Images(train=50_000, validation=0, test=10_000, shape=(3, 32, 32), classes=10)
    multiply_adds = cost.size(model, cifar.shape, cifar.classes).multiply_adds
    speed = speeds.published(model)
    minutes = speeds.assumed_seconds(settings, cifar, multiply_adds, speed) / 60
    assert minutes == pytest.approx(speeds.PUBLISHED[model][samples == 10], rel=0.005)


def test_other_models_are_as_fast_as_their_family_or_as_resnet20():
    assert speeds.published("vit_base") == speeds.published("vit_tiny")
    assert speeds.published("vgg19") == speeds.published("vgg11") != speeds.published("resnet110")
    for model in ("lenet5", "of_your_own"):
        assert speeds.published(model) == speeds.published("resnet20")


# Measured


def test_a_measured_time_follows_epochs_and_tests(loaded):
    config, nodes = loaded
    dense = node(nodes, "deterministic", 0)
    finish(config, dense, 3.0, 1e-3)
    config["curricula"]["short"]["epochs"] = 8
    config["evaluation"]["every"] = 1
    settings = study.node_settings(config, dense)
    measured = speeds.measure(config, work.runs(config["results"]))
    expected = 5 + 8 * 3.0 + 1e-3 * (8 * (359 + 144) + 359)
    assert measured.seconds(settings) == pytest.approx(expected)
    config["curricula"]["short"]["batch_size"] = 32
    assert measured.seconds(study.node_settings(config, dense)) is None


def test_networks_side_by_side_tell_nothing_of_networks_alone(loaded):
    config, nodes = loaded
    finish(config, node(nodes, "bayesian", 0), 9.0, 1e-3)
    finish(config, node(nodes, "bayesian", 1), 2.0, 1e-3, side_by_side=3)
    settings = study.node_settings(config, node(nodes, "bayesian", 2))
    for networks_per_job, an_epoch in ((1, 9.0), (4, 2.0)):
        config["networks_per_job"] = networks_per_job
        measured = speeds.measure(config, work.runs(config["results"]))
        tests = speeds.evaluated(settings, DIGITS)
        expected = measured.start + 4 * an_epoch + 1e-3 * tests
        assert measured.seconds(settings) == pytest.approx(expected)


def test_results_of_an_inference_that_is_registered_no_more_tell_nothing(loaded, registries):
    config, nodes = loaded
    finish(config, node(nodes, "bayesian", 0), 9.0, 1e-3)
    measured = speeds.measure(config, work.runs(config["results"]))
    kinds.KINDS["own"] = kinds.KINDS["bayesian"]
    finish(config, replace(node(nodes, "bayesian", 1), inference="own"), 2.0, 1e-3)
    del kinds.KINDS["own"]
    found = work.runs(config["results"])
    assert len(found) == 2 and speeds.measure(config, found) == measured
    settings = {**study.node_settings(config, node(nodes, "bayesian", 1)), "inference": "own"}
    with pytest.raises(InputError, match=r"^inference: 'own' is not known; choose from b"):
        kinds.kind_of(settings)


def measured_card(folder, **seconds):
    """A card.json of gpu_check.py: the seconds of an epoch, (deterministic, Bayesian), by model."""
    rows = [
        {"model": model, "inference": inference, "deterministic": strict, "capture": capture}
        | {"seconds": value * (1 if strict and not capture else 0.5)}
        for model, values in seconds.items()
        for inference, value in zip(("deterministic", "bayesian"), values, strict=True)
        for strict in (True, False)
        for capture in (False, True)
    ]
    path = folder / "card.json"
    path.write_text(json.dumps({"parts": [], "epochs": {"rows": rows}}))
    return path


def test_the_speeds_of_a_card_take_the_place_of_the_papers(tmp_path):
    paper = {model: [value * 60 / 160 for value in v] for model, v in speeds.PUBLISHED.items()}
    card = speeds.card(measured_card(tmp_path, **paper))
    for model in ("resnet20", "vgg16", "vit_base", "lenet5"):
        assert speeds.published(model, card) == pytest.approx(speeds.published(model))
    twice = {model: [2 * value for value in values] for model, values in paper.items()}
    slower = speeds.published("vgg11", speeds.card(measured_card(tmp_path, **twice)))
    assert slower.tflops == pytest.approx(speeds.published("vgg11").tflops / 2)


@pytest.mark.parametrize(
    "content", [{}, {"epochs": {"rows": [{}]}}, {"epochs": {"rows": []}}, {"epochs": {"rows": [3]}}]
)
def test_a_card_without_epochs_is_refused(tmp_path, content):
    (tmp_path / "card.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"card\.json"):
        speeds.card(tmp_path / "card.json")


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ({"no_model": (1, 3)}, "no known model's epochs"),
        ({"vgg11": (3, 3)}, "the second must be longer"),
        ({"vgg11": (math.nan, 3)}, "takes nan seconds"),
        ({"vgg11": (1, math.inf)}, "both above 0"),
        ({"vgg11": (-1, 3)}, "both above 0"),
    ],
)
def test_a_card_of_no_speeds_is_refused(tmp_path, times, words):
    with pytest.raises(InputError, match=words):
        speeds.card(measured_card(tmp_path, **times))
