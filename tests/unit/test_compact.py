"""Compact networks: the same predictions with fewer units, in float64."""

import copy

import pytest
import torch
from pruned_networks import (
    OPTIONS,
    SAMPLES,
    channels,
    dense,
    either,
    family,
    images_for,
    network_of,
    none,
    sparse,
    template_of,
)

from bayesian_lottery.exports import compact
from bayesian_lottery.inference import bayesian
from bayesian_lottery.randomness import generator

pytestmark = pytest.mark.slow


def smaller(network, inference, multiple=1):
    """The compact network, and what was kept."""
    state, kept = compact.cut(network.template, network.state(), multiple)
    template = copy.deepcopy(network.template)
    compact.narrow(template, compact.widths_of(template, state))
    return compact.network_of("state", template, state, inference, OPTIONS), kept


def units_left(model, inference, mask, template=None, multiple=1):
    """How many units each group keeps, after checking that predictions are unchanged."""
    network = network_of(model, inference, mask, template)
    small, kept = smaller(network, inference, multiple)
    images, noise = images_for(model), network.noise(SAMPLES, generator("noise"))
    expected = network.logits(images, network.weights(), noise)
    noise = compact.noise_for(network, kept, noise)
    found = small.logits(images, small.weights(), noise)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)
    return [len(units) for units in kept]


@pytest.mark.parametrize("masked", [channels, sparse, none])
@either
@family
def test_predictions_are_unchanged_for_all_samples(model, inference, masked):
    mask = masked(model)
    before = units_left(model, inference, dense(model))
    after = units_left(model, inference, mask)
    assert sum(after) < sum(before) and min(after) >= 1


@either
@family
def test_widths_are_multiples_if_asked_for(model, inference):
    before = units_left(model, inference, dense(model))
    smallest = units_left(model, inference, channels(model))
    after = units_left(model, inference, channels(model), multiple=4)
    assert all(a % 4 == 0 or a == b or b == 2 for a, b in zip(after, before, strict=True))
    assert sum(smallest) <= sum(after) < sum(before)


@either
@family
def test_nothing_to_cut_changes_nothing(model, inference):
    network = network_of(model, inference, dense(model))
    state, kept = compact.cut(network.template, network.state())
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state().items())
    assert sum(map(len, kept)) == compact.units_in(network.template)


@either
def test_cutting_goes_on_until_nothing_changes(inference):
    mask = dense("lenet5")
    mask["fc2.weight"][:, 7] = False  # nothing reads fc1's 7, which alone reads conv2's 3,
    others = torch.arange(120) != 7
    mask["fc1.weight"].view(120, 16, 25)[others, 3] = False
    mask["conv2.weight"][torch.arange(16) != 3, 2] = False  # which alone reads conv1's 2
    assert units_left("lenet5", inference, mask) == [5, 15, 119, 84]


@pytest.mark.parametrize("inference, left", [("deterministic", [99, 49]), ("bayesian", [100, 50])])
def test_a_neuron_with_a_bias_alone_is_constant_unless_the_bias_is_random(inference, left):
    mask = dense("lenet_100_50")
    mask["hidden.0.weight"][4] = False
    mask["hidden.1.weight"][5, torch.arange(100) != 4] = False  # reads the constant alone
    template = template_of("lenet_100_50")
    template.hidden[0].bias.data[4] = 1.0  # passes the ReLU
    assert units_left("lenet_100_50", inference, mask, template) == left


@either
@pytest.mark.parametrize("shift, left", [(-1.0, 7), (1.0, 8)])
def test_a_constant_channel_before_padding_goes_only_if_it_is_zero(inference, shift, left):
    mask, template = dense("resnet8_slim"), template_of("resnet8_slim")
    mask["layer1.0.conv1.weight"][2] = False
    template.layer1[0].bn1.running_mean[2] = 0.0
    template.layer1[0].bn1.bias.data[2] = shift
    assert units_left("resnet8_slim", inference, mask, template)[0] == left


def test_a_channel_with_a_random_bias_before_its_norm_stays():
    mask, template = dense("vgg5_slim"), template_of("vgg5_slim")
    mask["features.0.weight"][2] = False
    template.features[1].bias.data[2] = -9.0
    assert units_left("vgg5_slim", "deterministic", mask, template)[0] == 7
    assert units_left("vgg5_slim", "bayesian", mask, template)[0] == 8


@either
def test_shared_channels_go_only_if_every_block_agrees(inference):
    mask = dense("resnet14_slim")
    readers = ["layer1.0.conv1", "layer1.1.conv1", "layer2.0.conv1", "layer2.0.shortcut.0"]
    for reader in readers:
        mask[f"{reader}.weight"][:, 5] = False
    assert sum(units_left("resnet14_slim", inference, mask)) == 8 * 3 + 16 * 3 + 32 * 3 - 1
    for reader in readers:
        one = {name: layer.clone() for name, layer in mask.items()}
        one[f"{reader}.weight"][3, 5] = True
        assert sum(units_left("resnet14_slim", inference, one)) == 8 * 3 + 16 * 3 + 32 * 3


@either
def test_shared_channels_that_are_always_zero_go_and_constant_ones_stay(inference):
    mask, template = dense("resnet14_slim"), template_of("resnet14_slim")
    writers = ["layer3.0.conv2", "layer3.0.shortcut.0", "layer3.1.conv2"]
    norms = ["layer3.0.bn2", "layer3.0.shortcut.1", "layer3.1.bn2"]
    for writer, norm in zip(writers, norms, strict=True):
        mask[f"{writer}.weight"][9] = False
        template.get_submodule(norm).running_mean[9] = 0.0
        template.get_submodule(norm).bias.data[9] = -0.1
    assert units_left("resnet14_slim", inference, mask, template)[-1] == 31
    template.layer3[1].bn2.bias.data[9] = 0.1
    assert units_left("resnet14_slim", inference, mask, template)[-1] == 32


@either
def test_an_attention_head_goes_if_the_projection_does_not_read_it(inference):
    mask = dense("vit_nano")
    mask["blocks.1.attention.projection.weight"][:, 16:] = False
    assert units_left("vit_nano", inference, mask) == [2, 128, 1, 128]


def test_the_noise_of_what_is_kept_is_its_own():
    network = network_of("lenet_100_50", "bayesian", channels("lenet_100_50"))
    small, kept = smaller(network, "bayesian")
    noise = network.noise(SAMPLES, generator("noise"))
    whole = network.survivors.weights(bayesian.sample(*network.weights()[:2], noise))
    noise = compact.noise_for(network, kept, noise)
    part = small.survivors.weights(bayesian.sample(*small.weights()[:2], noise))
    rows = whole["hidden.1.weight"].view(SAMPLES, 50, 100)[:, kept[1]][:, :, kept[0]]
    assert torch.equal(part["hidden.1.weight"].view_as(rows), rows)
