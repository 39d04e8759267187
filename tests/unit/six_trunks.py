"""A configuration of two deterministic and four Bayesian trunks, and nodes of it."""

from dataclasses import replace

from bayesian_lottery.study import Node

CURRICULUM = {"epochs": 2, "learning_rate": 0.1, "batch_size": 8, "milestones": []}
DENSE = Node("digits", "lenet5", "bayesian", "short", 0, None, None, 0)


def configuration() -> dict:
    """Two deterministic and four Bayesian trunks, with all defaults filled in."""
    shared = {"dataset": "digits", "model": "lenet5", "rewind": "imp", "seeds": [0, 1]}
    return {
        "results": "out",
        "datasets": {
            "digits": {
                "source": "digits",
                "validation": 0.1,
                "augment": {"flip": False, "crop": 1},
            },
            "other": {"source": "digits", "validation": 0.0, "augment": {}},
        },
        "curricula": {"short": CURRICULUM, "long": {**CURRICULUM, "epochs": 9}},
        "prune_fraction": 0.2,
        "bayesian": {"samples": 3, "heat": 0.1},
        "evaluation": {"samples": 4, "passes": 5, "every": 1, "bins": 10, "batch_size": 100},
        "checkpoint_seconds": 300,
        "device": "auto",
        "weights": "needed",
        "branches": [],
        "compute": {"precision": "auto"},
        "trunks": [
            {
                **shared,
                "inference": "deterministic",
                "scorer": "magnitude",
                "curriculum": "short",
                "levels": 3,
            },
            {
                **shared,
                "inference": "bayesian",
                "scorer": ["snr", "mu"],
                "curriculum": ["short", "long"],
                "seeds": [0],
                "levels": 2,
            },
        ],
    }


def level(number: int, scorer: str = "snr", rewind: str = "imp") -> Node:
    return Node("digits", "lenet5", "bayesian", "short", 0, scorer, rewind, number)


def one_shot(number: int, rewind: str = "imp") -> Node:
    return replace(level(number, rewind=rewind), search="one_shot")


def with_branches(config, **entry):
    return {**config, "branches": [{"levels": [1], "replicates": 1, **entry}]}
