"""Whole runs against independent ones, in distribution over seeds, on scikit-learn's digits.

Pruning by `torch.nn.utils.prune` in a plain loop; Bayesian training by torch-blue's own modules and
loss (both of benchmarks/independent.py, as MNIST has them in benchmarks/outside.py); calibration of
kept predictions by netcal and torchmetrics.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from image_files import write_mnist
from netcal.metrics import ACE, ECE
from torchmetrics.functional.classification import multiclass_calibration_error

from bayesian_lottery import study
from bayesian_lottery.data import decoded, sources
from bayesian_lottery.files import read_json, read_tensors
from bayesian_lottery.study import configuration
from bayesian_lottery.training import jobs

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "benchmarks"))
import independent  # noqa: E402

pytestmark = pytest.mark.slow

SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
SEEDS, LEVELS, FRACTION = 5, 4, 0.45
EPOCHS, RATE, BATCH = 7, 0.005, 64
BY = independent.Recipe(EPOCHS, RATE, BATCH)
SAMPLES, HEAT, STD = 3, 0.1, 0.1
FEW = 3.5  # standard errors of a difference; two runs of one kind differ by more once in 400 times
TRUNK = {"dataset": "digits", "model": "lenet_100_50", "curriculum": "short"}
STUDY = {
    "datasets": {"digits": {"source": "digits", "validation": 0}},
    "curricula": {"short": {"epochs": EPOCHS, "learning_rate": RATE, "batch_size": BATCH}},
    "prune_fraction": FRACTION,
    "bayesian": {"samples": SAMPLES, "heat": HEAT, "initial_std": STD},
    "evaluation": {"samples": 10, "passes": 1, "every": EPOCHS},
    "trunks": [
        {**TRUNK, "inference": "deterministic", "scorer": "magnitude", "levels": LEVELS,
         "seeds": list(range(SEEDS))},
        {**TRUNK, "inference": "bayesian", "scorer": "snr", "levels": 1,
         "seeds": list(range(SEEDS))},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The study, trained but for the Bayesian tickets: its configuration and nodes."""
    folder = tmp_path_factory.mktemp("outside")
    (folder / "study.yaml").write_text(yaml.safe_dump({**STUDY, "results": str(folder)}))
    config, nodes = configuration.load([folder / "study.yaml"], [], SCHEMA)
    nodes = [node for node in nodes if node.inference == "deterministic" or not node.level]
    data = Path(study.data_file(config, "digits"))
    sources.prepare("digits", config["datasets"]["digits"], data, 1)
    for seed in range(SEEDS):
        start = next(study.node_inputs(config, node) for node in nodes if node.seed == seed)
        jobs.initialise(data, "lenet_100_50", seed, Path(start["initial"]))
    for node in sorted(nodes, key=lambda node: node.level):
        files = study.files(config, node)
        inputs = {k: Path(v) for k, v in files["inputs"].items() if isinstance(v, str)}
        outputs = {k: Path(v) for k, v in files["outputs"].items() if isinstance(v, str)}
        outputs["next_masks"] = {k: Path(v) for k, v in files["outputs"]["next_masks"].items()}
        told = node.coordinates(), study.node_settings(config, node)
        jobs.train_nodes([jobs.Task(*told, jobs.Inputs(**inputs), jobs.Outputs(**outputs))], "cpu")
    return config, nodes


def finals(trained, inference: str, level: int, metric: str) -> list[float]:
    config, nodes = trained
    wanted = [node for node in nodes if (node.inference, node.level) == (inference, level)]
    files = [Path(config["results"], node.folder, "metrics.json") for node in wanted]
    return [read_json(file)["results"]["final"][metric] for file in files]


@pytest.fixture(scope="module")
def digits(trained):
    """Normalised images and labels, of training and of test."""
    images = decoded.load(study.data_file(trained[0], "digits"))
    scale = images.train.images.float().div(255)
    mean, std = scale.mean(), scale.std()
    return [
        (split.images.float().div(255).sub(mean).div(std), split.labels)
        for split in (images.train, images.test)
    ]


