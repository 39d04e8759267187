"""A made-up study that tests publish: its configuration, its metrics and what figure 3 shows."""

from pathlib import Path

import synthetic
import yaml

from bayesian_lottery import models, study
from bayesian_lottery.files import write_json, write_tensors
from bayesian_lottery.findings import publishing
from bayesian_lottery.study import configuration
from bayesian_lottery.tickets import masks

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "workflow/schemas/config.schema.yaml"
TRUNK = {"dataset": "digits", "model": "lenet_100_50", "curriculum": "short", "levels": 6}
CONFIGURATION = {
    "datasets": {"digits": {"source": "digits"}},
    "curricula": {"short": {"epochs": 7, "learning_rate": 0.005}},
    "trunks": [
        {**TRUNK, "inference": "deterministic", "scorer": "magnitude", "seeds": [0, 1]},
        {**TRUNK, "inference": "bayesian", "scorer": ["snr", "square", "mu"], "seeds": [0, 1]},
    ],
    "branches": [
        {"branch": ["reinit", "shuffle_global"], "scorer": ["magnitude", "snr"], "levels": [3, 5]}
    ],
    "claims": {"margin": 0.02},
}
SHIFTS = [
    {"shift": "noise", "strength": strength, "accuracy": 0.9 - strength / 10, "nll": 0.3,
     "ece": 0.1} for strength in (1, 2, 3)
]  # fmt: skip


def make(folder: Path) -> None:
    """Write made-up metrics of the study above, and the masks and weights that figure 3 shows."""
    config = {**CONFIGURATION, "results": str(folder / "results")}
    text = "# Digits, in miniature.\n#\n# Reduced: all of it. By itself:\n#\n#     snakemake\n\n"
    (folder / "small.yaml").write_text(text + yaml.safe_dump(config))
    config, nodes = load(folder)
    for node in nodes:
        made = synthetic.of(node, study.node_settings(config, node))
        path = Path(config["results"], node.folder, "metrics.json")
        write_json(path, {**made, "shifts": SHIFTS})
    plain = models.build("lenet_100_50", (1, 8, 8), 10, seed=0)
    mask = masks.ones(models.prunable(plain))
    for node in nodes:
        if node.scorer == "magnitude" and node.seed == 0:
            files = study.node_inputs(config, node)
            write_tensors(files["initial"], plain.state_dict())
            masks.save(files["mask"], mask)
            if node.branch:
                masks.save(Path(config["results"], node.folder, "mask.safetensors"), mask)


def load(folder: Path) -> tuple[dict, list[study.Node]]:
    return configuration.load([folder / "small.yaml"], [], SCHEMA)


def publish(loaded, unit: Path, *seeds: int) -> dict:
    config, nodes = loaded
    own = [node for node in nodes if node.seed in seeds]
    return publishing.publish(config, own, unit, f"snakemake --cores {seeds[0]}", ["small.yaml"])
