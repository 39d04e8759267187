"""What a kind of inference may do in training beyond an ordinary network, by the loop's hooks."""

import csv
from dataclasses import replace

import pytest
import torch
from small_study import SmallStudy, interrupted

from bayesian_lottery.errors import InputError
from bayesian_lottery.inference.deterministic import DeterministicNetwork
from bayesian_lottery.inference.kinds import KINDS, Kind
from bayesian_lottery.study import configuration, node_metrics
from bayesian_lottery.training import evaluation, loop, records

STEPS = 10  # of the small study: two epochs of 5


class Averaging(DeterministicNetwork):
    """Predicts by the mean of its iterates; every hook does something."""

    @classmethod
    def of(cls, template, options):
        return cls(template)

    def load(self, state, mask):
        super().load(state, mask)
        self.total = torch.zeros_like(self.weight)
        self.counts = torch.zeros(2)  # iterates, and draws that predict
        self.told, self.batches = [], []

    def tensors(self):
        return {**super().tensors(), "total": self.total, "counts": self.counts}

    def optimizer(self, training):
        self.training = training
        return torch.optim.SGD(self.parameter_groups(0.0), lr=1.0, momentum=0.5)

    def rate(self, given, step, steps):
        return given / (1 + step / steps)

    def after_step(self, step, steps):
        self.told.append((step, steps))
        self.total += self.weight.detach()
        self.counts[0] += 1

    def finish(self, batches):
        self.batches = [list(batches()) for _ in range(2)]
        self.weight.data.copy_(self.total / self.counts[0])
        self.counts[1] = 1

    def sampling(self):
        return {"draws": int(self.counts[1]), "iterates": int(self.counts[0])}


def averaging(**changes) -> Kind:
    return Kind("averaged", f"{__name__}:Averaging.of", offers=("weight",), **changes)


@pytest.fixture
def small(tmp_path, monkeypatch):
    monkeypatch.setitem(KINDS, "averaging", averaging())
    small = SmallStudy(tmp_path)
    small.config["inferences"] = {"averaged": {"kind": "averaging"}}
    return small


def node_of(small):
    return replace(small.node("lenet_100_50"), inference="averaged")


def history(small, node):
    with small.path(node, "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [{**row, "seconds": "", "peak_memory_bytes": ""} for row in rows]


def test_the_loop_calls_every_hook_in_its_turn(small, monkeypatch):
    networks, whole = [], loop.train

    def train(trained, *arguments):
        networks.extend(trained)
        return whole(trained, *arguments)

    monkeypatch.setattr(loop, "train", train)
    node = node_of(small)
    small.train(node)
    (network,) = networks
    assert network.told == [(step, STEPS) for step in range(1, STEPS + 1)]
    training = network.training
    assert (training.images, training.steps, training.weight_decay) == (160, STEPS, 1e-4)
    rows, metrics = history(small, node), node_metrics.read(small.path(node, "metrics.json"))
    rates = [float(row["learning_rate"]) for row in rows]
    assert rates == pytest.approx([0.003 / 1.4, 0.003 / 1.9])
    # The last epoch was tested after `finish`, and it alone is of the network that predicts.
    assert [(row["draws"], row["iterates"]) for row in rows] == [("0", "5"), ("1", "10")]
    assert metrics["sampling"] == {"draws": 1, "iterates": 10}
    assert {each["epoch"] for each in metrics["results"].values() if each} == {2}
    assert metrics["results"]["final"]["nll"] == pytest.approx(metrics["passes"]["nll"][0])
    first, second = network.batches
    inputs, labels = (torch.cat(part) for part in zip(*first, strict=True))
    assert inputs.shape == (160, 1, 8, 8) and inputs.mean().abs() < 0.1
    assert torch.equal(inputs, torch.cat([each for each, _ in second]))
    assert len(labels) == 160 and len(first) == 5


def test_what_hooks_have_noted_is_in_the_checkpoint(small, monkeypatch):
    node = node_of(small)
    small.train(node)
    expected, told = small.numbers(node), history(small, node)
    for after in (2, 7, STEPS):  # before, amid and after it all
        interrupted(monkeypatch, after, lambda: small.train(node, 0))
        small.train(node)
        assert small.numbers(node) == expected
        assert history(small, node) == told


def stand_in(networks, images, settings, streams, *others, **more):
    """A loop of one's own, which ends at once."""
    row = {"epoch": 1, **{f"test_{name}": 0.5 for name in evaluation.METRICS}}
    passes = {name: [0.5] for name in evaluation.METRICS}
    found = records.Record([row], passes=passes, sampling={"draws": 3, "acceptance": None})
    found.predictions = torch.zeros(1, 10)
    return [found]


def test_a_kind_may_bring_a_loop_of_its_own(small, monkeypatch):
    monkeypatch.setitem(KINDS, "averaging", averaging(trainer=f"{__name__}:stand_in"))
    node = node_of(small)
    small.train(node)
    metrics = node_metrics.read_json(small.path(node, "metrics.json"))
    assert metrics["sampling"] == {"draws": 3, "acceptance": None}
    with pytest.raises(InputError, match=r"'sampling.acceptance' is 'high'; it must be a finite"):
        node_metrics.check({**metrics, "sampling": {"acceptance": "high"}})


@pytest.mark.parametrize("own_draws", [False, True])
def test_draws_of_a_networks_own_are_not_the_configurations_samples(small, monkeypatch, own_draws):
    kind = averaging(stochastic=True, own_draws=own_draws)
    monkeypatch.setitem(KINDS, "averaging", kind)
    told = small.task(node_of(small)).settings["evaluation"]
    assert (told["samples"], told["passes"]) == ((1, 1) if own_draws else (2, 2))


def test_a_moving_mask_is_refused_where_draws_are_of_one_mask(small, monkeypatch):
    monkeypatch.setitem(KINDS, "averaging", averaging(moves=False))
    trunk = {"dataset": "digits", "model": "lenet_100_50", "inference": "averaged"}
    trunk |= {"scorer": "magnitude", "curriculum": "adam", "seeds": [0], "levels": 1}
    config = {**small.config, "trunks": [{**trunk, "rewind": "imp", "search": "gradual"}]}
    with pytest.raises(InputError, match="'gradual' moves masks in training, and averaged"):
        configuration.validate(config)
