"""What jobs ask a cluster for."""

import pytest
import torch

from bayesian_lottery import models
from bayesian_lottery.models import MODELS
from bayesian_lottery.networks import ESTIMATORS
from bayesian_lottery.resources import COSTS, LONGEST_MINUTES, Cost, request


def settings(model: str, samples: int = 0, epochs: int = 160) -> dict:
    found = {
        "model": model,
        "curriculum": {"epochs": epochs, "batch_size": 128},
        "evaluation": {"samples": samples or 1, "passes": 1, "every": 1, "batch_size": 1000},
    }
    if not samples:
        return {**found, "inference": "deterministic"}
    return {**found, "inference": "bayesian", "bayesian": {"samples": samples}}


def ask(model: str, samples: int = 0, epochs: int = 160, device: str = "auto"):
    return request(settings(model, samples, epochs), 45_000, (3, 32, 32), device)


def count(name: str) -> Cost:
    """A model's cost, counted layer by layer."""
    model = models.build(name, (3, 32, 32), 10, seed=0).eval()
    operations, activations = [], []

    def hook(module, _, output) -> None:
        activations.append(output.numel())
        weight = getattr(module, "weight", None)
        if weight is not None and weight.dim() > 1:
            operations.append(output.numel() * weight[0].numel())

    for module in model.modules():
        if not list(module.children()):
            module.register_forward_hook(hook)
    with torch.no_grad():
        model(torch.zeros(1, 3, 32, 32))
    parameters = sum(tensor.numel() for tensor in model.parameters())
    return Cost(parameters / 1e6, sum(operations) / 1e6, sum(activations) / 1e3)


@pytest.mark.parametrize("name", MODELS)
def test_the_costs_are_the_models(name: str) -> None:
    assert tuple(COSTS[name]) == pytest.approx(tuple(count(name)), rel=0.05)


def test_larger_work_asks_for_more() -> None:
    small = ask("resnet20")
    assert ask("resnet110").minutes > small.minutes
    assert ask("resnet20", samples=10).minutes > small.minutes
    assert ask("resnet20", epochs=320).minutes > small.minutes
    assert ask("vit_base").memory_mb > small.memory_mb
    assert ask("resnet20", samples=10, device="cpu").memory_mb > ask("resnet20", device="cpu")[1]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_estimators_that_perturb_images_apart_ask_for_more(estimator: str) -> None:
    found = settings("resnet20", samples=10, epochs=1)
    found["bayesian"]["estimator"] = estimator
    asked = request(found, 45_000, (3, 32, 32), "cpu")
    plain = ask("resnet20", samples=10, epochs=1, device="cpu")
    if estimator == "weights":
        assert asked == plain
    else:
        assert asked.minutes > plain.minutes and asked.memory_mb > plain.memory_mb


# Minutes a level of 160 epochs that the paper reports, on A100 and H100.
PAPER = {"resnet20": (12, 33), "vgg11": (13, 72), "vit_tiny": (9, 51)}


@pytest.mark.parametrize("model", PAPER)
def test_the_papers_times_fit(model: str) -> None:
    for minutes, samples in zip(PAPER[model], (0, 10), strict=True):
        assert 1.5 * minutes < ask(model, samples).minutes


def test_only_a_cpu_needs_no_gpu() -> None:
    assert [ask("vgg11", device=device).gpu for device in ("auto", "cuda", "cpu")] == [1, 1, 0]


def test_a_retry_asks_for_more_and_never_for_more_than_a_day() -> None:
    first = ask("resnet20")
    assert first.attempt(1) == first
    assert first.attempt(2) == (1, 2 * first.memory_mb, 2 * first.minutes)
    assert ask("vit_base", samples=10).attempt(3).minutes == LONGEST_MINUTES


def test_unknown_models_and_images_have_an_answer() -> None:
    answer = request(settings("of_your_own"), None, None, "auto")
    assert answer.minutes > ask("resnet20").minutes
