"""Adding what a unit of a study found to `published/`; see `published` for what lies there."""

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from bayesian_lottery import study
from bayesian_lottery.errors import InputError
from bayesian_lottery.files import atomic, write_json
from bayesian_lottery.findings import (
    agreement,
    exported,
    figures,
    kept_files,
    last_levels,
    operations,
    overlaps,
    published,
    results,
)
from bayesian_lottery.findings.figures import FIGURES, NothingToShow
from bayesian_lottery.study import Node

LARGEST = 1_000_000  # bytes of a study's tables and masks: what one may add to a repository


class Unit(NamedTuple):
    """A part of a study that was run: the study's nodes, the unit's done ones, their table."""

    every: Sequence[Node]
    nodes: Sequence[Node]
    runs: pd.DataFrame


class Part(NamedTuple):
    """A unit's rows of a table, and how many files or pairs they lack, which are not there."""

    rows: pd.DataFrame
    lacking: int = 0


def publish(
    config: Mapping, nodes: Sequence[Node], folder: Path, command: str, configfiles: Sequence[str]
) -> dict:
    """Add a unit to a study: the tables of its nodes that are done, and what made them.

    Args:
        config: the study's configuration.
        nodes: those of the unit, all of its seeds.
        folder: the unit's in the study's folder; what is there is replaced.
        command: the command that ran it.
        configfiles: the files of the configuration.

    Returns:
        What `made.json` says: the command, the configuration's files, the seeds, the networks that
        are done and how many are not, what else of those done is not there by table, the commits
        of the code, its computation's version, the devices, the seconds that training and tests
        took in all, and the nodes of the figures that show more than tables.

    Raises:
        InputError: no node of a seed is done, another unit has one of the nodes, the study would be
            too large, or what is there is no unit.
    """
    if folder.exists() and not (folder / "made.json").exists():
        raise InputError(f"{folder}: it is there and is no unit; give the unit another name.")
    seeds = sorted({node.seed for node in nodes})
    made = _tables(config, nodes)
    for seed in seeds:
        if seed not in set(made.runs["seed"]):
            raise InputError(f"{config['results']}: no node of seed {seed} is done.")
    _check_others(made.runs, folder)
    plans = _plans(config)
    fed = {FIGURES[name].table for name in plans}
    done = [node for node in nodes if Path(config["results"], node.folder, "metrics.json").exists()]
    unit = Unit(study.nodes(config), done, made.runs)
    parts = {name: make(config, unit) for name, (table, make) in MORE.items() if table in fed}
    more = {name: part.rows for name, part in parts.items() if len(part.rows)}
    own = made.runs
    told = {
        "command": command,
        "configfiles": list(configfiles),
        "seeds": seeds,
        "networks": len(own),
        "left": len(nodes) - len(own),
        "lacking": {name: part.lacking for name, part in parts.items() if part.lacking},
        "commits": sorted(own["git_commit"].dropna().unique()),
        "computation": sorted(int(version) for version in own["computation"].unique()),
        "devices": sorted(own["device"].unique()),
        "seconds": round(float(own["seconds"].sum()), 1),
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as place:
        aside = Path(place, folder.name)
        for name, table in {**made._asdict(), **more}.items():
            _write(table, aside / f"{name}.parquet")
        told["figures"] = kept_files.keep(config, plans, nodes, aside)
        write_json(aside / "made.json", told)
        _check_size(folder.parent, without=folder)
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
    return told


def _write(table: pd.DataFrame, path: Path) -> None:
    """Write a table without what takes most of a small file: statistics, and types told twice."""
    with atomic(path) as temporary:
        table.to_parquet(
            temporary, index=False, compression="zstd", write_statistics=False, store_schema=False
        )


def _check_others(runs: pd.DataFrame, folder: Path) -> None:
    """Refuse nodes that another unit of the study has."""
    for name in published.units(folder.parent).keys() - {folder.name}:
        theirs = results.nodes(published.tables_of(folder.parent / name)["runs"])
        both = [node for node in results.nodes(runs) if node in theirs]
        if both:
            raise InputError(
                f"{folder}: the unit {name} has the node {json.dumps(both[0])} already; publish "
                "other seeds, or delete that unit."
            )


def _check_size(study: Path, without: Path) -> None:
    """Refuse a study whose tables and masks are too large, but for a unit to be replaced."""
    kept = (path for suffix in ("parquet", "safetensors") for path in study.rglob(f"*.{suffix}"))
    size = sum(path.stat().st_size for path in kept if without not in path.parents)
    if size > LARGEST:
        raise InputError(
            f"{study}: its tables would take {size:,} bytes; at most {LARGEST:,} are kept."
        )


def _tables(config: Mapping, nodes: Sequence[Node]) -> results.Tables:
    """The tables of the nodes that are done; those of pools take their members' of other units."""
    members = [member for node in nodes for member in study.members(config, node)]
    folders = dict.fromkeys(node.folder for node in [*nodes, *members])
    files = [Path(config["results"], folder, "metrics.json") for folder in folders]
    done = [file for file in files if file.exists()]
    if not done:
        raise InputError(f"{config['results']}: no node of seed {nodes[0].seed} is done.")
    counted = sorted(Path(config["results"]).glob("initial/*/*/counts.json"))
    seeds = [node.seed for node in nodes]
    every = results.tables(done, operations.read(counted))
    own = (frame[frame["seed"].isin(seeds)].reset_index(drop=True) for frame in every)
    return results.Tables(*own)


def _plans(config: Mapping) -> dict[str, object]:
    """What the figures show of the whole study, of those that it feeds."""
    nodes = [node.coordinates() for node in study.nodes(config)]
    exports = [node.coordinates() for node in study.exported(config, study.expand(config))]
    found = {}
    for name, figure in FIGURES.items():
        fed = exports if figure.table == "exports" else nodes
        with suppress(NothingToShow):
            found[name] = figures.plan(name, fed, figures.options_of(name, config))
    return found


def _distances(config: Mapping, unit: Unit) -> Part:
    files = study.distance_files(config, unit.nodes)
    there = {path: node for path, node in files.items() if Path(path).exists()}
    return Part(overlaps.distances(there), len(files) - len(there))


def _overlaps(config: Mapping, unit: Unit) -> Part:
    """Of the pairs of one seed; those of two need what `_last_levels` keeps."""
    pairs = [pair for pair in study.pairs(config, unit.nodes) if pair.compared != "seed"]
    files = ([Path(study.mask_file(config, node)) for node in pair[:2]] for pair in pairs)
    both = (all(map(Path.exists, masks)) for masks in files)
    there = [pair for pair, known in zip(pairs, both, strict=True) if known]
    return Part(overlaps.table(config, there), len(pairs) - len(there))


def _last_levels(config: Mapping, unit: Unit) -> Part:
    own = set(unit.nodes)
    trunks = [levels for levels in last_levels.trunks(config, unit.every) if own.issuperset(levels)]
    rows = last_levels.table(config, trunks)
    return Part(rows, len(trunks) - len(results.nodes(rows)))


def _exports(config: Mapping, unit: Unit) -> Part:
    asked = study.exported(config, study.expand(config)).keys() & set(unit.nodes)
    files = [Path(config["results"], node.folder, "exports.json") for node in asked]
    there = [file for file in files if file.exists()]
    return Part(exported.table(there), len(files) - len(there))


def _agreement(config: Mapping, unit: Unit) -> Part:
    told, tickets = study.arms(config).get("arms", {}), config.get("tickets", {})
    branches = {node.branch for node in unit.every}
    return Part(agreement.table(unit.runs, told, tickets, config["results"], branches))


# The tables beside those of every study -> which table of figures they feed, and what makes them.
MORE: dict[str, tuple[str, Callable[[Mapping, Unit], Part]]] = {
    "distances": ("distances", _distances),
    "overlaps": ("overlaps", _overlaps),
    "last_levels": ("overlaps", _last_levels),
    "exports": ("exports", _exports),
    "agreement": ("agreement", _agreement),
}
