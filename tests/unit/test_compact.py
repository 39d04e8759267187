"""Compact networks: the same predictions with fewer units, in float64 and through files."""

import copy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import synthetic
import torch
from families import FAMILIES, WIDE

from bayesian_lottery import models
from bayesian_lottery.data import decoded
from bayesian_lottery.errors import InputError
from bayesian_lottery.exports import compact, export
from bayesian_lottery.files import read_tensors, write_tensors
from bayesian_lottery.inference import bayesian, networks
from bayesian_lottery.randomness import generator
from bayesian_lottery.study import Node
from bayesian_lottery.tickets import masks

pytestmark = pytest.mark.slow

SHAPES = FAMILIES | WIDE | {"vgg5_slim": (2, 8, 8), "resnet14_slim": (1, 8, 8)}
OPTIONS = {"initial_std": 0.3, "prior_std": 0.7}  # a large sigma, so that noise matters
SAMPLES = 3
SCRIPT = Path(__file__).parents[2] / "scripts/export.py"
family = pytest.mark.parametrize("model", SHAPES)
either = pytest.mark.parametrize("inference", ["deterministic", "bayesian"])


def template_of(model):
    """A model in float64 whose norms and running statistics are not their defaults."""
    template = models.build(model, SHAPES[model], 10, seed=1).double()
    for name, tensor in template.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.3, 2, generator=generator(name))
        elif tensor.is_floating_point() and tensor.dim() == 1:
            tensor += 0.3 * torch.randn(tensor.shape, generator=generator(name))
    return template


def network_of(model, inference, mask, template=None):
    template = copy.deepcopy(template) if template else template_of(model)
    network = networks.build(inference, template, OPTIONS)
    network.load(network.state(), mask)
    network.template.eval()
    return network


def dense(model):
    return masks.ones(models.prunable(template_of(model)))


def channels(model):
    """Half of the weights, without a third of each layer's rows and a third of its columns."""
    stream = generator("channels")
    mask = dense(model)
    for layer in mask.values():
        layer &= torch.rand(layer.shape, generator=stream) < 0.5
        layer[torch.rand(layer.shape[0], generator=stream) < 0.3] = False
        layer[:, torch.rand(layer.shape[1], generator=stream) < 0.3] = False
    return mask


def sparse(model, fraction=0.98):
    weights = template_of(model).state_dict()
    mask = dense(model)
    return masks.prune(mask, {name: weights[name].abs() for name in mask}, fraction)


def none(model):
    return {name: torch.zeros_like(layer) for name, layer in dense(model).items()}


def smaller(network, inference, multiple=1):
    """The compact network, and what was kept."""
    state, kept = compact.cut(network.template, network.state(), multiple)
    template = copy.deepcopy(network.template)
    compact.narrow(template, compact.widths_of(template, state))
    return compact.network_of("state", template, state, inference, OPTIONS), kept


def images_for(model):
    stream = generator("images")
    return torch.randn(6, *SHAPES[model], dtype=torch.float64, generator=stream)


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


def node_of(model, inference):
    """The coordinates of a node at level 3."""
    scorer = {"deterministic": "magnitude", "bayesian": "snr"}[inference]
    return Node("made_up", model, inference, "short", 0, scorer, "imp", 3)


def note(tmp_path, node, **changes):
    """Write a node's metrics; its folder."""
    settings = {**node.coordinates(), "curriculum": {"epochs": 2, "batch_size": 4}, **changes}
    settings["evaluation"] = {"every": 1, "passes": 1, "samples": 1}
    return synthetic.write(tmp_path, [synthetic.of(node, settings)])[0].parent


def folder_of(tmp_path, model, inference, mask):
    """A node's folder beside its data set, as a training job leaves them, and the network in
    float32."""
    stream = generator("data")
    pixels = torch.randint(256, (20, *SHAPES[model]), dtype=torch.uint8, generator=stream)
    split = decoded.Split(pixels, torch.arange(20) % 10)
    statistics = decoded.channel_statistics(pixels)
    images = decoded.Images("made_up", tuple("abcdefghij"), split, split, *statistics)
    decoded.save(tmp_path / "data", images, "random")
    network = network_of(model, inference, mask, template_of(model).float())
    options = {"bayesian": {**OPTIONS, "samples": 1}} if inference == "bayesian" else {}
    folder = note(tmp_path, node_of(model, inference), **options)
    write_tensors(folder / "weights.safetensors", network.state())
    return folder, network


