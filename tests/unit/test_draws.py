"""What networks that predict by kept draws have in common; SWAG by hand; whole nodes of each."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_study import SmallStudy, interrupted

from bayesian_lottery import models, study
from bayesian_lottery.data import decoded
from bayesian_lottery.errors import InputError
from bayesian_lottery.exports.export import export
from bayesian_lottery.files import read_tensors
from bayesian_lottery.inference import draws, networks
from bayesian_lottery.inference.networks import Training
from bayesian_lottery.inference.swag import SwagNetwork
from bayesian_lottery.randomness import generator
from bayesian_lottery.study import node_metrics
from bayesian_lottery.tickets import masks
from bayesian_lottery.training import jobs, loop, pruning, starts
from bayesian_lottery.training.engine import Engine, Plan

SHAPE, MODEL = (1, 8, 8), "lenet_100_50"
KINDS = {
    "swag": {"share": 0.6, "draws": 3},
    "swag_low_rank": {"kind": "swag", "share": 0.6, "draws": 3, "rank": 2},
    "sghmc": {"keep": 3},
    "sgld": {"keep": 3, "cycles": 2, "prior": "glorot_normal", "prior_width": 2.0},
}


def test_places_are_spread_evenly_and_end_at_the_end():
    assert [draws.place(i, 10, 4) for i in range(1, 11)] == [
        *(None, None, 0, None, 1),
        *(None, None, 2, None, 3),
    ]
    assert [draws.place(i, 3, 10) for i in (1, 2, 3)] == [0, 1, 2]


def network_of(model: str, kind: str, options: dict, density: float = 0.5) -> draws.DrawingNetwork:
    """A network under a random mask whose first layer has no survivors, with three draws."""
    template = models.build(model, SHAPE, 10, seed=1)
    stream = generator("mask")
    mask = {
        name: torch.rand(shape, generator=stream) < density
        for name, shape in models.prunable(template).items()
    }
    first = next(iter(mask))
    mask[first] = torch.zeros_like(mask[first])
    network = networks.build(kind, template, options)
    network.load(network.state(), mask)
    noise = generator("noise")
    optimizer = network.optimizer(
        Training(lambda groups: torch.optim.SGD(groups, lr=0.05), 0.0, 64, 6, [noise])
    )
    images, labels = batches()[0]
    engine = Engine(network, SHAPE, Plan())
    network.template.train()
    for step in range(6):
        optimizer.param_groups[0]["lr"] = network.rate(0.05, step, 6)
        engine.gradients(images, labels, network.noise(1), "elbo", 0.0)
        optimizer.step()
        optimizer.zero_grad()
        network.after_step(step + 1, 6)
    network.finish(lambda: iter(batches()))
    return network


def batches() -> list:
    stream = generator("batches")
    return [(torch.randn(16, *SHAPE, generator=stream), torch.arange(16) % 10) for _ in range(2)]


def plain(model: str, state: dict) -> torch.nn.Module:
    module = models.build(model, SHAPE, 10)
    module.load_state_dict(state)
    return module.eval()


def each_draw(network: draws.DrawingNetwork) -> list[dict]:
    """The plain model's state of every draw."""
    found, stream = {}, generator("every draw")
    while len(found) < int(network.kept):
        state = network.draw(stream)
        found[tuple(state["classifier.bias"].tolist())] = state
    keys = [tuple(network._parts(point)[0][-10:].tolist()) for point in network.draws]
    return [found[key] for key in keys]


@pytest.mark.parametrize("model", ["lenet_100_50", "resnet8_slim", "vit_nano"])
@pytest.mark.parametrize("kind", ["swag", "sghmc"])
def test_predictions_are_those_of_plain_networks_whose_pruned_weights_are_zero(model, kind):
    network = network_of(model, kind, KINDS[kind])
    images = torch.randn(5, *SHAPE, generator=generator("images"))
    network.template.eval()
    noise = network.noise(1)
    found = Engine(network, SHAPE, Plan()).logits(images, noise)
    states = each_draw(network)
    assert len(states) == len(found) == network.sampling()["draws"] == 3
    for state, logits in zip(states, found, strict=True):
        with torch.no_grad():
            torch.testing.assert_close(logits, plain(model, state)(images), rtol=1e-4, atol=1e-5)
        for name, layer in network.mask.items():
            assert (state[name][~layer] == 0).all() and (state[name][layer] != 0).all()
    # A gradient is of the current weights, and needs no draw.
    engine = Engine(network, SHAPE, Plan())
    engine.gradients(images, torch.arange(5), noise, "elbo", 0.0)
    assert network.weight.grad.abs().sum() > 0


