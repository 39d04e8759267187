"""SGHMC and SGLD against what is known of their chains and targets."""

import functools
import math

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import nn

from bayesian_lottery.errors import InputError
from bayesian_lottery.inference import networks
from bayesian_lottery.inference.langevin import Langevin
from bayesian_lottery.inference.priors import NORMAL, UNIFORM
from bayesian_lottery.inference.schedules import Schedule
from bayesian_lottery.models.mlp import MLP
from bayesian_lottery.randomness import generator
from bayesian_lottery.training.engine import Engine, Plan

COPIES, IMAGES = 4000, 10
PRECISION = torch.tensor([[0.5, 0.3], [0.3, 0.4]])  # of the likelihood's mean loss, an image
TARGET = np.linalg.inv(IMAGES * PRECISION.numpy().astype(float) + np.eye(2))  # with prior N(0, 1)


def moments(friction: float, rate: float, temperature: float = 1.0, steps: int = 400):
    """Covariance (2, 2) of many copies of a chain over a Gaussian, and their two temperatures."""
    copies = nn.Parameter(torch.randn(COPIES, 2, generator=generator("copies")))
    chain = Langevin([copies], [NORMAL], IMAGES, temperature, friction, generator("noise"))
    chain.param_groups[0]["lr"] = rate
    covariances, heats = [], []
    for step in range(steps):
        copies.grad = copies.detach() @ PRECISION
        chain.step()
        if step >= steps // 2:
            covariances.append(torch.cov(copies.detach().T))
            heats.append(chain.heat / copies.numel())
    return torch.stack(covariances).mean(0).double().numpy(), torch.stack(heats).mean(0).tolist()


def stationary(friction: float, rate: float) -> np.ndarray:
    """The covariance of w that the recursion itself leads to, from its Lyapunov equation."""
    h, hessian = math.sqrt(rate / IMAGES), np.linalg.inv(TARGET)
    kept, pull = (1 - friction) * np.eye(2), -h * hessian
    step = np.block([[kept, pull], [h * kept, np.eye(2) + h * pull]])  # of (r, w)
    into = np.vstack([np.eye(2), h * np.eye(2)]) * math.sqrt(2 * friction)
    return scipy.linalg.solve_discrete_lyapunov(step, into @ into.T)[2:, 2:]


@pytest.mark.parametrize(("friction", "rate"), [(0.1, 0.02), (1.0, 0.2)])  # SGHMC; SGLD
def test_a_gaussian_is_recovered_within_the_bias_of_the_step(friction, rate):
    found, heats = moments(friction, rate)
    expected = stationary(friction, rate)
    assert found == pytest.approx(expected, rel=0.03)
    assert expected == pytest.approx(TARGET, rel=0.1)  # the bias that a step of this size has
    finer = stationary(friction, rate / 10)
    assert abs(finer - TARGET).max() < abs(expected - TARGET).max() / 5
    assert heats == pytest.approx([1, 1], abs=0.1)


def test_a_colder_chain_is_narrower_by_the_temperature():
    cold, heats = moments(0.1, 0.02, temperature=0.25)
    assert cold == pytest.approx(stationary(0.1, 0.02) / 4, rel=0.02)
    assert heats == pytest.approx([0.25, 0.25], abs=0.03)


@pytest.mark.parametrize("temperature", [0.25, 4.0])
def test_a_bounded_prior_is_flat_hot_or_cold(temperature):
    copies = nn.Parameter(torch.zeros(COPIES))
    chain = Langevin([copies], [UNIFORM], IMAGES, temperature, 0.1, generator("noise"))
    chain.param_groups[0]["lr"] = 0.2
    for _ in range(300):
        chain.step()
    assert UNIFORM.values(copies.detach(), torch).std().item() == pytest.approx(3**-0.5, rel=0.05)


def test_without_noise_it_is_sgd_with_momentum():
    start = torch.tensor([1.0, -2.0])
    chain, plain = (nn.Parameter(start.clone()) for _ in range(2))
    dynamics = Langevin([chain], [NORMAL], IMAGES, 1.0, 0.1, generator("none"))
    dynamics.quiet = True
    sgd = torch.optim.SGD([plain], lr=0.02, momentum=0.9, weight_decay=1 / IMAGES)
    dynamics.param_groups[0]["lr"] = 0.02
    for _ in range(20):
        for each, optimizer in ((chain, dynamics), (plain, sgd)):
            each.grad = each.detach() @ PRECISION
            optimizer.step()
    torch.testing.assert_close(chain, plain)


