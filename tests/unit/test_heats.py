"""One factor on the KL a layer."""

import pytest
import torch
from families import FAMILIES
from test_networks import OPTIONS, batch, posteriors, random_mask, template, torch_blue_of
from torch_blue.vi import AnalyticalKullbackLeiblerLoss
from torch_blue.vi.distributions import Categorical

from bayesian_lottery import models
from bayesian_lottery.errors import InputError
from bayesian_lottery.inference import networks, packs
from bayesian_lottery.randomness import generator
from bayesian_lottery.tickets import masks
from bayesian_lottery.training.engine import Engine, Plan
from bayesian_lottery.training.steps import leave_gradients

MODELS = ["lenet_100_50", "resnet8_slim", "vit_nano"]


def network_of(model, mask=None, **options):
    network = networks.build("bayesian", template(model), {**OPTIONS, **options})
    network.load(network.state(), mask or masks.ones(models.prunable(network.template)))
    return network


def layers_of(model):
    return models.layer_names(model, (1, 8, 8))


@pytest.mark.parametrize("model", MODELS)
def test_each_layers_kl_is_that_of_torch_blues_layer_and_all_add_up_to_the_whole(model):
    layered, whole = network_of(model, heats={}), network_of(model)
    module = torch_blue_of(model, layered)
    ((*found,),) = layered.divergence(layered.weights())
    for name, kl in zip(layers_of(model), found, strict=True):
        loss = AnalyticalKullbackLeiblerLoss(module.get_submodule(name), Categorical(), 1)
        torch.testing.assert_close(kl, loss.prior_matching())
    torch.testing.assert_close(sum(found), whole.divergence(whole.weights())[0])


def test_a_layers_kl_counts_its_survivors_and_biases_only():
    model, mask = "lenet_100_50", random_mask("lenet_100_50", empty=["hidden.1.weight"])
    network = network_of(model, mask, heats={"hidden.0": 1.0})
    expected = dict.fromkeys(layers_of(model), 0.0)
    for name, (mean, log_std) in posteriors(torch_blue_of(model, network)).items():
        normal = torch.distributions.Normal(mean, log_std.exp(), validate_args=False)
        prior = torch.distributions.Normal(torch.zeros_like(mean), OPTIONS["prior_std"])
        terms = torch.distributions.kl_divergence(normal, prior)
        own = terms[mask[name]] if name in mask else terms
        expected[name.rpartition(".")[0]] += own.sum()
    (found,) = network.divergence(network.weights())
    torch.testing.assert_close(found, torch.stack([*expected.values()]))


def step(network, optimizer, engine, images, labels, streams):
    """What a step of the loop returns."""
    noise = network.noise(2, *streams)
    totals = leave_gradients(engine, images, labels, noise, network.factors / 50)
    optimizer.step()
    optimizer.zero_grad()
    return totals


def steps(network, count=3, rate=0.01, first=0):
    """What steps return, by Adam; the noise is that of networks from the first number on."""
    images, labels = batch()
    optimizer = torch.optim.Adam(network.parameter_groups(0.0), lr=rate)
    engine = Engine(network, FAMILIES["lenet_100_50"], Plan())
    images, labels = (t.repeat(network.members, *[1] * (t.dim() - 1)) for t in (images, labels))
    streams = [generator("noise", first + member) for member in range(network.members)]
    return [step(network, optimizer, engine, images, labels, streams) for _ in range(count)]


def test_equal_factors_train_as_one_factor_does():
    heats = dict.fromkeys(layers_of("lenet_100_50"), 0.1)
    layered, whole = (network_of("lenet_100_50", heat=0.1, heats=own) for own in (heats, None))
    torch.testing.assert_close(steps(layered), steps(whole), rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(layered.state(), whole.state(), rtol=1e-9, atol=1e-11)


def test_a_layer_without_kl_keeps_its_sigma_and_a_hot_one_comes_to_the_prior():
    network = network_of("lenet_100_50", heat=0.0, heats={"classifier": 1e6})
    before = network.moments()["std"]["hidden.0.weight"]
    steps(network, 150, rate=0.03)
    after = network.survivors.named(network.log_std.detach().exp())
    assert (after["classifier.weight"] - OPTIONS["prior_std"]).abs().max() < 0.05
    assert (after["hidden.0.weight"] / before).log().mean() < 0.5


def test_networks_side_by_side_keep_their_own_factors():
    def members():
        found = []
        for member, factor in enumerate((0.0, 3.0)):
            network = network_of("lenet_100_50", random_mask("lenet_100_50", 0.3 + member / 5))
            network.heat_layers({"hidden.0": factor, "classifier": 1.0 + factor})
            found.append(network)
        return found

    together = members()
    pack = packs.pack(together)
    found = steps(pack)
    for member, network in enumerate(members()):
        alone = steps(network, first=member)
        for own, its in zip(found, alone, strict=True):
            torch.testing.assert_close(own[:, [member]], its, rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(together[member].state(), network.state(), rtol=1e-8, atol=1e-10)


def test_an_unknown_layer_is_refused():
    with pytest.raises(InputError, match=r"bayesian\.heats, a layer: 'first' is not known"):
        network_of("lenet_100_50", heats={"first": 1.0})
