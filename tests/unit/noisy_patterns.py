"""Runs of the training job on a small data set of noisy patterns."""

import torch

from bayesian_lottery import models
from bayesian_lottery.data import decoded
from bayesian_lottery.files import read_json
from bayesian_lottery.tickets import masks
from bayesian_lottery.training import jobs

CURRICULUM = {
    "epochs": 3,
    "optimizer": "adam",
    "learning_rate": 3e-3,
    "weight_decay": 1e-4,
    "batch_size": 32,
    "milestones": [2],
    "gamma": 0.1,
    "warmup_epochs": 1,
    "momentum": 0.9,
}
NODE = {"dataset": "blobs", "model": "any", "seed": 0, "level": 1}


def settings(model="lenet_100_50", inference="bayesian", **changes):
    scorer = {"bayesian": "snr", "deterministic": "magnitude"}[inference]
    found = {
        "dataset": "blobs",
        "augment": {"flip": True, "crop": 1},
        "validation": 0.2,
        "model": model,
        "inference": inference,
        "curriculum": {**CURRICULUM, **changes},
        "prune_fraction": 0.2,
        "evaluation": {"samples": 2, "passes": 3, "every": 1, "bins": 10, "batch_size": 100},
        "seed": 0,
        "scorer": scorer,
        "rewind": "imp",
        "level": 1,
        "branch": None,
    }
    if inference == "bayesian":
        found["bayesian"] = {
            "samples": 2,
            "heat": 0.1,
            "initial_std": 0.01,
            "prior_std": 1.0,
            "likelihood": "categorical",
        }
    return found


def prepare(folder):
    """A small data set of ten noisy patterns, and initial weights and masks of three models."""
    stream = torch.Generator().manual_seed(0)
    patterns = torch.randint(256, (10, 1, 8, 8), generator=stream)

    def split(count):
        labels = torch.arange(count) % 10
        noise = torch.randint(-60, 60, (count, 1, 8, 8), generator=stream)
        return decoded.Split((patterns[labels] + noise).clamp(0, 255).to(torch.uint8), labels)

    train, test = split(400), split(100)
    mean, std = decoded.channel_statistics(train.images)
    classes = tuple("abcdefghij")
    decoded.save(
        folder / "data", decoded.Images("blobs", classes, train, test, mean, std), "made here"
    )
    for model in ("lenet_100_50", "resnet8_slim", "vit_nano"):
        jobs.initialise(folder / "data", model, 0, folder / model)
        shapes = models.prunable(models.build(model, (1, 8, 8), 10, seed=None))
        scores = {name: torch.rand(s, generator=stream) for name, s in shapes.items()}
        masks.save(folder / f"{model}.mask", masks.prune(masks.ones(shapes), scores, 0.5))
    return folder


def outputs(folder):
    return jobs.Outputs(
        folder / "metrics.json",
        folder / "history.csv",
        folder / "weights.safetensors",
        {"snr": folder / "next.safetensors"},
    )


def run(inputs, folder, options, checkpoint_seconds=1000.0):
    model = options["model"]
    out = outputs(folder)
    if options["inference"] == "deterministic":
        out = jobs.Outputs(out.metrics, out.history, out.weights, {"magnitude": folder / "next"})
    start = jobs.Inputs(inputs / "data", inputs / model, inputs / f"{model}.mask")
    jobs.train_nodes([jobs.Task(NODE, options, start, out)], "cpu", checkpoint_seconds)


def numbers(folder):
    """Everything of a run's files that must not depend on interruptions."""
    metrics = read_json(folder / "metrics.json")
    history = (folder / "history.csv").read_text().splitlines()
    columns = history[0].split(",")
    kept = [i for i, c in enumerate(columns) if c not in ("seconds", "peak_memory_bytes")]
    rows = [[line.split(",")[i] for i in kept] for line in history]
    weights = (folder / "weights.safetensors").read_bytes()
    return metrics["results"], metrics["passes"], rows, weights