def test_tickets_are_as_good_as_those_of_torchs_own_pruning(trained, digits):
    levels = LEVELS, FRACTION
    theirs = of_seeds(lambda m: independent.pruned_iteratively(m, *digits, BY, *levels), 1000)
    for level in range(LEVELS + 1):
        ours = finals(trained, "deterministic", level, "accuracy")
        difference, error = independent.apart(ours, theirs[:, level])
        assert error < 0.01, "too noisy to tell"
        assert abs(difference) < FEW * error, (level, ours, theirs[:, level])
    sparsest = finals(trained, "deterministic", LEVELS, "accuracy")
    share = 1 - (1 - FRACTION) ** LEVELS
    others = of_seeds(lambda m: independent.pruned_at_random(m, *digits, BY, share), 2000)
    difference, error = independent.apart(sparsest, others)
    assert difference > FEW * error, "pruning at random is told apart"


def of_seeds(run, first: int) -> np.ndarray:
    """What `run` gives for a new network of each seed."""
    found = []
    for seed in range(SEEDS):
        torch.manual_seed(first + seed)
        found.append(run(independent.perceptron(64, 100, 50, 10)))
    return np.array(found)


def test_bayesian_networks_are_as_good_as_by_torch_blues_own_loop(trained, digits):
    def theirs_of(std: float) -> np.ndarray:
        told = SAMPLES, HEAT, std, 10
        return of_seeds(lambda m: independent.by_torch_blue(m, *digits, BY, *told), 3000)

    theirs = theirs_of(STD)
    for column, metric in enumerate(("accuracy", "nll")):
        ours = finals(trained, "bayesian", 0, metric)
        difference, error = independent.apart(ours, theirs[:, column])
        assert error < (0.01, 0.05)[column], "too noisy to tell"
        assert abs(difference) < FEW * error, (metric, ours, theirs[:, column])
    wide = theirs_of(30 * STD)[:, 1]
    difference, error = independent.apart(finals(trained, "bayesian", 0, "nll"), wide)
    assert difference < -FEW * error, "another deviation at the start is told apart"


@pytest.mark.parametrize("inference", ["deterministic", "bayesian"])
def test_calibration_of_kept_predictions_is_what_libraries_say(trained, digits, inference):
    config, nodes = trained
    truth = digits[1][1]
    for node in [node for node in nodes if node.inference == inference]:
        folder = Path(config["results"], node.folder)
        kept = read_tensors(folder / "predictions.safetensors")[0]["probabilities"].float()
        passes = read_json(folder / "metrics.json")["passes"]
        bins = config["evaluation"]["bins"]
        ece = multiclass_calibration_error(kept / kept.sum(1, keepdim=True), truth, 10, n_bins=bins)
        # float16 rounds: a confidence at a bin's edge may fall into the next one.
        assert passes["ece"][0] == pytest.approx(ece.item(), abs=2e-3)
        values = kept.numpy().astype(np.float64)
        assert passes["ece"][0] == pytest.approx(ECE(bins).measure(values, truth.numpy()), abs=2e-3)
        assert passes["mace"][0] == pytest.approx(
            ACE(bins).measure(values, truth.numpy()), abs=5e-2
        )


def test_published_runs_are_put_beside_independent_ones(tmp_path):
    write_mnist(tmp_path, 600)  # of noise
    command = [sys.executable, ROOT / "benchmarks/outside.py", "--root", tmp_path]
    command += ["--seeds", "2", "--levels", "1"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = [line.split(" | ") for line in printed.splitlines() if "(2)" in line]
    assert [row[0] for row in rows] == [
        "| deterministic, 100.0 %", "| deterministic, 64.0 %", *["| Bayesian, dense"] * 2,
    ]  # fmt: skip
    for _, measured, ours, theirs, _ in rows[:3]:
        assert measured == "accuracy, %"
        assert float(ours.split()[0]) > 97 > float(theirs.split()[0])
