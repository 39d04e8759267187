"""A small study's files, as jobs and Snakemake leave them in a working directory."""

import base64
import os
from pathlib import Path

import synthetic
import yaml

from bayesian_lottery import study
from bayesian_lottery.files import read_json, write_json
from bayesian_lottery.running import progress, work
from bayesian_lottery.running.progress import State
from bayesian_lottery.study import Node, configuration

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
NOW = 2_000_000_000.0
HALFWAY = "step 40/80, epoch 2, loss 0.5, test accuracy 0.9, 1m30s left\n"
STUDY = {
    "datasets": {"digits": {"source": "digits"}},
    "curricula": {"short": {"epochs": 4, "learning_rate": 0.01}},
    "trunks": [
        {
            "dataset": "digits",
            "model": "lenet_100_50",
            "inference": "deterministic",
            "scorer": "magnitude",
            "curriculum": "short",
            "seeds": [0, 1],
            "levels": 2,
        }
    ],
}


class Tree:
    """A working directory with the study's files, as jobs and Snakemake would write them."""

    def __init__(self):
        Path("study.yaml").write_text(yaml.safe_dump(STUDY))
        self.config, self.nodes = configuration.load(["study.yaml"], [], SCHEMA)

    def node(self, seed: int, level: int) -> Node:
        return next(n for n in self.nodes if (n.seed, n.level) == (seed, level))

    def write(self, path: str | Path, text: str = "", ago: float = 0.0) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (NOW - ago, NOW - ago))

    def done(self, node: Node, **changes) -> None:
        metrics = synthetic.of(node, {**study.node_settings(self.config, node), **changes})
        synthetic.write(Path("results"), [metrics])

    def computed_by(self, node: Node, version: int) -> str:
        """Another version's result, and its path."""
        self.done(node)
        path = f"results/{node.folder}/metrics.json"
        metrics = read_json(path)
        metrics["provenance"]["computation"] = version
        write_json(path, metrics)
        return path

    def log(self, node: Node, text: str, ago: float = 0.0) -> None:
        self.write(f"results/logs/{node.folder}.log", text, ago)

    def started(self, node: Node, ago: float = 0.0) -> None:
        """Snakemake's marker, as its persistence writes it where names have up to 100 letters."""
        coded = base64.urlsafe_b64encode(f"results/{node.folder}/metrics.json".encode()).decode()
        parts = [coded[i : i + 99] for i in range(0, len(coded), 99)]
        *folders, name = parts
        marker = Path(".snakemake/incomplete", *("@" + part for part in folders), name)
        self.write(marker, '{"external_jobid": null}', ago)

    def failed(self, node: Node) -> None:
        self.write(
            ".snakemake/log/2033-05-18T033320.000000.snakemake.log",
            "[Wed May 18 03:33:20 2033]\nError in rule train_level:\n    jobid: 8\n"
            f"    log: results/logs/{node.folder}.log (check log file(s) for error details)\n",
        )

    def status(self, seconds: float | None = 100.0) -> progress.Status:
        found = work.runs("results")
        return progress.status(
            self.config, self.nodes, found, lambda settings: seconds, Path(".snakemake"), NOW
        )

    def state(self, node: Node) -> State:
        return next(seen.state for seen in self.status().jobs if seen.job.node == node)
