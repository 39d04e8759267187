"""Distilled tickets: the loss and its gradients, the teacher's predictions, and resuming."""

import csv
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from fake_cuda import fake_cuda
from small_study import SmallStudy, interrupted

from bayesian_lottery import models, study
from bayesian_lottery.data import decoded
from bayesian_lottery.errors import InputError
from bayesian_lottery.files import read_tensors
from bayesian_lottery.inference import networks
from bayesian_lottery.randomness import generator
from bayesian_lottery.running import cost, speeds
from bayesian_lottery.study import configuration, node_metrics
from bayesian_lottery.tickets.objectives import OBJECTIVES, Objective
from bayesian_lottery.training import jobs, starts
from bayesian_lottery.training.batches import Batches, divide
from bayesian_lottery.training.engine import Engine, Plan
from bayesian_lottery.training.targets import Distilled, Labels, Teacher

MODEL = "resnet8_slim"
SOFT = {"temperature": 3.0, "weight": 0.7}
KINDS = {
    "distilled": {"objective": "distilled"},
    "soft": {"objective": "soft"},
    "soft_plain": {"objective": "soft", "inference": "deterministic"},
    "soft_bayesian": {"objective": "soft", "inference": "bayesian"},
}


def data():
    stream = generator("objectives")
    logits = torch.randn(4, 6, 10, generator=stream, dtype=torch.float64)
    labels = torch.randint(10, (6,), generator=stream)
    soft = torch.randn(6, 10, generator=stream, dtype=torch.float64).softmax(-1)
    return logits, labels, soft


def test_the_log_likelihood_is_minus_hintons_loss_of_each_sample():
    logits, labels, soft = data()
    found = Distilled(SOFT, []).log_likelihoods(logits, labels, soft)
    for sample, row in zip(logits, found, strict=True):
        hard = F.cross_entropy(sample, labels, reduction="none")
        taught = 9 * F.cross_entropy(sample / 3, soft, reduction="none")
        torch.testing.assert_close(row, -(0.3 * hard + 0.7 * taught))


def test_a_weight_of_zero_is_the_labels_alone():
    logits, labels, soft = data()
    found = Distilled({"temperature": 5.0, "weight": 0.0}, []).log_likelihoods(logits, labels, soft)
    assert torch.equal(found, Labels().log_likelihoods(logits, labels))


@pytest.mark.parametrize("likelihood", ["categorical", "elbo"])
@pytest.mark.parametrize("passes", [1, 2])
def test_a_steps_gradients_are_those_of_the_whole_loss(likelihood, passes):
    template = models.build("lenet_100_50", (1, 8, 8), 10, seed=1).double()
    network = networks.build("bayesian", template, {"initial_std": 0.3, "prior_std": 1.0})
    stream = generator("gradients")
    images = torch.randn(6, 1, 8, 8, dtype=torch.float64, generator=stream)
    _, labels, soft = data()
    noise, targets = network.noise(4, stream), Distilled(SOFT, [])
    plan = Plan(samples_per_pass=passes)
    engine = Engine(network, (1, 8, 8), plan, targets.log_likelihoods)
    _, nll, _ = engine.gradients(images, labels, noise, likelihood, 0.0, soft)
    found = network.gradients()
    found = {name: gradient.clone() for name, gradient in found.items()}
    for tensor in network.tensors().values():
        tensor.grad = None
    chosen = targets.log_likelihoods(network.logits(images, network.weights(), noise), labels, soft)
    samples = {"categorical": chosen.logsumexp(0) - torch.tensor(4.0).log(), "elbo": chosen.mean(0)}
    loss = -samples[likelihood].mean()
    loss.backward()
    torch.testing.assert_close(nll[0].double(), loss.detach(), rtol=1e-5, atol=1e-6)
    for name, gradient in network.gradients().items():
        torch.testing.assert_close(found[name], gradient)


