"""Population-based training: selection, exploration, what comes of it, and resuming."""

import copy
import itertools
import math
import os
import signal

import pytest
import test_packs
import torch

from bayesian_lottery import models
from bayesian_lottery.errors import InputError
from bayesian_lottery.files import read_tensors
from bayesian_lottery.inference import networks
from bayesian_lottery.inference.kinds import KINDS
from bayesian_lottery.inference.mean_field import Tuned
from bayesian_lottery.options import defaults
from bayesian_lottery.randomness import generator
from bayesian_lottery.training import checkpoints, loop, population, records, tuning
from bayesian_lottery.training.checkpoints import Checkpointing
from bayesian_lottery.training.hyperparameters import Range
from bayesian_lottery.training.population import Population

images = test_packs.images
settings = test_packs.settings
STREAM = ("blobs", "tuned")
SHAPE = (1, 8, 8)


def told(epochs=4, **options):
    own = {**defaults(Tuned), "members": 4, "samples": 2, "initial_std": 0.1, **options}
    plain = settings("deterministic", epochs)
    curriculum = {**plain["curriculum"], "learning_rate": 1e-2, "milestones": [], "batch_size": 16}
    return {**plain, "inference": "tuned", "tuned": own, "curriculum": curriculum}


def network_of(own, model="lenet_100_50", density=0.6):
    template = models.build(model, SHAPE, 10, seed=1)
    network = networks.build("tuned", template, own["tuned"])
    stream = generator("mask")
    mask = {
        name: torch.rand(shape, generator=stream) < density
        for name, shape in models.prunable(template).items()
    }
    network.load(network.state(), mask)
    return network


def train(own, images, **more):
    network = network_of(own)
    (record,) = tuning.train([network], images, own, [STREAM], **more)
    return network, record


def population_of(images, own=None, **options):
    own = own or told(**options)
    return Population(network_of(own), images, own, STREAM, loop.LABELS)


def same(first, second):
    """Whether two results are equal bit for bit, but for times."""
    (network, record), (other, its) = first, second
    for name, tensor in network.state().items():
        assert torch.equal(tensor, other.state()[name]), name
    timed = {"seconds", "peak_memory_bytes"}
    rows, theirs = (
        [{k: v for k, v in row.items() if k not in timed} for row in r.history]
        for r in (record, its)
    )
    assert rows == theirs and record.population == its.population
    assert record.passes == its.passes
    assert torch.equal(record.predictions, its.predictions)


def test_it_learns_and_gives_the_best_members_history_with_its_factors(images):
    own = told(epochs=6)
    network, record = train(own, images)
    assert [row["epoch"] for row in record.history] == [*range(1, 7)]
    assert record.history[-1]["test_accuracy"] > 0.5
    schedule = record.population
    assert schedule[0]["epoch"] == 0 and schedule[0]["nll"] is None
    assert [row["epoch"] for row in schedule] == sorted({row["epoch"] for row in schedule})
    assert schedule[-1]["heats"].keys() == set(network.survivors.layers)
    low, high = own["tuned"]["lowest_heat"], own["tuned"]["highest_heat"]
    assert all(low <= factor <= high for row in schedule for factor in row["heats"].values())
    for row in record.history:
        current = [each for each in schedule if each["epoch"] < row["epoch"]][-1]
        for layer, factor in current["heats"].items():
            assert row[f"heat_{layer}"] == factor
    assert network.factors.tolist()[0] == pytest.approx([*schedule[-1]["heats"].values()])
    same((network, record), train(own, images))


def test_each_member_takes_the_steps_that_its_network_would_take_alone(images):
    """Side by side or not, with a learning rate and a deviation of its own."""
    together = population_of(images, rates=4.0, stds=3.0, side_by_side=3)  # three and one
    apart = population_of(images, rates=4.0, stds=3.0)
    for step in range(3):
        torch.testing.assert_close(together.step(step), apart.step(step), rtol=1e-5, atol=1e-6)
    for member, alone in zip(together.members, apart.members, strict=True):
        torch.testing.assert_close(
            member.network.state(), alone.network.state(), rtol=1e-4, atol=1e-5
        )
        own = member.values
        network = network_of(together.settings)
        network.log_std.data += math.log(own.initial_std)
        network.heat_layers(own.heats)
        assert 1 / 3 <= own.initial_std <= 3 and 1 / 4 <= own.learning_rate <= 4
        curriculum = dict(together.settings["curriculum"])
        curriculum["learning_rate"] *= own.learning_rate
        alike = {**together.settings, "inference": "bayesian", "curriculum": curriculum}
        loop.train([network], images, alike, [member.stream], until=3)
        torch.testing.assert_close(network.state(), alone.network.state(), rtol=1e-4, atol=1e-5)
    first, second = (member.values.heats for member in together.members[:2])
    assert first != second


@pytest.mark.parametrize("model", ["vit_nano", "resnet8_slim"])
def test_norms_and_tokens_of_members_move_as_alone(images, model):
    def of(**options):
        own = {**told(**options), "model": model}
        return Population(network_of(own, model), images, own, STREAM, loop.LABELS)

    together, apart = of(members=2, side_by_side=2), of(members=2)
    for step in range(2):
        together.step(step), apart.step(step)
    for member, alone in zip(together.members, apart.members, strict=True):
        torch.testing.assert_close(
            member.network.state(), alone.network.state(), rtol=1e-3, atol=1e-4
        )


