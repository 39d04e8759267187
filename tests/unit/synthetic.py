"""Made-up metrics files for tests of tables and figures: repeatable, shaped like a study."""

import functools
import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from bayesian_lottery.files import write_json
from bayesian_lottery.study import Node
from bayesian_lottery.study.node_metrics import METRICS

LAYERS = {"resnet20": 19, "resnet110": 109, "vgg11": 8, "vit_tiny": 49}
SCORERS = {"deterministic": ("magnitude",), "bayesian": ("snr", "square", "mu")}
BRANCHES = {
    "deterministic": (
        "reinit", "shuffle_layerwise", "shuffle_even", "shuffle_global", "transplant_initial",
        "transplant_trained",
    ),
    "bayesian": ("reinit", "shuffle_layerwise", "shuffle_even", "shuffle_global"),
}  # fmt: skip
_CEILING = {"resnet20": 0.91, "resnet110": 0.93, "vgg11": 0.89, "vit_tiny": 0.78}
_HARM = {"reinit": 3, "shuffle_layerwise": 4, "shuffle_even": 7, "shuffle_global": 7}


def _layers(sizes: list[int], survivors: int, steepness: float) -> list[int]:
    """Survivors of each layer, the fewer the deeper it lies; they add up to `survivors`."""
    density = survivors / sum(sizes)
    shares = [n * density ** (0.6 + steepness * i / len(sizes)) for i, n in enumerate(sizes)]
    kept = [min(n, int(survivors * s / sum(shares))) for n, s in zip(sizes, shares, strict=True)]
    for index in itertools.cycle(range(len(sizes))):
        if sum(kept) == survivors:
            return kept
        kept[index] += kept[index] < sizes[index]


def sizes(model: str) -> dict[str, int]:
    """The weights of each layer of a model."""
    return {f"layers.{i}.weight": 500 * (2 + i % 4) for i in range(LAYERS.get(model, 3))}


@functools.cache
def survivors(model: str, level: int, inference: str) -> dict[str, int]:
    """The weights of each layer that a level keeps; deeper layers are pruned more, and of Bayesian
    networks even more so."""
    weights = sizes(model)
    left = sum(weights.values())
    for _ in range(level):
        left -= int(0.2 * left)
    kept = _layers([*weights.values()], left, 1.2 if inference == "bayesian" else 0.9)
    return dict(zip(weights, kept, strict=True))


def metrics(
    level: int = 0,
    *,
    dataset: str = "digits",
    model: str = "resnet20",
    inference: str = "bayesian",
    curriculum: str = "paper",
    seed: int = 0,
    scorer: str | None = "snr",
    rewind: str | None = "imp",
    branch: str | None = None,
    replicate: int | None = None,
    search: str | None = None,
    ranking: str | None = None,
    pattern: str | None = None,
    selected: bool = True,
    device: str = "cpu",
    epochs: int = 40,
) -> dict:
    """The metrics of one node, as its metrics.json holds them."""
    if level == 0:
        scorer = rewind = None
    weights = sizes(model)
    bayesian = inference == "bayesian" or (branch or "").startswith("transplant")
    kept = survivors(model, level, "bayesian" if bayesian else inference)
    prunable = sum(weights.values())
    density = sum(kept.values()) / prunable
    node = {
        "dataset": dataset, "model": model, "inference": inference, "curriculum": curriculum,
        "seed": seed, "scorer": scorer, "rewind": rewind, "level": level, "branch": branch,
        "replicate": replicate,
    }  # fmt: skip
    later = {"search": search, "ranking": ranking, "pattern": pattern}
    node |= {name: value for name, value in later.items() if value and level}
    noise = random.Random(str(node))
    harm = {"square": 0.006, "mu": 0.0013}.get(scorer, 0.001) * _HARM.get(branch, 1)
    ceiling = _CEILING.get(model, 0.95) - 0.02 * (curriculum == "low") + 0.005 * (rewind == "lrr")
    accuracy = ceiling - 0.015 * bayesian - harm * (1 / density - 1)
    accuracy = max(0.1, accuracy + noise.gauss(0, 0.004))

    def measured(best: float, epoch: int) -> dict:
        values = {
            "accuracy": best,
            "nll": 2 * (1 - best),
            "brier": 1 - best,
            "ece": 0.05,
            "mace": max(0.01, (0.06 if bayesian else 0.12) - 0.0004 / density + (1 - best) / 8),
            "entropy": 0.4,
            "mutual_information": 0.1 if bayesian else None,
        }
        return {"epoch": epoch, **values}

    final = measured(accuracy - 0.005, epochs)
    passes = {
        name: None if final[name] is None
        else [final[name] + 0.002 * noise.gauss(0, 1) * bayesian for _ in range(9 * bayesian + 1)]
        for name in METRICS
    }  # fmt: skip
    return {
        "node": node,
        "settings": {
            "dataset": dataset, "model": model, "inference": "bayesian" if bayesian else inference,
            "curriculum": {"epochs": epochs, "batch_size": 128},
            "evaluation": {"every": 1, "passes": 10, "samples": 10},
            "validation": 0.1,
        },
        "density": density,
        "survivors": sum(kept.values()),
        "prunable": prunable,
        "layers": [
            {"name": name, "size": size, "survivors": kept[name]} for name, size in weights.items()
        ],
        "results": {
            "peak": measured(accuracy, max(1, epochs - 9)),
            "final": final,
            "selected": measured(accuracy - 0.002, max(1, epochs - 5)) if selected else None,
        },
        "passes": passes,
        "cost": {
            "seconds": 60.5 * (1 + 2 * bayesian) + noise.random(), "seconds_training": 50.0,
            "seconds_evaluation": 10.5, "epochs": epochs, "peak_memory_bytes": 2**30,
            "side_by_side": 1, "resumed_at_steps": [],
        },
        "provenance": {
            "git_commit": "0123abc", "device": device, "threads": 1,
            "versions": {"torch": "2.11.0"}, "finished": "2026-01-01T00:00:00+00:00",
        },
    }  # fmt: skip


