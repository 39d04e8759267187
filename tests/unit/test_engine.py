"""The engine: however a step is divided, it is the same step."""

import pytest
import torch
from families import FAMILIES
from masked_families import BATCH, batch, masked

from bayesian_lottery import models
from bayesian_lottery.errors import InputError
from bayesian_lottery.inference import networks
from bayesian_lottery.randomness import generator
from bayesian_lottery.training import engine
from bayesian_lottery.training.engine import Engine, Plan

pytestmark = pytest.mark.slow

SAMPLES = 5
OPTIONS = {"initial_std": 0.3, "prior_std": 0.7}
family = pytest.mark.parametrize("model", FAMILIES)


def network_of(model, inference="bayesian", **options):
    return masked(model, inference, {**OPTIONS, **options})


def step(model, plan, likelihood):
    """What a step returns, the gradients it leaves, and the buffers."""
    network = network_of(model)
    noise = network.noise(SAMPLES, generator("noise"))
    computed = Engine(network, FAMILIES[model], plan).gradients(
        *batch(model), noise, likelihood, heat=1e-3
    )
    tensors = network.tensors()
    gradients = {n: t.grad for n, t in tensors.items() if t.requires_grad}
    buffers = {n: t for n, t in tensors.items() if not t.requires_grad and t.ndim}
    counts = {n: int(t) for n, t in tensors.items() if "num_batches" in n}
    return (computed, gradients, buffers), counts


@pytest.mark.parametrize("likelihood", ["categorical", "elbo"])
@pytest.mark.parametrize("held", [None, 1, 3])
@pytest.mark.parametrize("size", [1, 2, 4])
@family
def test_passes_of_any_size_make_the_same_step(model, size, held, likelihood):
    expected, counts = step(model, Plan(samples_per_pass=SAMPLES), likelihood)
    found, counts_here = step(model, Plan(size, held), likelihood)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-11)
    assert counts_here == counts
    assert set(counts.values()) <= {1}


@family
def test_predictions_do_not_depend_on_the_passes(model):
    network = network_of(model)
    network.template.eval()
    noise = network.noise(SAMPLES, generator("noise"))
    images, _ = batch(model)
    logits = [
        Engine(network, FAMILIES[model], Plan(size)).logits(images, noise)
        for size in (1, 2, SAMPLES)
    ]
    for other in logits[1:]:
        torch.testing.assert_close(other, logits[0], rtol=1e-9, atol=1e-11)
    assert logits[0].shape == (SAMPLES, BATCH, 10)


@pytest.mark.parametrize("model", ["resnet8_slim", "vit_nano"])
def test_the_returned_loss_has_the_gradients_that_are_left(model):
    """Against finite differences along the gradient, through mean, sigma and norms."""
    network = network_of(model)
    noise, (images, labels) = network.noise(SAMPLES, generator("noise")), batch(model)
    for norm in network.template.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.momentum = 0.0
    machine = Engine(network, FAMILIES[model], Plan(1, samples_held=2))

    def loss():
        _, nll, divergence = machine.gradients(images, labels, noise, "categorical", 0.01)
        return (nll + 0.01 * divergence).squeeze()

    loss()
    parameters = [t for t in network.tensors().values() if t.requires_grad]
    direction = [p.grad.clone() for p in parameters]
    slope = sum(g.square().sum() for g in direction)
    small, values = 1e-6 / slope, []
    for sign in (1, -2):
        with torch.no_grad():
            for p, g in zip(parameters, direction, strict=True):
                p += sign * small * g
        values.append(loss())
    torch.testing.assert_close((values[0] - values[1]) / (2 * small), slope, rtol=1e-5, atol=0)


def test_bfloat16_leaves_master_weights_and_losses_in_float32():
    template = models.build("resnet8_slim", FAMILIES["resnet8_slim"], 10, seed=1)
    network = networks.build("bayesian", template, OPTIONS)
    images, labels = batch("resnet8_slim")
    noise = network.noise(SAMPLES, generator("noise"))
    results = []
    for precision in ("float32", "bfloat16"):
        machine = Engine(network, FAMILIES["resnet8_slim"], Plan(1, precision=precision))
        results.append(machine.gradients(images.float(), labels, noise, "categorical", 1e-3))
        assert all(tensor.dtype == torch.float32 for tensor in results[-1])
        trained = [tensor for tensor in network.tensors().values() if tensor.requires_grad]
        assert all(tensor.grad.dtype == torch.float32 for tensor in trained)
    assert not torch.equal(results[0][0], results[1][0])
    torch.testing.assert_close(results[1], results[0], rtol=0.05, atol=0.1)


