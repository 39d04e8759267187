"""Networks in training against torch-blue's own forward pass, losses and gradients."""

import copy

import pytest
import torch
from torch_blue.vi import AnalyticalKullbackLeiblerLoss, KullbackLeiblerLoss
from torch_blue.vi.distributions import Categorical, MeanFieldNormal

from bayesian_lottery import models
from bayesian_lottery.errors import InputError
from bayesian_lottery.inference import bayesian, networks
from bayesian_lottery.models.layers import BatchNorm2d
from bayesian_lottery.randomness import generator
from bayesian_lottery.tickets import masks
from bayesian_lottery.training.engine import data_term, log_likelihoods

MODELS = ["lenet_100_50", "resnet8_slim", "vit_nano"]
SAMPLES, BATCH = 3, 6
OPTIONS = {"initial_std": 0.3, "prior_std": 0.7}  # a large sigma, so that noise matters


def template(model):
    return models.build(model, (1, 8, 8), 10, seed=1).double()


def random_mask(model, density=0.6, empty=()):
    stream = generator("mask")
    return {
        name: torch.rand(shape, generator=stream) < (0 if name in empty else density)
        for name, shape in models.prunable(template(model)).items()
    }


def bayesian_network(model, mask=None):
    network = networks.build("bayesian", template(model), OPTIONS)
    network.load(network.state(), mask or masks.ones(models.prunable(network.template)))
    return network


def batch():
    stream = generator("images")
    images = torch.randn(BATCH, 1, 8, 8, dtype=torch.float64, generator=stream)
    return images, torch.randint(10, (BATCH,), generator=stream)


def our_logits(network, noise, images):
    return network.logits(images, network.weights(), noise)


def torch_blue_logits(network, noise, images, monkeypatch):
    """torch-blue's own forward, a sample at a time, with each variable's noise handed in."""
    module = bayesian.convert(template_of(network), **OPTIONS).double()
    module.load_state_dict(network.state())
    module.train(network.template.training)
    if module.training:  # torch-blue cannot vmap a norm that updates running statistics
        for layer in module.modules():
            if isinstance(layer, BatchNorm2d):
                layer.running_mean = layer.running_var = None
    posteriors = bayesian.posteriors(module)
    parts = noise.split([mean.numel() for mean, _ in posteriors.values()], dim=1)
    draws = {
        id(mean): part.reshape(SAMPLES, *mean.shape)
        for (mean, _), part in zip(posteriors.values(), parts, strict=True)
    }
    outputs, log_probs = [], []
    for sample in range(SAMPLES):
        monkeypatch.setattr(
            MeanFieldNormal,
            "_normal_sample",
            staticmethod(lambda mean, std, s=sample: mean + std * draws[id(mean)][s]),
        )
        output = module(images, samples=1)
        outputs.append(output.as_subclass(torch.Tensor)[0])
        log_probs.append(output.log_probs)
    monkeypatch.undo()
    return module, torch.stack(outputs), torch.stack(log_probs).mean(0)


def template_of(network):
    return copy.deepcopy(network.template)