def test_the_worst_copy_the_whole_state_of_the_best_and_explore(images):
    own = population_of(images, members=10, truncation=0.3, resample=0.0, side_by_side=10)
    for step in range(3):
        own.step(step)
    for number, member in enumerate(own.members):
        member.nll = float(number)
        member.record.history.append({"epoch": number})
    before = [copy.deepcopy(member.values) for member in own.members]
    own.evolve(epoch=1)
    for number, member in enumerate(own.members):
        if number < 7:
            assert member.values == before[number] and len(member.record.population) == 1
            continue
        source = member.record.history[-1]["epoch"]
        assert source < 3
        theirs = own.members[source]
        for name, tensor in member.network.tensors().items():
            assert torch.equal(tensor, theirs.network.tensors()[name])
            moments = own.optimizer.state[tensor]
            for key, value in own.optimizer.state[theirs.network.tensors()[name]].items():
                assert torch.equal(value, moments[key])
        for layer, factor in member.values.heats.items():
            low, high = 1e-3, 1.0
            near = [min(max(before[source].heats[layer] * f, low), high) for f in (0.8, 1.2)]
            assert factor in near
        assert member.record.population[-1]["heats"] == member.values.heats
    streams = {tuple(member.stream) for member in own.members}
    assert len(streams) == 10  # noise stays each one's own
    heats = own.sides[0].heat * len(own.sides[0].batches.training)
    expected = [[*member.values.heats.values()] for member in own.members]
    torch.testing.assert_close(heats, torch.tensor(expected))


def test_ranges_are_log_uniform_and_resampling_draws_anew():
    stream, range_ = generator("range"), Range(1e-4, 1.0)
    drawn = torch.tensor([range_.draw(stream) for _ in range(4000)]).log10()
    quantiles = drawn.quantile(torch.tensor([0.25, 0.5, 0.75]))
    torch.testing.assert_close(quantiles, torch.tensor([-3.0, -2.0, -1.0]), rtol=0, atol=0.12)
    explored = [range_.explore(0.01, 0.25, stream) for _ in range(2000)]
    share = sum(value not in (0.01 * 0.8, 0.01 * 1.2) for value in explored) / len(explored)
    assert share == pytest.approx(0.25, abs=0.04)


class Killed(Exception):
    pass


@pytest.mark.parametrize("where", ["step", "evolve", "_copy", "explore", "_select"])
def test_a_population_that_is_killed_anywhere_goes_on_to_the_same_numbers(
    images, tmp_path, monkeypatch, where
):
    """In a step, before and within selection, between copying and exploring."""
    own = told(epochs=3, rates=2.0, members=4)
    expected = train(own, images)
    path = tmp_path / "checkpoint.safetensors"
    checkpointing = Checkpointing(path, 0.0, "fingerprint")
    target = {
        "step": (Population, "step"),
        "evolve": (Population, "evolve"),
        "_copy": (Population, "_copy"),
        "explore": (population.Space, "explore"),
        "_select": (tuning, "_select"),
    }[where]
    whole, calls = getattr(*target), itertools.count()

    def killed(*arguments, **more):
        result = whole(*arguments, **more)
        if next(calls) == (7 if where == "step" else 0):
            raise Killed
        return result

    with monkeypatch.context() as patched:
        patched.setattr(*target, killed)
        with pytest.raises(Killed):
            train(own, images, checkpointing=checkpointing)
    _, progress = read_tensors(path)
    network, record = train(own, images, checkpointing=checkpointing)
    assert record.resumed_at_steps == [progress["step"]] and progress["step"] > 0
    same((network, record), expected)


def test_members_that_diverge_copy_others_and_all_that_do_end_it(images, monkeypatch):
    own = told(epochs=2, members=4)
    whole = Population.step

    def broken(lost):
        def step(self, number):
            if number == 1:
                for member in self.members[:lost]:
                    member.network.mean.data.fill_(math.nan)
            return whole(self, number)

        return step

    monkeypatch.setattr(Population, "step", broken(3))
    network, record = train(own, images)
    assert all(tensor.isfinite().all() for tensor in network.moments()["mean"].values())
    assert len(record.history) == 2
    monkeypatch.setattr(Population, "step", broken(4))
    with pytest.raises(records.Diverged, match="all 4 members of the population"):
        train(own, images)


def test_without_held_out_images_it_is_refused(images):
    with pytest.raises(InputError, match=r"datasets\.blobs\.validation: 0 holds out no images"):
        train({**told(), "validation": 0.0}, images)


def test_sigterm_stops_it_with_a_checkpoint(images, tmp_path, monkeypatch):
    own, whole = told(epochs=2), Population.step
    path = tmp_path / "checkpoint.safetensors"
    checkpointing = Checkpointing(path, 1e9, "fingerprint")

    def asked(self, number):
        if number == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return whole(self, number)

    with monkeypatch.context() as patched:
        patched.setattr(Population, "step", asked)
        with pytest.raises(checkpoints.Stopped, match="stopped after step 3"):
            train(own, images, checkpointing=checkpointing)
    same(train(own, images, checkpointing=checkpointing), train(own, images))


def test_it_is_a_kind_with_mean_and_std():
    kind = KINDS["tuned"]
    assert kind.train() is tuning.train and kind.offers == ("mean", "std")
