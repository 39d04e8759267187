"""What a study costs: counted sizes and operations, measured times, and the table of them."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import synthetic
import torch
import yaml
from PIL import Image

from bayesian_lottery import models, study
from bayesian_lottery.errors import InputError
from bayesian_lottery.inference import networks
from bayesian_lottery.inference.kinds import KINDS
from bayesian_lottery.running import cost, progress, reports, speeds, work
from bayesian_lottery.running.speeds import Measured, Speed
from bayesian_lottery.study import Node, configuration, datasets
from bayesian_lottery.study.datasets import Images, Undecoded

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
DIGITS = Images(train=1294, validation=144, test=359, shape=(1, 8, 8), classes=10)
STUDY = {
    "datasets": {"digits": {"source": "digits"}},
    "curricula": {"short": {"epochs": 4, "learning_rate": 0.01, "batch_size": 64}},
    "bayesian": {"samples": 3},
    "evaluation": {"samples": 5, "passes": 2, "every": 2},
    "trunks": [
        {
            "dataset": "digits",
            "model": "lenet_100_50",
            "inference": inference,
            "scorer": scorer,
            "curriculum": "short",
            "seeds": [0],
            "levels": 2,
        }
        for inference, scorer in (("deterministic", "magnitude"), ("bayesian", "snr"))
    ],
    "branches": [{"branch": "transplant_trained", "inference": "deterministic", "levels": [1]}],
}


@pytest.fixture
def loaded(tmp_path, monkeypatch) -> tuple[dict, list[Node]]:
    """The study's configuration, in an empty working directory, and its 7 nodes."""
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(yaml.safe_dump(STUDY))
    return configuration.load(["study.yaml"], [], SCHEMA)


def node(nodes: list[Node], inference: str, level: int, branch: str | None = None) -> Node:
    wanted = (inference, level, branch)
    return next(n for n in nodes if (n.inference, n.level, n.branch) == wanted)


def finish(
    config: dict,
    node: Node,
    an_epoch: float,
    a_test: float,
    device: str = "AMD EPYC",
    side_by_side: int = 1,
    **changes,
) -> None:
    """Write the metrics of a node that took so long."""
    settings = study.node_settings(config, node)
    epochs = settings["curriculum"]["epochs"]
    training, test = epochs * an_epoch, speeds.evaluated(settings, DIGITS) * a_test
    metrics = synthetic.of(node, {**settings, **changes})
    metrics["cost"] |= {
        "seconds": training + test,
        "seconds_training": training,
        "seconds_evaluation": test,
        "side_by_side": side_by_side,
    }
    metrics["provenance"] |= {"device": device, "threads": 2}
    synthetic.write(Path(config["results"]), [metrics])
    benchmark = Path(config["results"]) / f"benchmarks/{node.folder}.tsv"
    benchmark.parent.mkdir(parents=True, exist_ok=True)
    benchmark.write_text(f"s\th:m:s\n{training + test + 5}\t0:00:01\n")


def test_a_pools_time_is_not_called_measured_where_nothing_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "config/montecarlo.yaml", "study.yaml")
    found = cost.estimate(*configuration.load(["study.yaml"], [], SCHEMA))
    assert any(item.job.node and item.job.node.branch == "chains" for item in found.items)
    assert not any(item.measured for item in found.items)


@pytest.mark.parametrize(
    ("model", "billions"),
    [
        ("resnet20", 0.041),
        ("resnet110", 0.253),
        ("resnet18", 0.555),
        ("vgg11", 0.153),
        ("vgg19", 0.398),
        ("vit_tiny", 0.365),
        ("vit_base", 5.60),
    ],
)
def test_multiply_adds(model, billions):
    found = cost.size(model, (3, 32, 32), 10).multiply_adds / 1e9
    assert found == pytest.approx(billions, abs=0.5 * 10 ** -len(str(billions).partition(".")[2]))


def test_multiply_adds_of_a_perceptron_by_hand():
    found = cost.size("lenet_100_50", (1, 8, 8), 10)
    weights = 64 * 100 + 100 * 50 + 50 * 10
    assert found.multiply_adds == weights
    assert found.parameters == found.random == weights + 100 + 50 + 10
    assert found.prunable == 64 * 100 + 100 * 50


