"""Checks of the configuration's own models, before any job starts.

The Snakefile imports this module; only `build` needs torch.
"""

import json
import os
from collections.abc import Iterable, Mapping

from bayesian_lottery import models
from bayesian_lottery.errors import InputError, choice, short
from bayesian_lottery.study import Node, choices
from bayesian_lottery.study.datasets import images_of


def check(config: Mapping) -> None:
    """Check the names of models, where their code is, and the places in their arguments.

    Raises:
        InputError: names the key, its value, and what is allowed.
    """
    for name, entry in config.get("models", {}).items():
        if name in models.MODELS:
            raise InputError(f"models.{name}: the package has a model {name}; take another name.")
        key, model = f"models.{name}", models.Definition(**entry)
        where, _, what = model.code.rpartition(":")
        if not (where and all(part.isidentifier() for part in what.split("."))):
            raise InputError(
                f"{key}.code: {short(model.code)} is not allowed; it must be 'module:callable' or "
                "'path/to/file.py:callable'."
            )
        if model.file and not os.path.isfile(model.file):
            raise InputError(f"{key}.code: {short(model.file)} is not a Python file that is there.")
        for argument, value in model.arguments.items():
            try:
                json.dumps(value, allow_nan=False)
            except ValueError:
                raise InputError(
                    f"{key}.arguments.{argument}: {short(value)} is not allowed; numbers must be "
                    "finite, for results record them."
                ) from None
            if isinstance(value, str) and value.startswith("$") and value not in models.PLACES:
                raise choice(f"{key}.arguments.{argument}", value, models.PLACES)


def build(config: Mapping, nodes: Iterable[Node]) -> None:
    """Build the configuration's own models that `nodes` train; this imports torch and their code.

    Those for images that have to be decoded first are built by the first job that needs them.

    Raises:
        InputError: one cannot be built, or cannot be trained here; names the layer.
    """
    for name, dataset in dict.fromkeys((node.model, node.dataset) for node in nodes):
        model = choices.model(config, name)
        if not isinstance(model, models.Definition):
            continue
        images = images_of(config, dataset)
        if images.shape and images.classes:
            try:
                models.build(model, images.shape, images.classes, seed=0)
            except InputError as error:
                raise InputError(f"models.{name}{str(error).removeprefix('models')}") from None