@pytest.mark.parametrize("inference", ["deterministic", "bayesian"])
def test_a_teacher_lets_no_gpu_wait(inference):
    with fake_cuda() as trace:
        pair = []
        for seed in (1, 2):
            template = models.build("lenet_100_50", (1, 8, 8), 10, seed=seed).to("cuda")
            pair.append(networks.build(inference, template, {"initial_std": 0.1, "prior_std": 1.0}))
        teacher, student = pair
        teacher.template.eval()
        taught = Teacher(Engine(teacher, (1, 8, 8), Plan()), 2, ["any"])
        targets = Distilled(SOFT, [taught])
        images = torch.zeros(6, 1, 8, 8, device="cuda")
        labels = torch.zeros(6, dtype=torch.int64, device="cuda")
        engine = Engine(student, (1, 8, 8), Plan(), targets.log_likelihoods)
        before = sum(trace.waits.values())
        noise = student.noise(2, torch.Generator("cuda"))
        engine.gradients(images, labels, noise, "elbo", 0.1, *targets.beside_labels(images, 0))
        assert sum(trace.waits.values()) == before


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> SmallStudy:
    """A study with two trained dense networks, which teach."""
    found = SmallStudy(tmp_path_factory.mktemp("objectives"))
    found.config["objectives"] = {"soft": {"kind": "distilled", **SOFT}}
    found.config["branch_kinds"] = KINDS
    for inference in ("deterministic", "bayesian"):
        found.train(found.node(MODEL, inference))
    return found


def branch(small: SmallStudy, name: str, inference: str, replicate=0) -> study.Node:
    node = small.node(MODEL, inference, level=1)
    return replace(node, branch=name, replicate=replicate)


def first_batch(small: SmallStudy, node: study.Node):
    task = small.task(node)
    images = decoded.load(task.inputs.data)
    training, _ = divide(images, task.settings)
    stream = [jobs.stream_of(task.node)]
    batches = Batches(images, training, 32, task.settings["augment"], stream)
    return starts.targets([task], images, torch.device("cpu")), batches.of(batches.rows(0))[0]


def test_a_deterministic_teacher_predicts_by_its_trained_weights(small):
    node = branch(small, "soft", "deterministic")
    targets, images = first_batch(small, node)
    (soft,) = targets.beside_labels(images, step=0)
    template = models.build(MODEL, (1, 8, 8), 10).eval()
    template.load_state_dict(read_tensors(small.path(node.dense, "weights.safetensors"))[0])
    with torch.no_grad():
        expected = (template(images) / SOFT["temperature"]).softmax(-1)
    torch.testing.assert_close(soft, expected)
    assert not soft.is_inference() and not soft.requires_grad


def test_a_bayesian_teacher_predicts_by_the_mean_over_draws_that_are_new_each_step(small):
    targets, images = first_batch(small, branch(small, "soft_plain", "bayesian"))
    steps = [targets.beside_labels(images, step)[0] for step in (0, 1, 0)]
    assert torch.equal(steps[0], steps[2]) and not torch.equal(steps[0], steps[1])
    (teacher,) = targets.teachers
    assert teacher.samples == small.config["evaluation"]["samples"]
    network = teacher.engine.network
    noise = network.noise(2, generator(*teacher.stream, "teacher", 0))
    with torch.no_grad():
        mean = network.logits(images, network.weights(), noise).softmax(-1).mean(0)
    tempered = mean ** (1 / SOFT["temperature"])
    torch.testing.assert_close(steps[0], tempered / tempered.sum(-1, keepdim=True))


@pytest.mark.parametrize(
    ("name", "of"),
    [("soft", "deterministic"), ("soft", "bayesian"), ("soft_plain", "bayesian"),
     ("soft_bayesian", "deterministic")],
)  # fmt: skip
def test_every_teacher_teaches_every_ticket_and_a_broken_off_run_resumes(
    small, name, of, monkeypatch
):
    whole, broken = (branch(small, name, of, replicate) for replicate in (0, 1))
    small.train(whole)
    # The same node under another name, by the streams of the first.
    task = small.task(broken)
    task = replace(task, node=whole.coordinates(), settings=small.task(whole).settings)

    def run(seconds: float) -> None:
        jobs.train_nodes([task], "cpu", seconds)

    interrupted(monkeypatch, 3, lambda: run(0))
    run(1000)
    weights = [small.path(node, "weights.safetensors").read_bytes() for node in (whole, broken)]
    assert weights[0] == weights[1]
    metrics = node_metrics.read(small.path(whole, "metrics.json"))
    assert metrics["settings"]["teacher"]["inference"] == of
    assert (metrics["passes"]["mutual_information"] is None) == (
        "bayesian" not in (metrics["settings"]["inference"],)
    )


def test_each_network_of_a_pack_has_its_own_teacher():
    class Knows:
        def __init__(self, label: int):
            self.label = torch.tensor([label])

        def log_probabilities(self, images, step):
            return 50.0 * (F.one_hot(self.label, 10).expand(len(images), -1) - 1)

    (soft,) = Distilled(SOFT, [Knows(3), Knows(5)]).beside_labels(torch.zeros(8, 1, 8, 8), 0)
    assert soft.argmax(-1).tolist() == [3] * 4 + [5] * 4


