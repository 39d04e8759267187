"""A small configuration, copies of it with a changed value, and the schema."""

import copy
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
SCHEMA_FILE = ROOT / "workflow/schemas/config.schema.yaml"
SCHEMA = yaml.safe_load(SCHEMA_FILE.read_text())


def configured(folder: Path) -> dict:
    """A small study, with every default that `validate` reads; nothing is prepared yet."""
    curriculum = {"epochs": 9, "learning_rate": 0.01, "batch_size": 64}
    shared = {"dataset": "digits", "model": "lenet_100_50", "rewind": "imp", "levels": 2}
    shared |= {"curriculum": "demo", "seeds": [0]}
    return {
        "results": str(folder),
        "datasets": {"digits": {"source": "digits", "validation": 0.1, "augment": {"crop": 1}}},
        "curricula": {"demo": {**curriculum, "milestones": [6], "warmup_epochs": 0}},
        "figures": {},
        "branches": [],
        "bayesian": {"estimator": "weights", "antithetic": False},
        "compute": {"capture": False},
        "networks_per_job": 1,
        "trunks": [
            {**shared, "inference": "deterministic", "scorer": "magnitude"},
            {**shared, "inference": "bayesian", "scorer": ["snr", "mu"]},
        ],
    }


def changed(config: dict, path: str, value: object) -> dict:
    """A copy of `config` with the value at the dotted `path`, where digits index lists."""
    config = copy.deepcopy(config)
    *parents, last = (int(step) if step.isdigit() else step for step in path.split("."))
    place = config
    for key in parents:
        place = place[key] if isinstance(key, int) else place.setdefault(key, {})
    place[last] = value
    return config
