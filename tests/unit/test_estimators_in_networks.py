"""Networks whose estimators perturb each image apart: passes, evaluation, precision, refusals."""

import pytest
import torch
from families import FAMILIES
from masked_families import batch, masked

from bayesian_lottery import models
from bayesian_lottery.errors import InputError
from bayesian_lottery.inference import estimators, networks
from bayesian_lottery.randomness import generator
from bayesian_lottery.training.engine import Engine, Plan

pytestmark = pytest.mark.slow

OPTIONS = {"initial_std": 0.5, "prior_std": 0.7}  # a large sigma, so that noise matters
SAMPLES = 4
each_estimator = pytest.mark.parametrize("estimator", estimators.ESTIMATORS)
each_model = pytest.mark.parametrize("model", FAMILIES)


def network_of(model, estimator, **survivors):
    return masked(model, "bayesian", {**OPTIONS, "estimator": estimator}, **survivors)


def step(model, estimator, plan):
    """What a step returns, the gradients it leaves, and the buffers."""
    network = network_of(model, estimator)
    noise = network.noise(SAMPLES, generator("noise"))
    engine = Engine(network, FAMILIES[model], plan)
    computed = engine.gradients(*batch(model), noise, "categorical", heat=1e-3)
    tensors = network.tensors()
    gradients = {name: t.grad for name, t in tensors.items() if t.requires_grad}
    return computed, gradients, {n: t for n, t in tensors.items() if not t.requires_grad}


@each_estimator
@each_model
def test_without_sigma_it_is_the_network_of_the_means(model, estimator):
    network, reference = network_of(model, estimator), network_of(model, "weights")
    images, _ = batch(model)
    for owner in (network, reference):
        owner.log_std.data.fill_(-torch.inf)
    found, expected = (
        owner.logits(images, owner.weights(), owner.noise(SAMPLES, generator("noise")))
        for owner in (network, reference)
    )
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)


@each_estimator
@each_model
@pytest.mark.parametrize("recompute", [False, True])
def test_passes_of_any_size_make_the_same_step(model, estimator, recompute):
    expected = step(model, estimator, Plan(samples_per_pass=SAMPLES))
    for size in (1, 3):
        found = step(model, estimator, Plan(size, recompute))
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-11)
    assert not torch.equal(expected[0][0][0], expected[0][0][1])  # samples differ


@each_estimator
@each_model
def test_evaluation_samples_weights(model, estimator):
    found = []
    for kind in (estimator, "weights"):
        network = network_of(model, kind)
        network.template.eval()
        noise = network.noise(SAMPLES, generator("noise"))
        found.append(Engine(network, FAMILIES[model], Plan()).logits(batch(model)[0], noise))
    assert torch.equal(*found)


@each_estimator
@each_model
def test_layers_and_rows_without_survivors_leave_gradients_finite(model, estimator):
    empty = next(iter(models.prunable(models.build(model, FAMILIES[model], 10))))
    network = network_of(model, estimator, density=0.1, empty=[empty])
    noise = network.noise(SAMPLES, generator("noise"))
    engine = Engine(network, FAMILIES[model], Plan())
    results = engine.gradients(*batch(model), noise, "categorical", 1e-3)
    assert all(result.isfinite().all() for result in results)
    assert all(t.grad.isfinite().all() for t in network.tensors().values() if t.requires_grad)


@each_estimator
@each_model
def test_bfloat16_is_close_to_float32(model, estimator):
    results = []
    for precision in ("float32", "bfloat16"):
        template = models.build(model, FAMILIES[model], 10, seed=1)
        options = {"initial_std": 0.05, "prior_std": 1.0, "estimator": estimator}
        network = networks.build("bayesian", template, options)
        images, labels = batch(model)
        noise = network.noise(SAMPLES, generator("noise"))
        engine = Engine(network, FAMILIES[model], Plan(1, precision=precision))
        results.append(engine.gradients(images.float(), labels, noise, "categorical", 1e-3))
        gradients = [t.grad for t in network.tensors().values() if t.requires_grad]
        assert all(g.dtype == torch.float32 and g.isfinite().all() for g in gradients)
    torch.testing.assert_close(results[1][1:], results[0][1:], rtol=0.05, atol=0.05)


def test_layers_are_themselves_again_even_after_an_error():
    network = network_of("lenet5", "flipout")
    noise = network.noise(SAMPLES, generator("noise"))
    with pytest.raises(RuntimeError):
        network.logits(torch.zeros(2, 5, 28, 28), network.weights(), noise)
    assert not any("forward" in vars(layer) for layer in network.template.modules())


def test_unknown_estimators_are_refused():
    with pytest.raises(InputError, match=r"bayesian\.estimator: 'none' is not known; choose from"):
        network_of("lenet5", "none")
