"""Published studies: the small tables of what was run, from which its findings can be drawn again.

A study's folder in `published/` has a folder a unit, a part that was run at a time, most often a
seed: the unit's tables, `made.json`, which says what made them, and a folder for each figure that
shows masks, with these. Weights are not kept, but for the layer that such a figure shows.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from bayesian_lottery.errors import InputError
from bayesian_lottery.files import (
    atomic,
    read_json,
    read_tensors,
    write_json,
    write_tensors,
)
from bayesian_lottery.findings import figures, operations, results
from bayesian_lottery.findings.columns import COORDINATES
from bayesian_lottery.findings.figures import FIGURES, NothingToShow
from bayesian_lottery.findings.figures.files import shown_files
from bayesian_lottery.findings.results import Tables
from bayesian_lottery.study import Node, choices
from bayesian_lottery.study import nodes as study_nodes
from bayesian_lottery.tickets import masks

LARGEST = 1_000_000  # bytes of a study's tables and masks: what one may add to a repository


def tables_of(folder: Path) -> Tables:
    """The tables in a folder.

    Raises:
        InputError: one is missing, or no Parquet file.
    """
    return Tables(*(results.read(folder / f"{name}.parquet") for name in Tables._fields))


def publish(
    config: Mapping, nodes: Sequence[Node], unit: Path, command: str, configfiles: Sequence[str]
) -> dict:
    """Add a unit to a study: the tables of its nodes that are done, and what made them.

    Args:
        config: the study's configuration.
        nodes: those of the unit.
        unit: its folder in the study's folder; what is there is replaced.
        command: the command that ran it.
        configfiles: the files of the configuration.

    Returns:
        What `made.json` says: the command, the configuration's files, the seeds, the networks that
        are done and how many are not, the commits of the code, its computation's version, the
        devices, the seconds that training and tests took in all, and the nodes of the figures that
        show masks.

    Raises:
        InputError: no node of a seed is done, or the study would be too large.
    """
    files = [Path(config["results"], node.folder, "metrics.json") for node in nodes]
    done = [file for file in files if file.exists()]
    seeds = sorted({node.seed for node in nodes})
    for seed in seeds:
        if not any(file.exists() for file, n in zip(files, nodes, strict=True) if n.seed == seed):
            raise InputError(f"{config['results']}: no node of seed {seed} is done.")
    counted = sorted(Path(config["results"]).glob("initial/*/*/counts.json"))
    parts = results.tables(done, operations.read(counted))
    shutil.rmtree(unit, ignore_errors=True)
    for name, table in parts._asdict().items():
        results.write(table, unit / f"{name}.parquet")
    own = parts.runs
    made = {
        "command": command,
        "configfiles": list(configfiles),
        "seeds": seeds,
        "networks": len(own),
        "left": len(files) - len(done),
        "commits": sorted(own["git_commit"].dropna().unique()),
        "computation": sorted(int(version) for version in own["computation"].unique()),
        "devices": sorted(own["device"].unique()),
        "seconds": round(float(own["seconds"].sum()), 1),
        "figures": keep_masks(config, nodes, unit),
    }
    write_json(unit / "made.json", made)
    study = unit.parent
    kept = (path for suffix in ("parquet", "safetensors") for path in study.rglob(f"*.{suffix}"))
    size = sum(path.stat().st_size for path in kept)
    if size > LARGEST:
        raise InputError(f"{study}: its tables take {size:,} bytes; at most {LARGEST:,} are kept.")
    return made


def keep_masks(config: Mapping, nodes: Sequence[Node], unit: Path) -> dict[str, dict]:
    """Keep the masks that figures of the study show, where they are of the unit's nodes, and the
    weights of the layer shown.

    Figures of which a file is not there are left out.

    Returns:
        Of each figure the folders of its masks' nodes, by the names in its plan.
    """
    own, kept = {node.folder for node in nodes}, {}
    coordinates = [node.coordinates() for node in study_nodes(config)]
    for name in FIGURES:
        options = {**config["figures"].get(name, {}), **choices.ways(config)}
        try:
            plan = figures.plan(name, coordinates, options)
        except NothingToShow:
            continue
        files, folders = shown_files(plan, config), _folders(plan)
        there = all(Path(path).exists() for path in files.values())
        if not folders or not there or not own.issuperset(folders.values()):
            continue
        for key in plan.masks:
            with atomic(unit / name / f"{key}.safetensors") as temporary:
                shutil.copyfile(files[key], temporary)
        sizes = {layer: mask.size for layer, mask in masks.load_arrays(files["ticket"]).items()}
        layer = plan.layer_of(sizes)
        weights = {layer: read_tensors(files["initial"])[0][layer]}
        write_tensors(unit / name / "initial.safetensors", weights)
        kept[name] = folders
    return kept


def _folders(plan: object) -> dict[str, str]:
    """The folders of the nodes whose masks a plan shows, by its names."""
    masks_shown = getattr(plan, "masks", {})
    return {key: Node(**where).folder for key, where in masks_shown.items()}


def masks_of(study: Path, name: str, plan: object) -> dict[str, Path] | None:
    """The files of the figure `name` that a unit has kept, by the names in its plan.

    Nothing for a figure without masks; None where no unit has kept those of this plan.
    """
    wanted = _folders(plan)
    if not wanted:
        return {}
    for unit, made in units(study).items():
        if made.get("figures", {}).get(name) == wanted:
            return {key: study / unit / name / f"{key}.safetensors" for key in [*wanted, "initial"]}
    return None


def units(study: Path) -> dict[str, dict]:
    """What made each unit of a published study, by the unit's name."""
    return {path.parent.name: read_json(path) for path in sorted(study.glob("*/made.json"))}


def configfiles(study: Path, folder: Path) -> list[Path]:
    """The files of a published study's configuration, by their names in `folder`; that of its own
    name for units of before they were told."""
    told = [made["configfiles"] for made in units(study).values() if "configfiles" in made]
    names = [Path(file).name for file in told[-1]] if told else [f"{study.name}.yaml"]
    return [folder / name for name in names]


def read(study: Path) -> Tables:
    """The tables of all units of a published study, as one.

    Raises:
        InputError: there is none, or two units have the same node.
    """
    names = list(units(study))
    if not names:
        raise InputError(f"{study}: no unit is published there.")
    parts = [tables_of(study / name) for name in names]
    whole = Tables(*(pd.concat(each, ignore_index=True) for each in zip(*parts, strict=True)))
    keys = list(COORDINATES)
    twice = whole.runs[whole.runs.duplicated(keys)]
    if len(twice):
        raise InputError(f"{study}: two units have the node {json.dumps(results.nodes(twice)[0])}.")
    return whole
