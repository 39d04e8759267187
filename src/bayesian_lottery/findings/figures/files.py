"""The files that a figure shows beside its table: masks, and the initial weights under them."""

from collections.abc import Mapping

from bayesian_lottery import study


def shown_files(plan: object, config: Mapping) -> dict[str, str]:
    """The masks and initial weights that a plan shows, by its names; most figures show none."""
    files: dict[str, str] = {}
    for key, where in getattr(plan, "masks", {}).items():
        node = study.Node(**where)
        initial = study.node_inputs(config, node)["initial"]
        files |= {"initial": initial, key: study.mask_file(config, node)}
    return files