def logistic(count: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    stream = generator("logistic")
    inputs = torch.randn(count, 2, generator=stream)
    noise = torch.randn(count, generator=stream)
    return inputs, (inputs @ torch.tensor([1.5, -1.0]) + noise > 0).long()


@functools.cache
def reference() -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of p(y = 1) of each input under the posterior of `logistic`'s regression,
    whose weights and biases of two classes have the prior N(0, 1): by Metropolis, 500 chains."""
    rng, (inputs, labels) = np.random.default_rng(0), (each.numpy() for each in logistic())
    inputs = np.hstack([inputs, np.ones((len(inputs), 1))])
    sign = 2.0 * labels - 1

    def log_density(w):
        return -0.5 * (w**2).sum((1, 2)) - np.logaddexp(0, -sign * odds(w)).sum(1)

    def odds(w):
        return (w[:, 1] - w[:, 0]) @ inputs.T

    w = rng.standard_normal((500, 2, 3))
    density, kept = log_density(w), []
    for step in range(600):
        proposal = w + 0.35 * rng.standard_normal(w.shape)
        proposed = log_density(proposal)
        accepted = np.log(rng.random(len(w))) < proposed - density
        w = np.where(accepted[:, None, None], proposal, w)
        density = np.where(accepted, proposed, density)
        if step >= 200 and step % 20 == 0:
            kept.append(1 / (1 + np.exp(-odds(w))))
    probabilities = np.concatenate(kept)
    return probabilities.mean(0), probabilities.std(0)


@pytest.mark.parametrize(("kind", "rate"), [("sghmc", 0.02), ("sgld", 0.1)])
def test_a_logistic_regression_is_recovered_by_mini_batches(kind, rate):
    inputs, labels = logistic()
    images, steps = inputs[:, :, None, None], 2500
    template = MLP((2, 1, 1), 2, ())
    network = networks.build(kind, template, {"keep": 400, "burn_in": 0.1})
    stream = generator("chain", kind)
    chain = network.optimizer(
        networks.Training(lambda groups: torch.optim.SGD(groups, lr=1.0), 0.0, 40, steps, [stream])
    )
    engine = Engine(network, (2, 1, 1), Plan())
    for step in range(steps):
        chosen = torch.randperm(40, generator=stream)[:20]
        chain.param_groups[0]["lr"] = network.rate(rate, step, steps)
        engine.gradients(images[chosen], labels[chosen], network.noise(1, stream), "elbo", 0.0)
        chain.step()
        chain.zero_grad()
        network.after_step(step + 1, steps)
    network.template.eval()
    noise = network.noise(1)
    assert noise.tolist() == [[number] for number in range(400)]
    found = engine.logits(images, noise).softmax(-1)[..., 1]
    mean, deviation = reference()
    # Biased: the noise of half the data heats the chain. Within 0.04, and a quarter of the spread.
    assert found.mean(0).numpy() == pytest.approx(mean, abs=0.04)
    assert found.std(0).mean().item() == pytest.approx(deviation.mean(), rel=0.25)
    sampling = network.sampling()
    assert sampling["temperature"] == pytest.approx(1, abs=0.1)
    assert sampling["configurational_temperature"] == pytest.approx(1, abs=0.25)


def test_the_schedule_of_a_plain_chain_and_of_cycles():
    plain = Schedule(10, 0.5, 0)
    assert [plain.index(step) for step in range(1, 11)] == [None] * 5 + [1, 2, 3, 4, 5]
    assert plain.drawing == 5 and plain.factor(7) == 1.0 and not plain.explores(1)
    cycles = Schedule(10, 0.5, 3)  # of 4, 4 and 2 steps
    assert [cycles.index(step) for step in range(1, 11)] == [
        *(None, None, 1, 2),
        *(None, None, 3, 4),
        *(None, None),
    ]
    assert cycles.drawing == 4
    assert [cycles.explores(step) for step in (1, 2, 3, 4, 5)] == [True, True, False, False, True]
    assert [cycles.factor(step) for step in (1, 3, 5)] == pytest.approx([1.0, 0.5, 1.0])


def test_weights_outside_of_a_priors_support_start_within_it(capsys):
    template = MLP((2, 1, 1), 2, (3,))
    with torch.no_grad():
        template.classifier.weight[0, 0] = 5.0
    network = networks.build("sghmc", template, {"prior": "uniform", "keep": 2})
    training = networks.Training(lambda groups: None, 0.0, 40, 10, [generator("x")])
    network.optimizer(training)
    assert "1 weights lay outside of the prior's support" in capsys.readouterr().out
    assert network.row().abs().max().item() == pytest.approx(0.99)


@pytest.mark.parametrize(
    ("options", "steps", "sentence"),
    [
        ({"burn_in": 0.9}, 10, "sghmc.burn_in: 0.9 leaves 1 of 10 steps"),
        ({"cycles": 20}, 10, "sghmc.cycles: 20 is more than the 10 steps"),
    ],
)
def test_too_short_a_chain_is_refused(options, steps, sentence):
    network = networks.build("sghmc", MLP((2, 1, 1), 2, ()), options)
    with pytest.raises(InputError, match=sentence):
        network.optimizer(networks.Training(lambda groups: None, 0.0, 40, steps, [generator("x")]))
