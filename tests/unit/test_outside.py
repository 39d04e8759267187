"""Whole runs against independent ones, in distribution over seeds, on scikit-learn's digits.

Pruning by `torch.nn.utils.prune` in a plain loop; Bayesian training by torch-blue's own modules and
loss; calibration of kept predictions by netcal and torchmetrics.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from netcal.metrics import ACE, ECE
from torch import nn
from torch.nn.utils import prune
from torch_blue.vi import KullbackLeiblerLoss
from torch_blue.vi.distributions import Categorical, MeanFieldNormal
from torch_blue.vi.utils.convert import convert_to_vimodule
from torchmetrics.functional.classification import multiclass_calibration_error

from bayesian_lottery import study
from bayesian_lottery.data import decoded, sources
from bayesian_lottery.files import read_json, read_tensors
from bayesian_lottery.study import configuration
from bayesian_lottery.training import jobs

pytestmark = pytest.mark.slow

SCHEMA = Path(__file__).parents[2] / "workflow/schemas/config.schema.yaml"
SEEDS, LEVELS, FRACTION = 5, 4, 0.45
EPOCHS, RATE, BATCH = 7, 0.005, 64
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


def perceptron() -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 50), nn.ReLU(),
        nn.Linear(50, 10),
    )  # fmt: skip


def fit(model: nn.Module, loss_of, images, labels) -> None:
    """The plainest of loops: Adam, a new order each epoch, the last incomplete batch dropped."""
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    for _ in range(EPOCHS):
        order = torch.randperm(len(labels))
        for batch in order[: len(order) // BATCH * BATCH].split(BATCH):
            optimizer.zero_grad()
            loss_of(images[batch], labels[batch]).backward()
            optimizer.step()


def accuracy_of(model: nn.Module, images, labels) -> float:
    with torch.no_grad():
        return (model(images).argmax(1) == labels).float().mean().item()


def pruned_by_torch(digits) -> np.ndarray:
    """Test accuracies of iterative magnitude pruning with reset, (seeds, levels)."""
    (images, labels), test = digits
    found = np.zeros((SEEDS, LEVELS + 1))
    for seed in range(SEEDS):
        torch.manual_seed(1000 + seed)
        model = perceptron()
        layers = [layer for layer in model if isinstance(layer, nn.Linear)]
        initial = [(layer.weight.detach().clone(), layer.bias.detach().clone()) for layer in layers]
        for level in range(LEVELS + 1):
            fit(model, lambda x, y, m=model: F.cross_entropy(m(x), y), images, labels)
            found[seed, level] = accuracy_of(model, *test)
            pruned = [(layer, "weight") for layer in layers[:-1]]
            prune.global_unstructured(pruned, prune.L1Unstructured, amount=FRACTION)
            for layer, (weight, bias) in zip(layers, initial, strict=True):
                kept = getattr(layer, "weight_orig", layer.weight)
                kept.data.copy_(weight)
                layer.bias.data.copy_(bias)
    return found


def pruned_at_random(digits) -> list[float]:
    """Test accuracies of networks as sparse as the last level, pruned at random, of each seed."""
    (images, labels), test = digits
    found = []
    for seed in range(SEEDS):
        torch.manual_seed(2000 + seed)
        model = perceptron()
        layers = [layer for layer in model if isinstance(layer, nn.Linear)][:-1]
        share = 1 - (1 - FRACTION) ** LEVELS
        pairs = [(layer, "weight") for layer in layers]
        prune.global_unstructured(pairs, prune.RandomUnstructured, amount=share)
        fit(model, lambda x, y, m=model: F.cross_entropy(m(x), y), images, labels)
        found.append(accuracy_of(model, *test))
    return found


def apart(ours, theirs) -> tuple[float, float]:
    """The difference of two means, and its standard error."""
    error = np.sqrt(np.var(ours, ddof=1) / len(ours) + np.var(theirs, ddof=1) / len(theirs))
    return float(np.mean(ours) - np.mean(theirs)), float(error)


def test_tickets_are_as_good_as_those_of_torchs_own_pruning(trained, digits):
    theirs = pruned_by_torch(digits)
    for level in range(LEVELS + 1):
        ours = finals(trained, "deterministic", level, "accuracy")
        difference, error = apart(ours, theirs[:, level])
        assert error < 0.01, "too noisy to tell"
        assert abs(difference) < FEW * error, (level, ours, theirs[:, level])
    sparsest = finals(trained, "deterministic", LEVELS, "accuracy")
    difference, error = apart(sparsest, pruned_at_random(digits))
    assert difference > FEW * error, "pruning at random is told apart"


def trained_by_torch_blue(digits, std: float) -> list[tuple[float, float]]:
    """Test accuracy and NLL of each seed, by torch-blue's modules, samples, loss and no more."""
    (images, labels), (test, truth) = digits
    found = []
    for seed in range(SEEDS):
        torch.manual_seed(3000 + seed)
        model = perceptron()
        convert_to_vimodule(
            model,
            keep_weights=True,
            variational_distribution=MeanFieldNormal(std=std),
            prior=MeanFieldNormal(std=1.0),
        )
        loss = KullbackLeiblerLoss(Categorical(), dataset_size=len(labels), heat=HEAT)
        fit(model, lambda x, y, m=model, of=loss: of(m(x, samples=SAMPLES), y), images, labels)
        with torch.no_grad():
            probabilities = model(test, samples=10).as_subclass(torch.Tensor).softmax(-1).mean(0)
        nll = F.nll_loss(probabilities.log(), truth).item()
        found.append(((probabilities.argmax(1) == truth).float().mean().item(), nll))
    return found


def test_bayesian_networks_are_as_good_as_by_torch_blues_own_loop(trained, digits):
    theirs = np.array(trained_by_torch_blue(digits, STD))
    for column, metric in enumerate(("accuracy", "nll")):
        ours = finals(trained, "bayesian", 0, metric)
        difference, error = apart(ours, theirs[:, column])
        assert error < (0.01, 0.05)[column], "too noisy to tell"
        assert abs(difference) < FEW * error, (metric, ours, theirs[:, column])
    wide = np.array(trained_by_torch_blue(digits, 30 * STD))
    difference, error = apart(finals(trained, "bayesian", 0, "nll"), wide[:, 1])
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
