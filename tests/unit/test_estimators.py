"""Estimators that perturb each image apart, against samples of the weights."""

import pytest
import torch

from bayesian_lottery.inference import estimators, networks
from bayesian_lottery.models.layers import Conv2d, Linear
from bayesian_lottery.models.mlp import MLP
from bayesian_lottery.randomness import generator
from bayesian_lottery.training.engine import data_term, log_likelihoods

pytestmark = pytest.mark.slow

OPTIONS = {"initial_std": 0.5, "prior_std": 0.7}  # a large sigma, so that noise matters
each_estimator = pytest.mark.parametrize("estimator", estimators.ESTIMATORS)


# The means


def perceptron(estimator):
    """A small one, pruned, in float64, and a batch of images."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        template = MLP((1, 2, 3), 3, (5, 4)).double()
    network = networks.build("bayesian", template, {**OPTIONS, "estimator": estimator})
    mask = {name: torch.ones_like(layer) for name, layer in network.mask.items()}
    mask["hidden.0.weight"][0, 1] = mask["hidden.1.weight"][2] = False
    network.load(network.state(), mask)
    images = torch.randn(4, 1, 2, 3, generator=generator("images"), dtype=torch.float64)
    return network, images


def draws(estimator, repeats=400, samples=50):
    """Rows (repeats, n): mean logits, and the gradient of a linear function of the mean logits.

    The function differs between images and classes. The gradient is by all mu, then log sigma.
    """
    network, images = perceptron(estimator)
    stream = generator(estimator)
    factors = torch.randn(len(images), 3, generator=generator("factors"), dtype=torch.float64)
    parameters = [network.mean, network.log_std]
    rows = []
    for _ in range(repeats):
        noise = network.noise(samples, stream)
        logits = network.logits(images, network.weights(), noise).mean(0)
        gradients = torch.autograd.grad((logits * factors).sum(), parameters)
        rows.append(torch.cat([logits.detach().flatten(), *(g.flatten() for g in gradients)]))
    return torch.stack(rows)


def discrepancy(rows, others):
    """Mean squared z-score of the differences between two estimates' means; 1 if these are equal.

    What is the same in every draw, as a pruned weight's gradient, must be equal and counts not.
    """
    variance = sum(values.var(0) / len(values) for values in (rows, others))
    difference, random = rows.mean(0) - others.mean(0), variance > 1e-24
    torch.testing.assert_close(rows[0, ~random], others[0, ~random])
    return float((difference[random].square() / variance[random]).mean())


@pytest.fixture(scope="module")
def by_weights():
    return draws("weights")


@each_estimator
def test_mean_outputs_and_gradients_are_those_of_weight_samples(by_weights, estimator):
    found, logits = draws(estimator), 4 * 3
    mu = slice(logits, (logits + found.shape[1]) // 2)
    log_sigma = slice(mu.stop, None)
    for part in (slice(logits), mu, log_sigma):
        assert discrepancy(found[:, part], by_weights[:, part]) < 1.5


def test_weight_samples_agree_with_themselves(by_weights):
    half = len(by_weights) // 2
    assert discrepancy(by_weights[:half], by_weights[half:]) < 1.4


def mean_loss(likelihood, **options):
    """Mean and standard error of the data term of two samples, over many draws."""
    network, images = perceptron(options.get("estimator", "weights"))
    network.antithetic = options.get("antithetic", False)
    labels, stream = torch.tensor([0, 1, 2, 0]), generator(likelihood, options)
    with torch.no_grad():
        losses = [
            data_term(log_likelihoods(network.logits(images, weights, noise), labels), likelihood)
            for weights in [network.weights()]
            for noise in (network.noise(2, stream) for _ in range(3000))
        ]
    losses = torch.stack(losses)
    return losses.mean(), losses.std() / len(losses) ** 0.5


@pytest.mark.parametrize("likelihood", ["elbo", "categorical"])
def test_only_antithetic_pairs_change_the_mean_loss_and_only_the_categorical_one(likelihood):
    """The logarithm of a mean over samples depends on how these depend on one another."""
    expected, expected_error = mean_loss(likelihood)
    others = [{"estimator": name} for name in estimators.ESTIMATORS]
    for options in (*others, {"antithetic": True}):
        found, error = mean_loss(likelihood, **options)
        z = (found - expected) / (error**2 + expected_error**2).sqrt()
        if likelihood == "categorical" and "antithetic" in options:
            assert z < -5
        else:
            assert abs(z) < 3


def slightly_too_wide(layer, inputs, std, generators):
    return 1.05 * estimators.local_reparameterisation(layer, inputs, std, generators)


def never_negative(layer, inputs, std, generators):
    return estimators.flipout(layer, inputs, std, generators).abs()


def without_the_bias(layer, inputs, std, generators):
    return estimators.flipout(layer, inputs, (std[0], None), generators)


@pytest.mark.parametrize("wrong", [slightly_too_wide, never_negative, without_the_bias])
def test_a_wrong_estimator_would_be_found_out(by_weights, monkeypatch, wrong):
    monkeypatch.setitem(estimators.ESTIMATORS, "flipout", wrong)
    assert discrepancy(draws("flipout"), by_weights) > 2


# One layer


def layer_and_inputs(kind):
    """A layer, inputs (1, B, ..., I), sigmas with a fully pruned row, means likewise."""
    stream = generator("layer")

    def normal(*shape):
        return torch.randn(shape, generator=stream, dtype=torch.float64)

    layer = Conv2d(3, 4, 3, stride=2, padding=1) if kind == "convolution" else Linear(3, 4)
    inputs = {"convolution": (1, 2, 5, 5, 3), "linear": (1, 2, 3), "tokens": (1, 2, 5, 3)}[kind]
    weight, bias = normal(*layer.weight.shape).abs(), normal(4).abs()
    weight[1] = bias[1] = 0
    return layer, normal(*inputs), (weight, bias)


def perturbations(estimator, kind, count=20_000):
    layer, inputs, std = layer_and_inputs(kind)
    if estimator == "weights":
        noise = [
            tuple(s * torch.randn(s.shape, generator=stream, dtype=s.dtype) for s in std)
            for stream in [generator("weights")]
            for _ in range(count)
        ]
        return torch.cat([estimators._affine(layer, inputs, values) for values in noise])
    streams = [generator(estimator, number) for number in range(count)]
    return estimators.ESTIMATORS[estimator](layer, inputs, std, streams)


@pytest.mark.parametrize("kind", ["convolution", "linear", "tokens"])
@pytest.mark.parametrize("estimator", ["weights", *estimators.ESTIMATORS])
def test_every_outputs_mean_and_variance_are_right(estimator, kind):
    layer, inputs, std = layer_and_inputs(kind)
    found = perturbations(estimator, kind)
    variance = estimators._affine(layer, inputs.square(), tuple(s.square() for s in std))[0]
    assert (found[..., 1] == 0).all()  # its weights are pruned
    rest = [0, 2, 3]
    found, variance = found[..., rest], variance[..., rest]
    z = found.mean(0) / (variance / len(found)).sqrt()
    assert z.abs().max() < 4.5
    # Fourth moments of a normal value: the variance's own is 2 variance^2. Flipout's and weight
    # samples' outputs are normal too, given the signs.
    z = (found.var(0) / variance - 1) / (2 / len(found)) ** 0.5
    assert z.abs().max() < 4.5


@pytest.mark.parametrize("kind", ["convolution", "tokens"])
def test_positions_covary_as_with_weight_samples_by_flipout_only(kind):
    """What local reparameterisation leaves out where positions share weights."""

    def correlation(estimator):
        found = perturbations(estimator, kind)[:, 0, ..., 0].flatten(1)  # an image, a channel
        return torch.corrcoef(found.T)

    expected = correlation("weights")
    off = ~torch.eye(len(expected), dtype=bool)
    assert expected[off].abs().max() > 0.3
    torch.testing.assert_close(correlation("flipout"), expected, rtol=0, atol=0.05)
    assert correlation("local_reparameterisation")[off].abs().max() < 0.05


@each_estimator
def test_images_do_not_covary(estimator):
    """The point of it: with weight samples those of equal images are equal."""
    layer, inputs, std = layer_and_inputs("linear")
    inputs = inputs[:, :1].expand(-1, 2, -1)
    streams = [generator(estimator, number) for number in range(20_000)]
    first, second = estimators.ESTIMATORS[estimator](layer, inputs, std, streams)[..., 0].T
    assert torch.corrcoef(torch.stack([first, second]))[0, 1].abs() < 0.03