def test_norm_statistics_of_a_draw_are_torchs_own_average_over_batches():
    network = network_of("resnet8_slim", "sghmc", KINDS["sghmc"])
    states = [*each_draw(network), {n: network.state()[n] for n in network.names}]
    assert len({tuple(state["layer1.0.bn2.running_mean"].tolist()) for state in states}) == 4
    for state in states:
        module = plain("resnet8_slim", state)
        norms = [m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        for norm in norms:
            norm.reset_running_stats()
        module.train()
        with torch.no_grad():
            for number, (inputs, _) in enumerate(batches(), 1):
                for norm in norms:
                    norm.momentum = 1 / number
                module(inputs)
        for name, expected in module.named_buffers():
            if not name.endswith("num_batches_tracked"):
                torch.testing.assert_close(state[name], expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("rank", [0, 3])
def test_the_moments_of_swag_are_those_of_its_iterates(rank, monkeypatch):
    points = []

    def after_step(self, step, steps):
        points.append(self.point().clone())
        whole(self, step, steps)

    whole = SwagNetwork.after_step
    monkeypatch.setattr(SwagNetwork, "after_step", after_step)
    options = {"share": 0.67, "iterates": 4, "draws": 2, "rank": rank}
    network = network_of("resnet8_slim", "swag", options)
    iterates = torch.stack(points[2:])  # of the last five steps all but the first, evenly
    mean, std = iterates.mean(0), iterates.std(0)
    torch.testing.assert_close(network.mean, mean)
    torch.testing.assert_close(network.std(), std, rtol=1e-3, atol=1e-7)
    row, others = network._parts(mean)
    moments = network.moments()
    for name, layer in network.survivors.named(row).items():
        if name in network.mask:
            torch.testing.assert_close(moments["mean"][name], layer)
    for name, value in others.items():
        torch.testing.assert_close(network.state()[name], value)
    # Many draws have the covariance of equation 1.
    deviations = network.deviations[: int(network.count)]
    many = torch.stack([network._departure(std, deviations) for _ in range(4000)])
    largest = std.topk(5).indices
    covariance = np.diag(std[largest].square().numpy())
    if rank:
        running = [points[2 : stop + 1] for stop in range(2, 6)]
        kept = torch.stack([each[-1] - torch.stack(each).mean(0) for each in running])[-rank:]
        kept = kept[:, largest].numpy()
        covariance = (covariance + kept.T @ kept / (rank - 1)) / 2
    found = np.cov(many[:, largest].numpy().T)
    assert found == pytest.approx(covariance, abs=0.1 * float(covariance.max()))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    small = SmallStudy(tmp_path_factory.mktemp("draws"))
    small.config["inferences"] = {
        name: {"kind": name, **options} for name, options in KINDS.items()
    }
    return small


@pytest.mark.parametrize(
    ("inference", "model"),
    [
        ("swag_low_rank", "resnet8_slim"),
        ("sghmc", "resnet8_slim"),
        ("sgld", "lenet_100_50"),
    ],
)
def test_a_node_resumes_bit_for_bit_and_its_weights_say_all(small, inference, model, monkeypatch):
    node = replace(small.node(model, curriculum="sgd"), inference=inference)
    small.train(node)
    expected = small.numbers(node)
    assert {"next_mask_snr.safetensors", "next_mask_mu.safetensors"} <= set(expected)
    metrics = node_metrics.read(small.path(node, "metrics.json"))
    assert metrics["sampling"]["draws"] == 3 and metrics["results"]["peak"]["epoch"] == 2
    assert metrics["passes"]["mutual_information"][0] > 0
    for after in (3, 8, 10):  # before draws, amid them, after the last step
        interrupted(monkeypatch, after, lambda: small.train(node, 0))
        small.train(node)
        assert small.numbers(node) == expected
    # The saved weights rank and predict as the network did.
    task = small.task(node)
    images = decoded.load(task.inputs.data)
    weights, settings = task.outputs.weights, task.settings
    network = starts.trained(settings, images, weights, settings, torch.device("cpu"))
    network.template.eval()
    inputs = decoded.normalise(images.test.images, images.mean, images.std)
    engine = Engine(network, images.image_shape, Plan())
    found = engine.logits(inputs, network.noise(1)).softmax(-1).mean(0)
    saved, _ = read_tensors(task.outputs.predictions)
    torch.testing.assert_close(saved["probabilities"].float(), found, atol=1e-3, rtol=0)
    with pytest.raises(InputError, match=f"{inference} predicts by draws, and no compact network"):
        export(small.path(node, ""), task.inputs.data, small.path(node, "compact.safetensors"))
    stream = jobs.stream_of(node.coordinates())
    mask = pruning.prune(network, network.mask, "snr", images, task.settings, stream, 1)
    said = masks.load(task.outputs.next_masks["snr"])
    assert all(torch.equal(mask[name], said[name]) for name in said)


def test_a_network_that_keeps_draws_trains_alone(small):
    nodes = [replace(small.node(MODEL), inference=name) for name in ("deterministic", "sghmc")]
    more = [each for node in nodes for each in (node, replace(node, seed=1))]
    packs = study.packs(small.config, more, 2)
    assert sorted(map(len, packs)) == [1, 1, 2]


@pytest.mark.parametrize("inference", ["swag", "sghmc"])
def test_a_level_goes_on_from_the_level_before(small, inference):
    trunk = small.node(MODEL, curriculum="sgd", level=1, rewind="lrr")
    level = replace(trunk, inference=inference, scorer="snr")
    small.train(level.dense)
    small.train(level)
    dense, sparse = (
        read_tensors(small.path(node, "weights.safetensors"))[0] for node in (level.dense, level)
    )
    kept = node_metrics.read(small.path(level, "metrics.json"))["survivors"]
    pruned = sum(int((sparse[name] == 0).sum()) for name in sparse if name.startswith("hidden")
                 and name.endswith("weight"))  # fmt: skip
    prunable = sum(dense[f"hidden.{n}.weight"].numel() for n in (0, 1))
    assert kept == prunable - pruned < prunable
    assert sparse["sampling.draws"].shape[1] == dense["sampling.draws"].shape[1] - pruned


def test_a_chain_on_data_with_nan_or_at_too_large_a_step_ends_with_a_sentence(small):
    node = replace(small.node(MODEL, curriculum="sgd"), inference="sghmc")
    task = small.task(node)
    images = decoded.load(task.inputs.data)

    def train(images, rate):
        settings = copy.deepcopy(dict(task.settings))
        settings["curriculum"]["learning_rate"] = rate
        network = starts.start(images, settings, task.inputs, ["x"], torch.device("cpu"))
        loop.train([network], images, settings, [["x"]])

    with pytest.raises(InputError, match=r"training diverged: loss.* in epoch \d"):
        train(images, 1e6)
    with pytest.raises(InputError, match=r"training diverged: loss.* in epoch 1"):
        train(replace(images, mean=torch.full_like(images.mean, torch.nan)), 0.01)


def test_without_training_there_are_no_draws_and_the_ticket_predicts(small):
    node = replace(small.node(MODEL, curriculum="sgd"), inference="sghmc")
    task = small.task(node)
    settings = {**task.settings, "curriculum": {**task.settings["curriculum"], "epochs": 0}}
    images = decoded.load(task.inputs.data)
    network = starts.start(images, settings, task.inputs, ["x"], torch.device("cpu"))
    (record,) = loop.train([network], images, settings, [["x"]])
    assert record.sampling["draws"] == 0 and record.sampling["temperature"] is None
    assert network.moments()["std"]["hidden.0.weight"].unique().tolist() == [1.0]
