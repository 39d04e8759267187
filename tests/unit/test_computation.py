"""Changed numbers are noticed: a small study against what the same version computed before.

After a change that is meant to change numbers, raise VERSION in src/bayesian_lottery/computation.py
and store the new numbers: `python tests/unit/test_computation.py`.
"""

import csv
import json
import tempfile
from pathlib import Path

import pytest
from small_study import MODELS, SmallStudy

from bayesian_lottery.computation import VERSION
from bayesian_lottery.files import read_tensors
from bayesian_lottery.study import node_metrics

STORED = Path(__file__).with_name("computation.json")
# Vector instructions and threads change these numbers by 1e-5 at most; but of weights of nearly the
# same score another may be pruned, which shows at the next level.
TOLERANCES = {0: 1e-4, 1: 5e-3}
COLUMNS = ("loss", "train_nll", "test_nll", "test_brier", "test_entropy")
ADVICE = (
    "The code computes other numbers than version {} of the computation did. If that is meant,"
    " raise VERSION in src/bayesian_lottery/computation.py, and store the new numbers:"
    " python tests/unit/test_computation.py"
)


def recompute(folder: Path) -> dict[str, dict]:
    """Numbers of each node of a small study, by its name and its level."""
    small, found = SmallStudy(folder), {}

    def train(name: str, model: str, inference: str, **coordinates) -> None:
        node = small.node(model, inference, **coordinates)
        small.train(node)
        found[f"{name}, {inference}, level {node.level}"] = numbers(small, node)

    for model in MODELS:
        for inference in ("deterministic", "bayesian"):
            train(model, model, inference)
    for inference in ("deterministic", "bayesian"):
        train("sgd", "lenet_100_50", inference, curriculum="sgd")
        for rewind in ("imp", "lrr"):
            train(rewind, "lenet_100_50", inference, rewind=rewind, level=1)
    for branch in ("reinit", "shuffle_even"):
        train(branch, "lenet_100_50", "deterministic", branch=branch, level=1)
    for estimator in ("local_reparameterisation", "flipout"):
        small.config["bayesian"]["estimator"] = estimator
        train(estimator, "lenet_100_50", "bayesian")
    return found


def numbers(small: SmallStudy, node) -> dict:
    """What training, evaluation and pruning have made of a node."""
    with small.path(node, "history.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    weights, _ = read_tensors(small.path(node, "weights.safetensors"))
    initial, _ = read_tensors(small.inputs(node)["initial"])
    moved = 0.0
    for name, tensor in weights.items():
        start = initial.get(
            name.replace("._weight_mean", ".weight").replace("._bias_mean", ".bias")
        )
        if start is not None and start.is_floating_point():
            moved += float((tensor - start)[tensor != 0].double().square().sum())
    metrics = node_metrics.read(small.path(node, "metrics.json"))
    return {
        **{name: float(last[name]) for name in COLUMNS},
        "moved": moved**0.5,  # survivors, from their initial values
        "layers": [layer["survivors"] for layer in metrics["layers"]],
    }


@pytest.mark.slow
def test_the_numbers_are_those_that_this_version_has_computed_before(tmp_path):
    stored = json.loads(STORED.read_text()).get(str(VERSION))
    assert stored, f"Nothing is stored for version {VERSION}: python tests/unit/test_computation.py"
    found = recompute(tmp_path)
    for name, expected in stored.items():
        layers, counts = expected.pop("layers"), found[name].pop("layers")
        tolerance = TOLERANCES[int(name[-1])]
        advice = f"{name}: {ADVICE.format(VERSION)}"
        assert found[name] == pytest.approx(expected, rel=tolerance), advice
        assert counts == pytest.approx(layers, abs=2), advice


if __name__ == "__main__":
    if str(VERSION) in json.loads(STORED.read_text()):
        raise SystemExit(f"{STORED} has the numbers of version {VERSION}; raise VERSION first.")
    with tempfile.TemporaryDirectory() as folder:
        STORED.write_text(json.dumps({VERSION: recompute(Path(folder))}, indent=1) + "\n")
