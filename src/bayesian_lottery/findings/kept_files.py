"""What figures show beside tables, kept with a published unit: masks, and draws of chains."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from bayesian_lottery.files import atomic, read_tensors, write_tensors
from bayesian_lottery.findings.figures.files import folders, shown_files
from bayesian_lottery.findings.figures.shown import PROBABILITIES
from bayesian_lottery.study import Node
from bayesian_lottery.tickets import masks


def keep(
    config: Mapping, plans: Mapping[str, object], nodes: Sequence[Node], unit: Path
) -> dict[str, dict[str, str]]:
    """Keep the files that figures of a study show, where all are there and of the unit's nodes.

    Of initial weights it is the layer shown, of chains what figure 16 shows of their draws.

    Args:
        config: the study's configuration.
        plans: of the study's figures.
        nodes: the unit's.
        unit: its folder, in which each such figure gets one.

    Returns:
        Of each figure the folders of the nodes whose files are kept, by the names in its plan.
    """
    own, kept = {node.folder for node in nodes}, {}
    for name, plan in plans.items():
        shown, files = folders(plan), shown_files(plan, config)
        there = all(Path(path).exists() for path in files.values())
        if not shown or not there or not own.issuperset(shown.values()):
            continue
        for key in getattr(plan, "masks", {}):
            with atomic(unit / name / f"{key}.safetensors") as temporary:
                shutil.copyfile(files[key], temporary)
        if "initial" in files:
            _keep_initial(plan, files, unit / name)
        for key in getattr(plan, "chains", {}):
            _keep_draws(files[key], unit / name / f"{key}.safetensors")
        kept[name] = shown
    return kept


def _keep_initial(plan, files: Mapping[str, str], folder: Path) -> None:
    sizes = {layer: mask.size for layer, mask in masks.load_arrays(files["ticket"]).items()}
    layer = plan.layer_of(sizes)
    weights = {layer: read_tensors(files["initial"])[0][layer]}
    write_tensors(folder / "initial.safetensors", weights)


def _keep_draws(source: str, path: Path) -> None:
    """Log-likelihoods of all images, and class probabilities of the first ones."""
    tensors, node = read_tensors(source)
    whole = tensors["probabilities"]
    images = -(-PROBABILITIES // whole.shape[-1])
    own = {"log_likelihood": tensors["log_likelihood"]}
    write_tensors(path, {**own, "probabilities": whole[:, :images].contiguous()}, node)
