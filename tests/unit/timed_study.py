"""A small study of digits, and metrics of nodes that took as long as is said."""

from pathlib import Path

import synthetic
import yaml

from bayesian_lottery import study
from bayesian_lottery.running import speeds
from bayesian_lottery.study import Node, configuration
from bayesian_lottery.study.datasets import Images

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


def load() -> tuple[dict, list[Node]]:
    """The study's configuration, written to the working directory, and its 7 nodes."""
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