@pytest.mark.parametrize("inference", ["deterministic", "bayesian"])
@pytest.mark.parametrize("model", ["resnet8_slim", "vit_nano", "lenet_100_50"])
def test_bytes_of_weights_are_those_that_are_saved(model, inference):
    template = models.build(model, (1, 8, 8), 10)
    network = networks.build(inference, template, {"initial_std": 0.1, "prior_std": 1.0})
    saved = sum(tensor.numel() * tensor.element_size() for tensor in network.state().values())
    assert cost.size(model, (1, 8, 8), 10).weight_bytes(KINDS[inference]) == saved


def test_counting_needs_no_memory_and_leaves_the_random_state():
    before = torch.get_rng_state()
    cost.size.cache_clear()
    cost.size("vit_nano", (1, 8, 8), 10)
    assert torch.equal(before, torch.get_rng_state())


def test_images_are_read_from_the_decoded_file_where_there_is_one(loaded):
    config, _ = loaded
    assert datasets.images_of(config, "digits") == DIGITS
    pytest.importorskip("sklearn")
    from bayesian_lottery.data import sources

    sources.prepare("digits", {"source": "digits"}, study.data_file(config, "digits"))
    assert datasets.images_of(config, "digits") == DIGITS
    stored = Path(study.data_file(config, "digits")).stat().st_size
    assert stored == pytest.approx(DIGITS.stored_bytes, rel=0.01)


def test_tests_count_epochs_passes_and_samples(loaded):
    config, nodes = loaded
    dense = study.node_settings(config, node(nodes, "deterministic", 0))
    assert speeds.evaluated(dense, DIGITS) == 2 * (359 + 144) + 359
    bayesian = study.node_settings(config, node(nodes, "bayesian", 0))
    assert speeds.evaluated(bayesian, DIGITS) == 5 * (2 * (359 + 144) + 2 * 359)


def test_flops_are_three_forward_passes_a_sample_and_the_tests(loaded):
    config, nodes = loaded
    settings = study.node_settings(config, node(nodes, "bayesian", 0))
    tests = speeds.evaluated(settings, DIGITS)
    assert speeds.flops(settings, DIGITS, 1000) == 2 * 1000 * (3 * 1294 * 4 * 3 + tests)


@pytest.mark.parametrize(
    ("options", "gradients", "images"),
    [
        ({"kind": "nuts", "warmup": 10, "draws": 20, "depth": 4}, 30 * 15, 1294),
        ({"kind": "hmc", "warmup": 10, "draws": 20, "steps": 50, "images": 500}, 30 * 50, 500),
        ({"kind": "mclmc", "warmup": 10, "draws": 20, "steps": 2.5}, 30 * 2 * 5, 1294),
    ],
)
def test_a_chain_is_as_many_gradients_as_it_takes_at_most(loaded, options, gradients, images):
    config, nodes = loaded
    config = {**config, "inferences": {"chain": {**options, "keep": 7}}}
    chain = replace(node(nodes, "deterministic", 0), inference="chain")
    settings = study.node_settings(config, chain)
    assert speeds.training(settings, DIGITS) == (gradients, gradients * images)
    tests = 7 * (2 * (359 + 144) + 359)  # a pass for each of the draws that are kept
    assert speeds.evaluated(settings, DIGITS) == tests
    assert speeds.flops(settings, DIGITS, 1000) == 2000 * (3 * gradients * images + tests)


def test_nodes_of_another_estimator_are_of_another_kind(loaded):
    config, nodes = loaded
    settings = study.node_settings(config, node(nodes, "bayesian", 0))
    other = {**settings, "bayesian": {**settings["bayesian"], "estimator": "flipout"}}
    assert speeds.kind(settings) != speeds.kind(other)
    tests = 2 * 1000 * speeds.evaluated(settings, DIGITS)
    training = speeds.flops(settings, DIGITS, 1000) - tests
    assert speeds.flops(other, DIGITS, 1000) == 3 * training + tests


