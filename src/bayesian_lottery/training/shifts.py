"""Shifts: corrupted test images, and images of other data sets, under a trained network."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from bayesian_lottery.data import decoded
from bayesian_lottery.data.decoded import Images, Split
from bayesian_lottery.inference import kinds
from bayesian_lottery.randomness import generator
from bayesian_lottery.study.shifts import STRENGTHS
from bayesian_lottery.training import evaluation
from bayesian_lottery.training.engine import Engine
from bayesian_lottery.training.metrics import Predictions


def corrupt(images: Tensor, name: str, level: int, stream: torch.Generator) -> Tensor:
    """Images (N, C, H, W) uint8 under the corruption `name`, at strength `level`, 1 to 3."""
    from bayesian_lottery.training import corruptions  # torchvision takes a second

    transform, strength = getattr(corruptions, name), STRENGTHS[name][level - 1]
    return transform(images / 255, strength, stream).clamp(0, 1).mul(255).round().to(torch.uint8)


def adapt(images: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Images (N, C, H, W) uint8 of another data set in the `shape` (C, H, W) of this one.

    They are scaled bilinearly; colours become their mean, and a grey channel is repeated.
    """
    values = images.float()
    if tuple(values.shape[-2:]) != shape[1:]:
        values = F.interpolate(values, shape[1:], mode="bilinear", antialias=True)
    if values.shape[1] != shape[0]:
        values = values.mean(1, keepdim=True).expand(-1, shape[0], -1, -1)
    return values.round().to(torch.uint8)


def measure(
    engine: Engine,
    images: Images,
    settings: Mapping,
    stream: Sequence[object],
    others: Mapping[str, Path],
) -> dict[str, list[dict]]:
    """What the final weights make of shifted images; one pass over each set.

    Returns:
        Nothing where the settings ask for nothing. Else `shifts`, an entry a corruption and
        strength: accuracy, NLL and ECE; and `out_of_distribution`, an entry a data set of
        `others`: the AUROC with which the predictive entropy, and the mutual information, tell its
        test images from those of this data set (None without weight samples).
    """
    wanted = settings["evaluation"].get("shifts", [])
    rows = [
        {"shift": name, "strength": level, **_under(engine, images, settings, stream, name, level)}
        for name in wanted
        for level in (1, 2, 3)
    ]
    measured: dict[str, list[dict]] = {"shifts": rows} if rows else {}
    if others:
        known = evaluation.one_pass(engine, images, images.test, settings, (*stream, "pass", 0))
        measured["out_of_distribution"] = [
            {"dataset": name, **_apart(engine, images, settings, stream, known, name, path)}
            for name, path in others.items()
        ]
    return measured


def _under(
    engine: Engine, images: Images, settings: Mapping, stream: Sequence, name: str, level: int
) -> dict[str, float | None]:
    test, device = images.test, images.mean.device
    drawing = generator("shifts", images.name, name, level, device=device)
    pieces = [
        corrupt(decoded.to_device(piece, device), name, level, drawing)
        for piece in test.images.split(1000)
    ]
    shifted = Split(torch.cat(pieces), test.labels)
    predictions = evaluation.one_pass(engine, images, shifted, settings, (*stream, name, level))
    values = evaluation.judge(predictions, images, shifted, settings)
    return {metric: values[metric] for metric in ("accuracy", "nll", "ece")}


def _apart(
    engine: Engine,
    images: Images,
    settings: Mapping,
    stream: Sequence,
    known: Predictions,
    name: str,
    path: Path,
) -> dict[str, float | None]:
    from sklearn.metrics import roc_auc_score  # takes a second

    test = decoded.load(path, images.mean.device).test
    foreign = Split(adapt(test.images, images.image_shape), test.labels)
    predictions = evaluation.one_pass(
        engine, images, foreign, settings, (*stream, "out_of_distribution", name)
    )
    is_foreign = [0] * len(images.test) + [1] * len(foreign)

    def auroc(quantity: str) -> float:
        values = [getattr(each, quantity)() for each in (known, predictions)]
        return float(roc_auc_score(is_foreign, torch.cat(values).cpu().numpy()))

    stochastic = kinds.kind_of(settings).stochastic
    return {
        "auroc_entropy": auroc("entropy"),
        "auroc_mutual_information": auroc("mutual_information") if stochastic else None,
    }
