"""A small study whose files the package's own jobs make, in seconds and without Snakemake."""

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import yaml

from bayesian_lottery import study
from bayesian_lottery.data import decoded
from bayesian_lottery.study import Node, configuration
from bayesian_lottery.training import jobs

SCHEMA = Path(__file__).parents[2] / "workflow/schemas/config.schema.yaml"
MODELS = ("lenet_100_50", "resnet8_slim", "vit_nano")
STUDY = {
    "datasets": {
        "digits": {"source": "digits", "validation": 0.2, "augment": {"flip": True, "crop": 1}}
    },
    "curricula": {
        "adam": {"epochs": 2, "learning_rate": 0.003, "batch_size": 32, "weight_decay": 1e-4},
        "sgd": {"epochs": 2, "optimizer": "sgd", "learning_rate": 0.05, "batch_size": 32},
    },
    "bayesian": {"samples": 2},
    "evaluation": {"samples": 2, "passes": 2, "batch_size": 50},
    "trunks": [
        {
            "dataset": "digits",
            "model": list(MODELS),
            "inference": inference,
            "scorer": scorer,
            "rewind": ["imp", "lrr"],
            "curriculum": ["adam", "sgd"],
            "seeds": [0],
            "levels": 1,
        }
        for inference, scorer in (("deterministic", "magnitude"), ("bayesian", "snr"))
    ],
    "branches": [
        {"branch": ["reinit", "shuffle_even"], "inference": "deterministic", "levels": [1]}
    ],
}


class SmallStudy:
    """A study in a folder, with its data set of ten noisy patterns and its initial weights.

    They are made unless `prepare` is false; `changes` are other keys of the configuration.
    """

    def __init__(self, folder: Path, prepare: bool = True, **changes):
        config = {**STUDY, **changes, "results": str(folder)}
        (folder / "study.yaml").write_text(yaml.safe_dump(config))
        self.config, self.nodes = configuration.load([folder / "study.yaml"], [], SCHEMA)
        self.data = Path(study.data_file(self.config, "digits"))
        if prepare:
            self._prepare()

    def _prepare(self) -> None:
        stream = torch.Generator().manual_seed(0)
        patterns = torch.randint(256, (10, 1, 8, 8), generator=stream)

        def split(count: int) -> decoded.Split:
            labels = torch.arange(count) % 10
            noise = torch.randint(-60, 60, (count, 1, 8, 8), generator=stream)
            return decoded.Split((patterns[labels] + noise).clamp(0, 255).to(torch.uint8), labels)

        train, test = split(200), split(50)
        statistics = decoded.channel_statistics(train.images)
        images = decoded.Images("digits", tuple("abcdefghij"), train, test, *statistics)
        decoded.save(self.data, images, "made here")
        for model, node in {node.model: node.dense for node in self.nodes}.items():
            jobs.initialise(self.data, model, 0, Path(self.inputs(node)["initial"]))

    def node(self, model: str, inference="deterministic", curriculum="adam", **others) -> Node:
        """The first node of these coordinates; dense, if they name no level."""
        wanted = {
            "model": model,
            "inference": inference,
            "curriculum": curriculum,
            "level": 0,
            "branch": None,
        }
        wanted |= others
        return next(n for n in self.nodes if wanted.items() <= n.coordinates().items())

    def inputs(self, node: Node) -> dict[str, str]:
        return study.node_inputs(self.config, node)

    def outputs(self, node: Node) -> dict:
        return study.node_outputs(self.config, node)

    def path(self, node: Node, name: str) -> Path:
        """A file in the node's folder."""
        return Path(self.config["results"], node.folder, name)

    def task(self, node: Node) -> jobs.Task:
        def paths(found: Mapping) -> dict:
            return {k: paths(v) if isinstance(v, dict) else Path(v) for k, v in found.items()}

        return jobs.Task(
            node.coordinates(),
            study.node_settings(self.config, node),
            jobs.Inputs(**paths(self.inputs(node))),
            jobs.Outputs(**paths(self.outputs(node))),
        )

    def train(self, node: Node, checkpoint_seconds: float = 1000.0) -> None:
        jobs.train_nodes([self.task(node)], "cpu", checkpoint_seconds)

    def numbers(self, node: Node) -> dict[str, bytes]:
        """The bytes of the node's files that do not depend on when and where it ran."""
        outputs = self.outputs(node)
        paths = [outputs[name] for name in ("weights", "mask", "predictions") if name in outputs]
        paths += self.outputs(node).get("next_masks", {}).values()
        return {Path(path).name: Path(path).read_bytes() for path in paths}


def interrupted(monkeypatch, after: int, run: Callable[[], None]) -> None:
    """Run until the checkpoint number `after` is written, and break off there."""
    from bayesian_lottery.training import checkpoints

    save, saved = checkpoints.save, []

    def save_and_die(*arguments):
        save(*arguments)
        saved.append(1)
        if len(saved) == after:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save", save_and_die)
        try:
            run()
        except KeyboardInterrupt:
            return
    raise AssertionError("it ended before that checkpoint")