def test_a_step_takes_its_operations_and_a_fixed_time_besides(loaded):
    config, nodes = loaded
    settings = study.node_settings(config, node(nodes, "bayesian", 0))
    steps = 4 * (1294 // 64)
    arithmetic = speeds.flops(settings, DIGITS, 10**6) / 1e9
    found = speeds.assumed_seconds(settings, DIGITS, 10**6, Speed(1e-3, 0.01))
    assert found == pytest.approx(arithmetic + steps / 100)


@pytest.mark.parametrize("model", speeds.PUBLISHED)
@pytest.mark.parametrize("samples", [1, 10])
def test_the_papers_models_take_the_published_minutes(model, samples):
    settings = {
        "curriculum": {"epochs": 160, "batch_size": 128},
        "evaluation": {"every": 1, "passes": 0, "samples": samples},
        "inference": "bayesian",
        "bayesian": {"samples": samples},
    }
    cifar = Images(train=50_000, validation=0, test=10_000, shape=(3, 32, 32), classes=10)
    multiply_adds = cost.size(model, cifar.shape, cifar.classes).multiply_adds
    speed = speeds.published(model)
    minutes = speeds.assumed_seconds(settings, cifar, multiply_adds, speed) / 60
    assert minutes == pytest.approx(speeds.PUBLISHED[model][samples == 10], rel=0.005)


def test_other_models_are_as_fast_as_their_family_or_as_resnet20():
    assert speeds.published("vit_base") == speeds.published("vit_tiny")
    assert speeds.published("vgg19") == speeds.published("vgg11") != speeds.published("resnet110")
    for model in ("lenet5", "of_your_own"):
        assert speeds.published(model) == speeds.published("resnet20")


def test_nothing_measured(loaded):
    config, nodes = loaded
    found = cost.estimate(config, nodes)
    assert found.device == "gpu" and found.measured == Measured()
    assert [item.measured for item in found.items] == [False] * len(found.items)
    assert len(found.items) == 1 + 1 + 7 and not any(item.done for item in found.items)
    text = reports.of_estimate(found, [1])
    assert "Published: minutes a level" in text and "resnet20 12 and 33" in text
    assert "Assumed" not in text and "Measured" not in text


def test_a_rate_of_ones_own_replaces_the_published_times(loaded):
    config, nodes = loaded
    text = reports.of_estimate(cost.estimate(config, nodes, tflops=3.0), [1])
    assert "Assumed: 3 TFLOP/s" in text and "Published" not in text


def test_measured_kinds_are_those_of_the_results_and_the_rest_is_counted(loaded):
    config, nodes = loaded
    for level, an_epoch in ((0, 10.0), (1, 30.0), (2, 20.0)):
        finish(config, node(nodes, "bayesian", level), an_epoch, 1e-3)
    found = cost.estimate(config, nodes)
    assert found.device == "cpu" and found.measured.threads == 2
    assert found.measured.start == pytest.approx(5)
    # The median of 10, 30 and 20 an epoch; a transplant trains as a Bayesian network does.
    tests = speeds.evaluated(study.node_settings(config, node(nodes, "bayesian", 0)), DIGITS)
    expected = pytest.approx(5 + 4 * 20 + 1e-3 * tests)
    by_stage = {item.job.stage: item for item in found.items}
    assert by_stage["trunks, bayesian"].seconds == expected
    assert by_stage["branches, transplant_trained"].seconds == expected
    assert by_stage["branches, transplant_trained"].measured
    assert not by_stage["trunks, deterministic"].measured
    assert found.speed.tflops == 2 * speeds.CORE.tflops
    text = reports.of_estimate(found, [1])
    assert "measured (4), assumed (3)" in text and "on AMD EPYC, 2 thread(s) a job" in text


def test_a_measured_time_follows_epochs_and_tests(loaded):
    config, nodes = loaded
    dense = node(nodes, "deterministic", 0)
    finish(config, dense, 3.0, 1e-3)
    config["curricula"]["short"]["epochs"] = 8
    config["evaluation"]["every"] = 1
    settings = study.node_settings(config, dense)
    measured = speeds.measure(config, work.runs(config["results"]))
    expected = 5 + 8 * 3.0 + 1e-3 * (8 * (359 + 144) + 359)
    assert measured.seconds(settings) == pytest.approx(expected)
    config["curricula"]["short"]["batch_size"] = 32
    assert measured.seconds(study.node_settings(config, dense)) is None


def test_measured_on_most_of_the_devices_or_on_the_one_asked_for(loaded):
    config, nodes = loaded
    finish(config, node(nodes, "bayesian", 0), 9.0, 1e-3, device="AMD EPYC")
    for level in (1, 2):
        finish(config, node(nodes, "bayesian", level), 1.0, 1e-3, device="NVIDIA H200")
    assert cost.estimate(config, nodes).measured.device == "NVIDIA H200"
    on_cpu = cost.estimate(config, nodes, device="cpu")
    assert on_cpu.measured.device == "AMD EPYC"
    assert cost.estimate({**config, "device": "cpu"}, nodes).measured == on_cpu.measured
    besides = speeds.published("resnet20").step_seconds
    assert cost.estimate(config, nodes, tflops=3.0).speed == Speed(3.0, besides)
    assert cost.estimate(config, nodes).speed is None


def test_networks_side_by_side_tell_nothing_of_networks_alone(loaded):
    config, nodes = loaded
    finish(config, node(nodes, "bayesian", 0), 9.0, 1e-3)
    finish(config, node(nodes, "bayesian", 1), 2.0, 1e-3, side_by_side=3)
    settings = study.node_settings(config, node(nodes, "bayesian", 2))
    for networks_per_job, an_epoch in ((1, 9.0), (4, 2.0)):
        config["networks_per_job"] = networks_per_job
        measured = speeds.measure(config, work.runs(config["results"]))
        tests = speeds.evaluated(settings, DIGITS)
        expected = measured.start + 4 * an_epoch + 1e-3 * tests
        assert measured.seconds(settings) == pytest.approx(expected)


def test_done_are_results_of_todays_settings(loaded):
    config, nodes = loaded
    finish(config, node(nodes, "deterministic", 0), 1.0, 1e-3)
    finish(config, node(nodes, "bayesian", 0), 1.0, 1e-3, prune_fraction=0.9)
    found = cost.estimate(config, nodes)
    assert [item.job.node for item in found.items if item.done] == [node(nodes, "deterministic", 0)]
    assert found.stale == 1 and len(found.left) == 6
    assert "1 nodes have results of other settings" in reports.of_estimate(found, [1])


def test_everything_done(loaded):
    config, nodes = loaded
    for each in nodes:
        finish(config, each, 1.0, 1e-3)
    text = reports.of_estimate(cost.estimate(config, nodes), [1])
    assert "Everything is trained." in text and "Time left" not in text


def test_weights_that_stay(loaded):
    config, nodes = loaded
    network = cost.size("lenet_100_50", (1, 8, 8), 10)
    weights, mask = network.weight_bytes(KINDS["bayesian"]), network.prunable / 8
    text = 12_000 + 4 * 500 + 2 * 359 * 10

    def kept(each: Node, config: dict = config) -> tuple[int, int]:
        return cost.node_bytes(config, each, study.node_settings(config, each), network, DIGITS)

    checkpoint = weights + 8 * network.trained(KINDS["bayesian"])
    dense, level = node(nodes, "bayesian", 0), node(nodes, "bayesian", 1)
    assert kept(dense) == (text + 3 * mask + weights, checkpoint)  # a mask a scorer
    assert kept(level) == (text + mask, checkpoint + weights)
    assert kept(replace(level, rewind="lrr")) == (text + mask + weights, checkpoint)
    assert kept(level, {**config, "weights": "all"}) == (text + mask + weights, checkpoint)
    drawing = {**config, "inferences": {"chain": {"kind": "sghmc", "keep": 7}}}
    chain = network.weight_bytes(KINDS["sghmc"]) + 7 * 4 * network.parameters
    assert kept(replace(dense, inference="chain"), drawing)[0] == text + 3 * mask + chain
    transplant = node(nodes, "deterministic", 1, "transplant_trained")
    assert kept(transplant) == (text + mask, checkpoint + weights)


def test_the_time_is_the_work_over_the_jobs_or_the_longest_chain(loaded):
    config, nodes = loaded
    found = cost.estimate(config, nodes)
    work = sum(found.left.values())
    assert found.wall(1) == pytest.approx(work)
    # dense -> level 1 -> level 2 of the Bayesian trunk, whose networks take the longest
    assert found.chain == pytest.approx(3 * found.left[node(nodes, "bayesian", 0)])
    assert found.wall(100) == found.chain


def test_a_branch_waits_for_the_weights_that_it_needs():
    dense = Node("digits", "lenet5", "deterministic", "short", 0, None, None, 0)
    level = replace(dense, scorer="magnitude", rewind="imp", level=1)
    trained = replace(level, branch="transplant_trained", replicate=0)
    drawn = replace(level, branch="reinit", replicate=0)
    assert progress.longest_chain({}, {dense: 1, level: 10, trained: 100}) == 111
    assert progress.longest_chain({}, {dense: 1, level: 10, drawn: 100}) == 101
    assert progress.longest_chain({}, {level: 10, drawn: 100}) == 100  # the dense one is done
    assert progress.longest_chain({}, {}) == 0


def test_a_data_set_of_unknown_size_is_refused(loaded):
    config, nodes = loaded
    for path in (Path("pets", label, f"{n}.png") for label in ("cat", "dog") for n in range(5)):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(path)
    config["datasets"]["digits"] = {"source": "imagefolder", "root": "pets", "validation": 0.1}
    assert datasets.images_of(config, "digits") == Undecoded((1, 8, 8), 2)
    with pytest.raises(InputError, match=r"snakemake --cores 1 results/data/digits\.safetensors"):
        cost.estimate(config, nodes)


def test_a_model_a_row(loaded):
    config, nodes = loaded
    text = reports.of_estimate(cost.estimate(config, nodes), [1], by="model")
    assert [line.split("  ")[0] for line in text.splitlines()[2:6]] == [
        "data",
        "initial weights",
        "lenet_100_50, deterministic",
        "lenet_100_50, bayesian",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.001, "<0.01"), (0.0123, "0.012"), (1.26, "1.3"), (126.4, "126"), (1e4, "10,000")],
)
def test_numbers(value, text):
    assert reports._number(value) == text


