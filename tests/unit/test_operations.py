"""Counted operations of training: by hand, and by layer against PyTorch's counter."""

import pytest
import torch
from families import FAMILIES
from torch.utils.flop_counter import FlopCounterMode

from bayesian_lottery import models
from bayesian_lottery.findings.operations import training_flops
from bayesian_lottery.models import costs
from bayesian_lottery.tickets.moves import cubic
from bayesian_lottery.tickets.searches import SEARCHES


@pytest.mark.parametrize("model", FAMILIES)
def test_layers_and_the_rest_add_up_to_pytorchs_count(model):
    network = models.build(model, FAMILIES[model], 10, seed=0)
    layers, other = costs.by_layer(network, FAMILIES[model])
    with torch.device("meta"):
        image, again = torch.zeros(1, *FAMILIES[model]), models.build(model, FAMILIES[model], 10)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        again.eval()(image)
    assert sum(layers.values()) + other == counter.get_total_flops() // 2
    assert (other > 0) == ("vit" in model), "attention alone is in no layer"


def test_a_training_counts_survivors_images_and_samples():
    settings = {
        "dataset": "d", "model": "m", "inference": "bayesian", "bayesian": {"samples": 3},
        "validation": 0.1, "curriculum": {"batch_size": 8},
    }  # fmt: skip
    layers = [{"name": "a", "survivors": 25, "size": 100}]
    metrics = {"settings": settings, "layers": layers, "cost": {"epochs": 2}}
    count = {"layers": {"a": 400, "b": 30}, "weights": {"a": 100, "b": 30}, "other": 7,
             "images": [20, 15]}  # fmt: skip
    # Held out are 2 and 2 of the images; of the 31 left an epoch takes three batches.
    forward = 400 / 4 + 30 + 7
    assert training_flops(metrics, {("d", "m"): count}) == 2 * 3 * forward * 3 * 2 * 24
    assert training_flops(metrics, {}) is None


def test_a_population_and_a_sampler_take_all_gradients_that_they_count():
    count = {"layers": {"a": 400}, "weights": {"a": 100}, "other": 0, "images": [20, 15]}
    shared = {"dataset": "d", "model": "m", "validation": 0.1, "curriculum": {"batch_size": 8}}
    layers, counts = [{"name": "a", "survivors": 100, "size": 100}], {("d", "m"): count}
    tuned = {**shared, "inference": "tuned", "tuned": {"samples": 3, "members": 4}}
    metrics = {"settings": tuned, "layers": layers, "cost": {"epochs": 2}}
    assert training_flops(metrics, counts) == 2 * 3 * 400 * 3 * 4 * 2 * 24
    for images, taken in ((0, 31), (12, 12)):
        settings = {**shared, "inference": "hmc", "hmc": {"images": images}}
        chain = {"sampling": {"gradients": 500}, "settings": settings, "layers": layers}
        assert training_flops({**chain, "cost": {"epochs": 9}}, counts) == 2 * 3 * 400 * 500 * taken


def test_the_mean_share_of_gradual_pruning_is_that_of_its_schedule():
    options = {"begin": 0.1, "end": 0.7}
    steps = [min(max((t / 10_000 - 0.1) / 0.6, 0), 1) for t in range(10_000)]
    mean = sum(cubic(10**6, 20_000, p) for p in steps) / 10_000 / 10**6
    assert SEARCHES["gradual"].share(0.02, options) == pytest.approx(mean, abs=1e-3)
