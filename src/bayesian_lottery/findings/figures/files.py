"""The files that a figure shows beside its table: masks, the initial weights under them, draws."""

from collections.abc import Mapping

from bayesian_lottery import study
from bayesian_lottery.findings import arms


def shown_files(plan: object, config: Mapping) -> dict[str, str]:
    """The masks and initial weights, or the draws of chains, that a plan shows, by its names; most
    figures show none."""
    files: dict[str, str] = {}
    for key, where in getattr(plan, "masks", {}).items():
        node = study.Node(**where)
        initial = study.node_inputs(config, node)["initial"]
        files |= {"initial": initial, key: study.mask_file(config, node)}
    for key, where in getattr(plan, "chains", {}).items():
        files[key] = f"{config['results']}/{arms.folder(where)}/draws.safetensors"
    return files


def folders(plan: object) -> dict[str, str]:
    """The folders of the nodes whose files a plan shows, by its names."""
    shown = {**getattr(plan, "masks", {}), **getattr(plan, "chains", {})}
    return {key: arms.folder(where) for key, where in shown.items()}
