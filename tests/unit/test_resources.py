"""What jobs ask a cluster for."""

import json
from pathlib import Path

import pytest
import torch

from bayesian_lottery import models
from bayesian_lottery.inference.variational import ESTIMATORS
from bayesian_lottery.models import MODELS
from bayesian_lottery.models.costs import COSTS, Cost
from bayesian_lottery.running import cost
from bayesian_lottery.running.resources import LONGEST_MINUTES, request
from bayesian_lottery.study.datasets import Images, Undecoded

CIFAR = Images(train=45_000, validation=5_000, test=10_000, shape=(3, 32, 32), classes=10)
DIGITS = Images(train=1294, validation=144, test=359, shape=(1, 8, 8), classes=10)


def settings(model: str, samples: int = 0, epochs: int = 160) -> dict:
    found = {
        "model": model,
        "seed": 0,
        "curriculum": {"epochs": epochs, "batch_size": 128},
        "evaluation": {"samples": samples or 1, "passes": 1, "every": 1, "batch_size": 1000},
    }
    if not samples:
        return {**found, "inference": "deterministic"}
    return {**found, "inference": "bayesian", "bayesian": {"samples": samples}}


def ask(model: str, samples: int = 0, epochs: int = 160, device: str = "auto"):
    return request(settings(model, samples, epochs), CIFAR, device)


def count(name: str) -> Cost:
    """A model's cost, counted anew."""
    size = cost.size(name, (3, 32, 32), 10)
    activations = []
    model = models.build(name, (3, 32, 32), 10, seed=0).eval()
    for module in model.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda _, __, output: activations.append(output.numel()))
    with torch.no_grad():
        model(torch.zeros(1, 3, 32, 32))
    return Cost(size.parameters / 1e6, size.multiply_adds / 1e6, sum(activations) / 1e3)


@pytest.mark.parametrize("name", MODELS)
def test_the_costs_are_the_models(name: str) -> None:
    assert tuple(COSTS[name]) == pytest.approx(tuple(count(name)), rel=0.01)


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
    asked = request(found, CIFAR, "cpu")
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
    answer = request(settings("of_your_own"), Undecoded(None, None), "auto")
    assert answer.minutes > ask("resnet20").minutes


def test_four_small_jobs_fill_a_node_of_four_gpus_and_16_gb() -> None:
    small = request(settings("resnet8_slim", samples=3), DIGITS, "auto")
    assert 4 * small.memory_mb <= 16_000
    assert request(settings("resnet8_slim", samples=3), DIGITS, "cpu").memory_mb <= 1_500


MADE_BY = {"samples": 10, "epochs": 4}


def finish(folder: Path, device: str = "NVIDIA H100", **took: float) -> Path:
    """Write the metrics of a dense network."""
    metrics = {
        "settings": {**settings("resnet20", **MADE_BY), "seed": 1},
        "cost": {"seconds": 1200.0, "peak_memory_bytes": 10**10, "side_by_side": 1, **took},
        "provenance": {"device": device},
    }
    path = folder / f"{len(list(folder.iterdir()))}.json"
    path.write_text(json.dumps(metrics))
    return path


def test_requests_follow_what_dense_networks_of_any_seed_took(tmp_path: Path) -> None:
    done = [
        finish(tmp_path, seconds=600.0, peak_main_memory_bytes=2e9),
        finish(tmp_path, seconds=1200.0, peak_main_memory_bytes=3e9),
    ]
    asked = request(settings("resnet20", **MADE_BY), CIFAR, "auto", like=done)
    assert asked == (1, 4900, 10 + 2 * 20)  # 1.5 times the larger peak, twice the longer time


def test_requests_follow_them_wherever_a_ticket_comes_from(tmp_path: Path) -> None:
    done = [finish(tmp_path, peak_main_memory_bytes=3e9)]
    plain = settings("resnet20", **MADE_BY)
    ticket = {"level": 3, "rewind": "late_2", "rewinding": {"kind": "late", "epochs": 2}}
    ticket |= {"search": "mine", "search_options": {"kind": "at_init"}, "pieces": {"seed": 1}}
    ticket |= {"ranking": "own", "ranking_options": {"kind": "global"}, "pattern": "units"}
    asked = request(plain, CIFAR, "auto", like=done)
    assert request(plain | ticket, CIFAR, "auto", like=done) == asked
    taught = plain | {"objective": {"kind": "distilled"}}
    assert request(taught, CIFAR, "auto", like=done) != asked


def test_results_without_the_peak_of_main_memory_tell_it_on_a_cpu_only(tmp_path: Path) -> None:
    plain = request(settings("resnet20", **MADE_BY), CIFAR, "auto")
    on_gpu = request(settings("resnet20", **MADE_BY), CIFAR, "auto", like=[finish(tmp_path)])
    assert on_gpu == (1, plain.memory_mb, 50)
    done = [finish(tmp_path, device="AMD EPYC")]
    assert request(settings("resnet20", **MADE_BY), CIFAR, "cpu", like=done) == (0, 15_400, 50)


def test_a_measured_peak_never_asks_for_less_than_the_smallest_job_takes(tmp_path: Path) -> None:
    done = [finish(tmp_path, peak_main_memory_bytes=3e8)]
    assert request(settings("resnet20", **MADE_BY), CIFAR, "auto", like=done).memory_mb == 1200


@pytest.mark.parametrize(
    "other",
    [
        {"settings": settings("resnet20", samples=10, epochs=5)},
        {"provenance": {"device": "AMD EPYC"}},
        {"cost": {"seconds": 1.0, "peak_memory_bytes": 1, "side_by_side": 2}},
        {"cost": {"seconds": 1.0}},
    ],
    ids=["settings", "device", "side by side", "incomplete"],
)
def test_results_that_tell_nothing_are_left_aside(tmp_path: Path, other: dict) -> None:
    path = finish(tmp_path, peak_main_memory_bytes=2e9)
    path.write_text(json.dumps(json.loads(path.read_text()) | other))
    plain = request(settings("resnet20", **MADE_BY), CIFAR, "auto")
    assert request(settings("resnet20", **MADE_BY), CIFAR, "auto", like=[path]) == plain
    (tmp_path / "cut.json").write_text("{")
    missing = [tmp_path / "cut.json", tmp_path / "none.json"]
    assert request(settings("resnet20", **MADE_BY), CIFAR, "auto", like=missing) == plain


def test_networks_side_by_side_ask_for_what_their_number_takes(tmp_path: Path) -> None:
    share = {"seconds": 60.0, "peak_main_memory_bytes": 2e9, "side_by_side": 4}
    done = [finish(tmp_path, **share)]
    wanted = settings("resnet20", **MADE_BY)
    assert request(wanted, CIFAR, "auto", networks=4, like=done) == (1, 3400, 10 + 2 * 4)
    assert request(wanted, CIFAR, "auto", networks=8, like=done) == (1, 6400, 10 + 2 * 8)
    assert request(wanted, CIFAR, "auto", networks=2, like=done) == (1, 3400, 10 + 2 * 4)
