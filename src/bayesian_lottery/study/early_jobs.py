"""The jobs that make early weights: what they compute, and from which files to which."""

from collections.abc import Mapping

from bayesian_lottery.study import variants
from bayesian_lottery.study.early import Early
from bayesian_lottery.study.files import node_extensions, node_inputs
from bayesian_lottery.study.settings import training_settings


def early_file(config: Mapping, early: Early) -> str:
    """Where early weights lie."""
    return f"{config['results']}/{early.node.folder}/{early.name}.safetensors"


def early_task(config: Mapping, early: Early) -> dict:
    """What making early weights is to compute: the dense network's training, to a step."""
    kind = variants.kind_name(config, "rewinds", early.rewind)
    rewinding = {"kind": kind, **variants.given(config, "rewinds", early.rewind)}
    settings = training_settings(config, early.node)
    return {"node": early.node.coordinates(), "settings": settings, "rewinding": rewinding}


def early_files(config: Mapping, early: Early) -> dict:
    """From which files to which early weights are made."""
    inputs = node_inputs(config, early.node)
    extensions = node_extensions(config, early.node)
    outputs = {"weights": early_file(config, early)}
    return {"inputs": {**inputs, "extensions": extensions}, "outputs": outputs}