# What is cut


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


# Files


@either
@family
def test_the_file_gives_back_the_same_predictions(tmp_path, model, inference):
    folder, network = folder_of(tmp_path, model, inference, channels(model))
    output = tmp_path / "compact.safetensors"
    written = export.export(
        folder, tmp_path / "data", output, multiple=1, images=8, samples=SAMPLES
    )
    small, metadata = compact.load(output)
    assert metadata["units"][1] < metadata["units"][0] and metadata["check"]["images"] == 8
    assert metadata["parameters"][1] == sum(p.numel() for p in small.template.parameters())
    assert metadata["widths"] == written["widths"] and metadata["node"]["level"] == 3

    images = images_for(model).float()
    noise = network.noise(SAMPLES, generator("noise"))
    expected = network.logits(images, network.weights(), noise)
    _, kept = compact.cut(network.template, network.state())
    noise = compact.noise_for(network, kept, noise)
    found = small.logits(images, small.weights(), noise)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(found.argmax(-1), expected.argmax(-1))


def test_nothing_is_written_if_predictions_differ(tmp_path, monkeypatch):
    folder, _ = folder_of(tmp_path, "lenet_100_50", "bayesian", channels("lenet_100_50"))
    right = compact.cut

    def wrong(template, state, multiple):
        state, kept = right(template, state, multiple)
        return {**state, "classifier._bias_mean": state["classifier._bias_mean"] + 1e-3}, kept

    monkeypatch.setattr(compact, "cut", wrong)
    with pytest.raises(InputError, match=r"differ.*nothing was written"):
        export.export(folder, tmp_path / "data", tmp_path / "compact")
    assert not (tmp_path / "compact").exists()


def test_files_that_do_not_fit_are_refused(tmp_path):
    def export_it():
        export.export(folder, tmp_path / "data", tmp_path / "compact")

    folder, network = folder_of(tmp_path, "vgg5_slim", "deterministic", dense("vgg5_slim"))
    path = folder / "weights.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    with pytest.raises(InputError, match="truncated"):
        export_it()
    write_tensors(path, {**network.state(), "features.0.weight": torch.zeros(8, 2, 3, 1)})
    with pytest.raises(InputError, match=r"\(8, 2, 3, 1\)"):
        export_it()
    path.unlink()
    with pytest.raises(InputError, match="no such file"):
        export_it()
    path.write_bytes(whole)
    (folder / "metrics.json").write_text("{}")
    with pytest.raises(InputError, match="'node' is missing"):
        export_it()
    note(tmp_path, node_of("vgg5_slim", "deterministic"), dataset="digits")
    with pytest.raises(InputError, match=r"settings\.dataset"):
        export_it()
    elsewhere = replace(node_of("vgg5_slim", "deterministic"), dataset="digits")
    folder = note(tmp_path, elsewhere)
    with pytest.raises(InputError, match="digits, not on made_up"):
        export_it()
    other = node_of("vit_nano", "deterministic")
    folder = note(tmp_path, other)
    (folder / "weights.safetensors").write_bytes(whole)
    with pytest.raises(InputError, match=r"weights\.safetensors: .*absent"):
        export_it()
    assert not (tmp_path / "compact").exists()


def test_loading_refuses_what_is_no_compact_network(tmp_path):
    mask = channels("lenet_100_50")
    folder, _ = folder_of(tmp_path, "lenet_100_50", "deterministic", mask)
    output = tmp_path / "compact"
    with pytest.raises(InputError, match="not a compact network"):
        compact.load(folder / "weights.safetensors")
    export.export(folder, tmp_path / "data", output)
    state, metadata = read_tensors(output)
    for change, message in (
        ({"model": "lenet_9"}, "not known"),
        ({"model": "vit_nano"}, "not a compact network"),
        ({"widths": {"classifier": [10, 999]}}, "not a compact network"),
        ({"widths": {"classifier": [10, 49]}}, "the network's has"),
    ):
        write_tensors(output, state, {**metadata, **change})
        with pytest.raises(InputError, match=message):
            compact.load(output)


def test_the_script_ends_with_one_sentence(tmp_path):
    arguments = [tmp_path, "--data", tmp_path / "absent", "--output", tmp_path / "compact"]
    ended = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr == f"error: {tmp_path / 'absent'}: no such file.\n"
