"""Networks side by side: each has what it would have had alone."""

import json
from functools import partial

import pytest
import torch
from families import FAMILIES

from bayesian_lottery import models
from bayesian_lottery.data.decoded import Images, Split, channel_statistics
from bayesian_lottery.errors import InputError
from bayesian_lottery.inference import networks, packs
from bayesian_lottery.randomness import generator
from bayesian_lottery.training import jobs, loop
from bayesian_lottery.training.engine import Engine, Plan

MEMBERS, BATCH = 3, 6
OPTIONS = {"initial_std": 0.3, "prior_std": 0.7}
inferences = pytest.mark.parametrize("inference", ["deterministic", "bayesian"])


def network_of(
    model, inference, member, dtype=torch.float64, classifier=False, density=0.6, shape=None
):
    """A network with its own weights and its own mask, which may cover the classifier."""
    template = models.build(model, shape or FAMILIES[model], 10, seed=member).to(dtype)
    network = networks.build(inference, template, OPTIONS)
    stream = generator("mask", member)
    mask = {
        name: torch.rand(shape, generator=stream) < density
        for name, shape in models.prunable(template, classifier).items()
    }
    network.load(network.state(), mask)
    return network


def steps(network, model, images, labels, samples, streams):
    """Three steps; what the last one returned."""
    engine = Engine(network, FAMILIES[model], Plan(samples_per_pass=2))
    optimizer = torch.optim.Adam(network.parameter_groups(1e-3), lr=1e-2)
    for _ in range(3):
        results = engine.gradients(
            images, labels, network.noise(samples, *streams), "categorical", 1e-3
        )
        optimizer.step()
        optimizer.zero_grad()
    return results


@inferences
@pytest.mark.parametrize(
    ("model", "classifier"), [*((model, False) for model in FAMILIES), ("lenet_100_50", True)]
)
def test_each_network_takes_the_steps_that_it_would_take_alone(model, classifier, inference):
    samples = 5 if inference == "bayesian" else 1
    stream = generator("images")
    images = torch.randn(MEMBERS, BATCH, *FAMILIES[model], dtype=torch.float64, generator=stream)
    labels = torch.randint(10, (MEMBERS, BATCH), generator=stream)
    member_of = partial(network_of, model, inference, classifier=classifier)
    together = [member_of(member) for member in range(MEMBERS)]
    pack = packs.pack(together)
    streams = [generator("noise", member) for member in range(MEMBERS)]
    logits, nll, divergence = steps(
        pack, model, images.flatten(0, 1), labels.flatten(), samples, streams
    )
    for member, network in enumerate(together):
        alone = member_of(member)
        streams = [generator("noise", member)]
        expected = steps(alone, model, images[member], labels[member], samples, streams)
        own = logits[:, member * BATCH : (member + 1) * BATCH]
        found = own, nll[member : member + 1], divergence[member : member + 1]
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(network.state(), alone.state(), rtol=1e-8, atol=1e-10)
        if classifier:
            layer = alone.mask["classifier.weight"]
            assert not layer.all()
            (moments, *_) = alone.moments().values()
            assert torch.equal(moments["classifier.weight"] != 0, layer)


def settings(inference, epochs=2):
    found = {
        "inference": inference,
        "model": "lenet_100_50",
        "branch": None,
        "rewind": "imp",
        "prune_fraction": 0.2,
        "augment": {"flip": True, "crop": 1},
        "validation": 0.2,
        "curriculum": {
            **{"epochs": epochs, "optimizer": "adam", "learning_rate": 3e-3, "weight_decay": 1e-4},
            **{"batch_size": 32, "milestones": [1], "gamma": 0.1, "warmup_epochs": 0},
            "momentum": 0.9,
        },
        "evaluation": {"samples": 2, "passes": 2, "every": 1, "bins": 10, "batch_size": 100},
    }
    if inference == "bayesian":
        posterior = {"samples": 3, "heat": 0.1, "likelihood": "categorical"}
        found["bayesian"] = {**posterior, **OPTIONS}
    return found


@pytest.fixture(scope="module")
def images():
    stream = torch.Generator().manual_seed(0)
    patterns = torch.randint(256, (10, 1, 8, 8), generator=stream)

    def split(count):
        labels = torch.arange(count) % 10
        noise = torch.randint(-60, 60, (count, 1, 8, 8), generator=stream)
        return Split((patterns[labels] + noise).clamp(0, 255).to(torch.uint8), labels)

    train, test = split(200), split(100)
    return Images("blobs", tuple("abcdefghij"), train, test, *channel_statistics(train.images))


@inferences
def test_a_training_together_measures_what_trainings_alone_do(images, inference):
    def networks_of(*members):
        return [network_of("lenet_100_50", inference, m, torch.float32) for m in members]

    streams = [["run", str(member)] for member in range(MEMBERS)]
    together = loop.train(networks_of(*range(MEMBERS)), images, settings(inference), streams)
    for member, record in enumerate(together):
        (alone,) = loop.train(networks_of(member), images, settings(inference), [streams[member]])
        for row, other in zip(record.history, alone.history, strict=True):
            measured = {
                name: value
                for name, value in other.items()
                if value is not None and name not in ("seconds", "peak_memory_bytes")
            }
            found = {name: row[name] for name in measured}
            assert found == pytest.approx(measured, rel=1e-3, abs=1e-4)
        assert record.passes.keys() == alone.passes.keys()
    assert together[0].history[0]["train_nll"] != together[1].history[0]["train_nll"]


@inferences
@pytest.mark.parametrize("members", [MEMBERS, 1])
def test_what_is_broken_off_resumes_bit_for_bit(images, inference, members, tmp_path, monkeypatch):
    """A pack, by dense products; and a network alone, by sparse ones."""
    model, density = ("lenet_100_50", 0.6) if members > 1 else ("lenet_300_100", 0.1)
    build = partial(network_of, model, inference, dtype=torch.float32, shape=(1, 8, 8))

    def train(path):
        found = [build(member, density=density) for member in range(members)]
        assert bool(found[0].survivors.patterns) == (members == 1)
        streams = [["run", str(member)] for member in range(members)]
        checkpointing = loop.Checkpointing(path, 0, "the same")
        records = loop.train(found, images, settings(inference), streams, checkpointing)
        for record in records:
            for row in record.history:
                del row["seconds"], row["peak_memory_bytes"]
        return [(r.history, r.passes) for r in records], [n.state() for n in found], records

    rows, states, _ = train(tmp_path / "whole")
    save, saved = loop.checkpoints.save, []

    def save_and_die(*arguments):
        save(*arguments)
        saved.append(1)
        if len(saved) in (2, 7):
            raise KeyboardInterrupt

    monkeypatch.setattr(loop.checkpoints, "save", save_and_die)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "broken")
    resumed_rows, resumed_states, records = train(tmp_path / "broken")
    assert resumed_rows == rows
    torch.testing.assert_close(resumed_states, states, rtol=0, atol=0)
    assert all(len(record.resumed_at_steps) == 2 for record in records)


def test_networks_of_other_settings_are_refused(tmp_path):
    def task(**changes):
        outputs = jobs.Outputs(*(tmp_path / name for name in "mhw"))
        options = json.loads(json.dumps({**settings("bayesian"), **changes}))
        return jobs.Task({}, options, jobs.Inputs(tmp_path / "data", tmp_path / "initial"), outputs)

    with pytest.raises(InputError, match="differ in model, prune_fraction cannot"):
        jobs.train_nodes([task(), task(model="lenet5", prune_fraction=0.3, seed=4)])