def of(node: Node, settings: dict) -> dict:
    """The metrics of a node that was trained by `settings`."""
    epochs = settings["curriculum"]["epochs"]
    return {**metrics(**node.coordinates(), epochs=epochs), "settings": settings}


def study(
    models=("resnet20",),
    inferences=("deterministic", "bayesian"),
    seeds=(0, 1, 2),
    levels: int = 20,
    **coordinates,
) -> Iterator[dict]:
    """The metrics of all trunks of a study; each dense node once."""
    for model in models:
        for inference in inferences:
            for seed in seeds:
                shared = {"model": model, "inference": inference, "seed": seed, **coordinates}
                yield metrics(0, **shared)
                for scorer in SCORERS[inference]:
                    for level in range(1, levels + 1):
                        yield metrics(level, scorer=scorer, **shared)


def branches(
    models=("resnet20",), seeds=(0, 1, 2), levels=range(1, 21), replicates: int = 2
) -> Iterator[dict]:
    """The metrics of all branches of a study's magnitude and SNR trunks."""
    every = itertools.product(models, BRANCHES, seeds, levels, range(replicates))
    for model, inference, seed, level, replicate in every:
        for branch in BRANCHES[inference]:
            yield metrics(
                level, model=model, inference=inference, seed=seed, scorer=SCORERS[inference][0],
                branch=branch, replicate=replicate,
            )  # fmt: skip


def ways(models=("resnet20",), seeds=(0, 1), levels: int = 6) -> Iterator[dict]:
    """The metrics of levels that are found by other searches."""
    for model, inference, seed in itertools.product(models, SCORERS, seeds):
        main = SCORERS[inference][0]
        for search, scorer in (
            ("one_shot", main),
            ("early", main),
            ("at_init", "random"),
            ("at_init", "snip"),
            ("at_init", "synflow"),
            ("dynamic", main),
            ("gradual", main),
        ):
            for level in range(1, levels + 1):
                yield metrics(
                    level, model=model, inference=inference, seed=seed, scorer=scorer,
                    search=search,
                )  # fmt: skip


def full(levels: int = 6, seeds=(0, 1)) -> list[dict]:
    """The metrics of a study that feeds every figure."""
    main = ("resnet20", "vit_tiny")
    return [
        *study((*main, "resnet110"), seeds=seeds, levels=levels),
        *branches(main, seeds, range(1, levels + 1)),
        *study(main, seeds=seeds, levels=levels, curriculum="low"),
        *(
            node
            for node in study(main, seeds=seeds, levels=levels, rewind="lrr")
            if node["node"]["level"] > 0
        ),
        *ways(main, seeds, levels),
    ]


def write(folder: Path, nodes) -> list[Path]:
    """Write each node's metrics to the file that its coordinates spell."""
    paths = []
    with mock.patch("os.fsync"):  # what is made up need not survive a power cut
        for node in nodes:
            paths.append(folder / Node(**node["node"]).folder / "metrics.json")
            write_json(paths[-1], node)
    return paths
