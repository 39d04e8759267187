"""bfloat16 activations change accuracy by no more than another seed does."""

import statistics

import pytest

from bayesian_lottery import models
from bayesian_lottery.data import decoded, sources
from bayesian_lottery.inference import networks
from bayesian_lottery.tickets import masks
from bayesian_lottery.training import loop

pytestmark = pytest.mark.slow

SEEDS = range(4)
OPTIONS = {"initial_std": 0.01, "prior_std": 1.0}


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "digits.safetensors"
    sources.prepare("digits", {"source": "digits"}, path)
    return decoded.load(path)


def accuracy(images, model, inference, precision, seed):
    template = models.build(model, images.image_shape, 10, seed=seed)
    network = networks.build(inference, template, OPTIONS)
    network.load(network.state(), masks.ones(models.prunable(template)))
    settings = {
        "inference": inference,
        "augment": {"flip": False, "crop": 0},
        "validation": 0.1,
        "compute": {"precision": precision},
        "curriculum": {
            **{"epochs": 5, "optimizer": "adam", "learning_rate": 3e-3, "weight_decay": 0.0},
            **{"batch_size": 64, "milestones": [4], "gamma": 0.1, "warmup_epochs": 0},
            "momentum": 0.9,
        },
        "evaluation": {"samples": 4, "passes": 1, "every": 5, "bins": 10, "batch_size": 1000},
    }
    if inference == "bayesian":
        settings["bayesian"] = {"samples": 2, "heat": 0.1, "likelihood": "categorical"}
    (record,) = loop.train([network], images, settings, [["precision", str(seed)]])
    return record.history[-1]["test_accuracy"]


@pytest.mark.parametrize("inference", ["deterministic", "bayesian"])
@pytest.mark.parametrize("model", ["lenet_100_50", "resnet8_slim"])
def test_bfloat16_costs_no_more_accuracy_than_a_seed_may(digits, model, inference):
    full, reduced = (
        [accuracy(digits, model, inference, precision, seed) for seed in SEEDS]
        for precision in ("float32", "bfloat16")
    )
    print(f"{model}, {inference}: float32 {full}, bfloat16 {reduced}")
    assert min(full) > 0.9
    difference = statistics.mean(reduced) - statistics.mean(full)
    # Of few seeds all may agree: two test images more or less are nothing either.
    allowed = max(max(full) - min(full), 2 / len(digits.test))
    assert abs(difference) <= allowed, (full, reduced)