def test_students_side_by_side_learn_as_each_alone(small):
    nodes = [branch(small, "soft", "deterministic", replicate) for replicate in (5, 6)]
    for node in nodes:
        small.train(node)
    alone = [losses(small, node) for node in nodes]
    jobs.train_nodes([small.task(node) for node in nodes], "cpu")
    assert [losses(small, node) for node in nodes] == [pytest.approx(o, rel=1e-3) for o in alone]
    assert alone[0] != pytest.approx(alone[1], rel=1e-3)


def losses(small: SmallStudy, node: study.Node) -> list[float]:
    with small.path(node, "history.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def test_what_a_distilled_branch_is_told_and_needs(small):
    node = branch(small, "soft_plain", "bayesian")
    settings = study.node_settings(small.config, node)
    assert settings["objective"] == {"kind": "distilled", **SOFT}
    assert settings["teacher"]["kind"] == "bayesian" and settings["teacher"]["samples"] == 2
    assert settings["teacher"]["bayesian"] == small.config["bayesian"]
    assert study.origins(small.config, node)["teacher"] == (node.dense, "weights")
    told = study.node_settings(small.config, branch(small, "distilled", "bayesian"))
    assert told["objective"] == {"kind": "distilled", "temperature": 4.0, "weight": 0.9}
    plain = study.node_settings(small.config, node.trunk)
    assert "objective" not in plain and "teacher" not in plain
    assert speeds.kind({**settings, "inference": "x"}) != speeds.kind({**plain, "inference": "x"})
    mixed = [branch(small, "soft", "deterministic"), branch(small, "reinit", "deterministic")]
    assert len(study.packs(small.config, mixed, 2)) == 2
    assert cost.estimate(small.config, [node], device="cpu").items


class Smoothed(Labels):
    """A twentieth of the weight on all classes."""

    def log_likelihoods(self, logits, labels, *beside):
        even = logits.log_softmax(-1).mean(-1)
        return torch.lerp(super().log_likelihoods(logits, labels), even, 0.05)


def test_an_objective_is_one_class_and_one_entry(small, monkeypatch):
    """What README.md says under "How to add": registered, branches are trained by it."""
    entry = Objective("smoothed labels", "test_objectives:Smoothed")
    monkeypatch.setitem(OBJECTIVES, "smoothed", entry)
    monkeypatch.setitem(small.config["branch_kinds"], "smooth", {"objective": "smoothed"})
    node = branch(small, "smooth", "deterministic")
    assert "teacher" not in study.origins(small.config, node)
    small.train(node)
    metrics = node_metrics.read(small.path(node, "metrics.json"))
    assert metrics["settings"]["objective"] == {"kind": "smoothed"}
    assert "teacher" not in metrics["settings"]
    monkeypatch.setitem(small.config["branch_kinds"], "plain", {"mask": "kept"})
    plain = branch(small, "plain", "deterministic")
    small.train(plain)
    assert losses(small, node)[-1] > losses(small, plain)[-1]


@pytest.mark.parametrize(
    ("objectives", "pieces", "sentence"),
    [
        ({"x": {"kind": "hard"}}, {}, "objectives.x.kind: 'hard' is not known; choose from disti"),
        ({"x": {"kind": "distilled", "weight": 2}}, {}, "objectives.x.weight: 2 is not allowed"),
        ({"x": {"kind": "labels", "weight": 1}}, {}, "objectives.x: 'weight' is not a key"),
        ({}, {"objective": "x"}, "branch_kinds.b.objective: 'x' is not known; choose from"),
        (
            {},
            {"objective": "distilled", "train": False},
            "branch_kinds.b.objective: nothing is trained by it where branch_kinds.b.train is fal",
        ),
        (
            {},
            {"objective": "distilled", "dataset": "other"},
            "branch_kinds.b.objective: 'distilled' has the trunk's dense network for a teacher, "
            "which was not trained on other; leave branch_kinds.b.dataset out.",
        ),
    ],
)
def test_objectives_that_make_no_sense_are_refused(small, objectives, pieces, sentence):
    config = {
        **small.config,
        "datasets": {**small.config["datasets"], "other": small.config["datasets"]["digits"]},
        "objectives": objectives,
        "branch_kinds": {"b": pieces},
    }
    with pytest.raises(InputError) as refused:
        configuration.validate(config)
    assert sentence in str(refused.value)