def test_the_papers_study_by_the_script(tmp_path):
    run = subprocess.run(
        [
            *(sys.executable, "scripts/estimate.py", "--configfile", "config/cifar10.yaml"),
            *("--config", f"results={tmp_path}", "--gpus", "4", "--tflops", "10"),
        ],
        cwd=ROOT,
        env={"PYTHONPATH": "src", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert "GPU-hours" in run.stdout and "with 4." in run.stdout


def test_what_is_wrong_is_said_in_a_sentence(tmp_path):
    run = subprocess.run(
        [sys.executable, ROOT / "scripts/estimate.py", "--configfile", "none.yaml"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert run.stderr.startswith("error: none.yaml: no such file")


def measured_card(folder, **seconds):
    """A card.json of gpu_check.py: the seconds of an epoch, (deterministic, Bayesian), by model."""
    rows = [
        {"model": model, "inference": inference, "deterministic": strict, "capture": capture}
        | {"seconds": value * (1 if strict and not capture else 0.5)}
        for model, values in seconds.items()
        for inference, value in zip(("deterministic", "bayesian"), values, strict=True)
        for strict in (True, False)
        for capture in (False, True)
    ]
    path = folder / "card.json"
    path.write_text(json.dumps({"parts": [], "epochs": {"rows": rows}}))
    return path


def test_the_speeds_of_a_card_take_the_place_of_the_papers(tmp_path):
    paper = {model: [value * 60 / 160 for value in v] for model, v in speeds.PUBLISHED.items()}
    card = speeds.card(measured_card(tmp_path, **paper))
    for model in ("resnet20", "vgg16", "vit_base", "lenet5"):
        assert speeds.published(model, card) == pytest.approx(speeds.published(model))
    twice = {model: [2 * value for value in values] for model, values in paper.items()}
    slower = speeds.published("vgg11", speeds.card(measured_card(tmp_path, **twice)))
    assert slower.tflops == pytest.approx(speeds.published("vgg11").tflops / 2)


@pytest.mark.parametrize("content", [{}, {"epochs": {"rows": [{}]}}, {"epochs": {"rows": []}}])
def test_a_card_without_epochs_is_refused(tmp_path, content):
    (tmp_path / "card.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"card\.json"):
        speeds.card(tmp_path / "card.json")