def test_unknown_precisions_are_refused():
    with pytest.raises(InputError, match=r"compute\.precision: 'float16' is not known"):
        Plan(precision="float16")


def test_antithetic_samples_come_in_pairs_and_are_unbiased():
    network = network_of("lenet_100_50", antithetic=True)
    noise = network.noise(4, generator("noise"))
    assert torch.equal(noise[:2], -noise[2:]) and not torch.equal(noise[0], noise[1])
    assert len(network.noise(3, generator("noise"))) == 3

    # The gradient of the plain ELBO is an average over samples, so its mean is the same.
    independent = network_of("lenet_100_50")
    images, labels = batch("lenet_100_50")
    rows = {}
    for name, owner in (("independent", independent), ("antithetic", network)):
        machine, stream = Engine(owner, FAMILIES["lenet_100_50"], Plan()), generator(name)
        found = []
        for _ in range(300):
            machine.gradients(images, labels, owner.noise(4, stream), "elbo", 0.0)
            gradients = [owner.survivors.named(t.grad) for t in (owner.mean, owner.log_std)]
            found.append(torch.cat([g["classifier.weight"].flatten() for g in gradients]))
            owner.mean.grad = owner.log_std.grad = None
        rows[name] = torch.stack(found)
    difference = rows["antithetic"].mean(0) - rows["independent"].mean(0)
    error = sum(values.var(0) / len(values) for values in rows.values()).sqrt()
    assert (difference / error).square().mean() < 1.3  # 1 if their means are equal


def test_multiply_adds_are_those_worked_by_hand():
    template = models.build("lenet_100_50", (1, 8, 8), 10)
    assert engine.multiply_adds(template, (1, 8, 8)) == 64 * 100 + 100 * 50 + 50 * 10
    template = models.build("resnet20", (3, 32, 32), 10)
    stem, head = 1024 * 27 * 16, 640
    first = 6 * 1024 * 9 * 16 * 16
    second = 256 * (9 * 16 * 32 + 5 * 9 * 32 * 32 + 16 * 32)
    third = 64 * (9 * 32 * 64 + 5 * 9 * 64 * 64 + 32 * 64)
    expected = stem + first + second + third + head
    assert engine.multiply_adds(template, (3, 32, 32)) == expected


def test_multiply_adds_of_the_smallest_images_whose_last_maps_are_single_pixels():
    template = models.build("resnet18", (1, 8, 8), 10)
    assert engine.multiply_adds(template, (1, 8, 8)) > 0 and template.training


def test_large_networks_loop_on_a_cpu_and_small_ones_do_not():
    sizes = {}
    for model, shape in (("lenet_100_50", (1, 8, 8)), ("resnet20", (3, 32, 32))):
        network = networks.build("bayesian", models.build(model, shape, 10), OPTIONS)
        sizes[model] = Engine(network, shape, Plan()).samples_per_pass(128, 10)
        assert Engine(network, shape, Plan(3)).samples_per_pass(128, 10) == 3
    assert sizes == {"lenet_100_50": 10, "resnet20": 1}


def test_data_term_is_cross_entropy_for_one_sample_and_jensen_orders_the_two():
    stream = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 7, 5, generator=stream)
    labels = torch.randint(5, (7,), generator=stream)
    chosen = engine.log_likelihoods(logits, labels)
    expected = torch.nn.functional.cross_entropy(logits[0], labels)
    for likelihood in ("categorical", "elbo"):
        torch.testing.assert_close(engine.data_term(chosen[:1], likelihood), expected)
    categorical = engine.data_term(chosen, "categorical")
    averaged = torch.nn.functional.nll_loss(logits.softmax(-1).mean(0).log(), labels)
    torch.testing.assert_close(categorical, averaged)
    assert categorical < engine.data_term(chosen, "elbo")