def noise_for(network):
    return network.noise(SAMPLES, generator("noise"))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_outputs_losses_and_gradients_are_torch_blues(model, masked, training, monkeypatch):
    network = bayesian_network(model, random_mask(model) if masked else None)
    network.template.train(training)
    noise, (images, labels) = noise_for(network), batch()
    ours = our_logits(network, noise, images)
    module, theirs, _ = torch_blue_logits(network, noise, images, monkeypatch)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)

    size = 1000
    loss = KullbackLeiblerLoss(Categorical(eps=0.0), dataset_size=size, heat=0.0)
    theirs.log_probs = torch.zeros(2, dtype=torch.float64)
    their_loss = loss(theirs, labels) / size
    our_loss = data_term(log_likelihoods(ours, labels), "categorical")
    torch.testing.assert_close(our_loss, their_loss, rtol=1e-9, atol=1e-10)

    our_loss.backward()
    their_loss.backward()
    reference = dict(module.named_parameters())
    for name, parameter in network.module.named_parameters():
        theirs_here = (
            torch.zeros_like(parameter) if reference[name].grad is None else reference[name].grad
        )
        layer, _, variable = name.rpartition(".")
        mask = network.mask.get(f"{layer}.weight") if "weight_" in variable else None
        if mask is not None:
            theirs_here = torch.where(mask, theirs_here, 0)
            assert (parameter.grad[~mask] == 0).all()
        torch.testing.assert_close(parameter.grad, theirs_here, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("model", MODELS)
def test_divergence_is_torch_blues_closed_form_and_its_sampled_one_on_average(model):
    network = bayesian_network(model)
    loss = AnalyticalKullbackLeiblerLoss(network.module, Categorical(), dataset_size=1)
    torch.testing.assert_close(network.divergence(network.weights()), loss.prior_matching())
    network.module.return_log_probs = True
    output = network.module.eval()(torch.zeros(1, 1, 8, 8, dtype=torch.float64), samples=20)
    log_prior, log_posterior = output.log_probs.mean(0)
    torch.testing.assert_close(
        log_posterior - log_prior, network.divergence(network.weights()), rtol=0.05, atol=0
    )


def test_divergence_counts_survivors_and_biases_only():
    mask = random_mask("lenet_100_50")
    network = bayesian_network("lenet_100_50", mask)
    expected = 0.0
    for name, (mean, log_std) in network.posteriors.items():
        normal = torch.distributions.Normal(mean, log_std.exp())
        prior = torch.distributions.Normal(torch.zeros_like(mean), OPTIONS["prior_std"])
        terms = torch.distributions.kl_divergence(normal, prior)
        expected += terms[mask[name]].sum() if name in mask else terms.sum()
    torch.testing.assert_close(network.divergence(network.weights()), expected)


@pytest.mark.parametrize("model", MODELS)
def test_without_sigma_it_is_the_deterministic_network(model):
    mask = random_mask(model)
    plain = networks.build("deterministic", template(model))
    plain.load(plain.state(), mask)
    network = bayesian_network(model, mask)
    with torch.no_grad():
        for _, log_std in network.posteriors.values():
            log_std.fill_(-torch.inf)
    images, _ = batch()
    logits = our_logits(network, noise_for(network), images)
    expected = our_logits(plain, plain.noise(1, None), images)
    torch.testing.assert_close(logits, expected.expand_as(logits), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("model", MODELS)
def test_means_start_at_the_deterministic_weights_and_sigma_at_the_kaiming_scale(model):
    plain = template(model)
    network = networks.build("bayesian", plain, {"initial_std": 0.01, "prior_std": 1.0})
    weights = plain.state_dict()
    for name, (mean, log_std) in network.posteriors.items():
        assert torch.equal(mean, weights[name])
        fan_in = weights[name.replace("bias", "weight")][0].numel()
        expected = torch.full_like(mean, 0.01 / fan_in**0.5)
        torch.testing.assert_close(log_std.exp(), expected, rtol=1e-3, atol=0)
    others = bayesian.unsampled(network.module)
    assert all(torch.equal(value, weights[name]) for name, value in others.items())


@pytest.mark.parametrize("model", MODELS)
def test_a_layer_without_survivors_is_silent_and_finite(model):
    empty = next(iter(models.prunable(template(model))))
    network = bayesian_network(model, random_mask(model, empty=[empty]))
    images, labels = batch()
    logits = our_logits(network, noise_for(network), images)
    loss = data_term(log_likelihoods(logits, labels), "elbo")
    (loss + network.divergence(network.weights())).backward()
    assert loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.module.parameters())
    mean, log_std = network.posteriors[empty]
    assert (mean.grad == 0).all() and (log_std.grad == 0).all()


@pytest.mark.parametrize("inference", ["deterministic", "bayesian"])
def test_training_leaves_pruned_weights_at_zero_and_state_round_trips(inference):
    model, mask = "resnet8_slim", random_mask("resnet8_slim")
    network = networks.build(inference, template(model), OPTIONS)
    network.load(network.state(), mask)
    optimizer = torch.optim.Adam(network.parameter_groups(0.1), lr=0.1)
    images, labels = batch()
    for _ in range(3):
        logits = our_logits(network, noise_for(network), images)
        (
            data_term(log_likelihoods(logits, labels), "categorical")
            + 1e-3 * network.divergence(network.weights())
        ).backward()
        optimizer.step()
        optimizer.zero_grad()
    state = network.state()
    for name, layer in mask.items():
        if inference == "bayesian":
            mean, log_std = bayesian.parameter_names(name)
            assert (state[mean][~layer] == 0).all()
            assert (state[log_std][~layer] == -torch.inf).all()
            assert (state[log_std][layer].isfinite()).all()
        else:
            assert (state[name][~layer] == 0).all() and (state[name][layer] != 0).any()
    again = networks.build(inference, template(model), OPTIONS)
    again.load(state, mask)
    assert all(torch.equal(value, state[name]) for name, value in again.state().items())


def test_log_sigma_has_no_weight_decay():
    network = bayesian_network("lenet_100_50")
    groups = network.parameter_groups(0.5)
    log_stds = {id(log_std) for _, log_std in network.posteriors.values()}
    assert {id(p) for p in groups[1]["params"]} == log_stds and groups[1]["weight_decay"] == 0
    assert groups[0]["weight_decay"] == 0.5
    assert sum(len(g["params"]) for g in groups) == len(list(network.module.parameters()))


def test_masked_weights_do_not_matter_whatever_their_value():
    mask = random_mask("lenet_100_50")
    network = networks.build("deterministic", template("lenet_100_50"))
    network.load(network.state(), mask)
    images, _ = batch()
    before = our_logits(network, network.noise(1, None), images)
    with torch.no_grad():
        for name, layer in mask.items():
            network.module.get_parameter(name)[~layer] = 1e6
    assert torch.equal(our_logits(network, network.noise(1, None), images), before)


def test_states_that_do_not_fit_are_refused_with_both_shapes():
    small, large = template("resnet8_slim"), template("lenet_100_50")
    network = networks.build("deterministic", small)
    with pytest.raises(InputError, match="absent"):
        network.load(large.state_dict(), network.mask)
    broken = network.state()
    broken[next(iter(network.mask))][...] = torch.nan
    with pytest.raises(InputError, match="NaN"):
        network.load(broken, network.mask)
