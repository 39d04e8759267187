"""The job that counts what a model takes for the images of a data set."""

from collections.abc import Mapping
from pathlib import Path

import torch

from bayesian_lottery import models
from bayesian_lottery.data import decoded
from bayesian_lottery.files import write_json
from bayesian_lottery.models import costs


def count(
    data_file: Path, dataset: str, model: str, output: Path, definition: Mapping | None = None
) -> None:
    """Write what `costs.by_layer` counts, the sizes of weights, and the images of each class."""
    images = decoded.load(data_file)
    template = models.build(
        models.of({"model": model, "definition": definition}),
        images.image_shape,
        len(images.classes),
        seed=0,
    )
    layers, other = costs.by_layer(template, images.image_shape)
    sizes = torch.bincount(images.train.labels, minlength=len(images.classes)).tolist()
    weights = {name: template.get_parameter(name).numel() for name in layers}
    told = {"dataset": dataset, "model": model, "layers": layers, "weights": weights}
    write_json(output, {**told, "other": other, "images": sizes})
