"""Published studies: the small tables of what was run, from which its findings can be drawn again.

A study's folder in `published/` has a folder a unit, a part that was run at a time, most often a
seed: the unit's tables, `made.json`, which says what made them, and a folder for each figure that
shows masks or chains, with these. Weights are not kept, but for the layer that such a figure shows.
`publishing` adds units.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from bayesian_lottery.errors import InputError, choice
from bayesian_lottery.files import read_json
from bayesian_lottery.findings import agreement, exported, last_levels, results
from bayesian_lottery.findings.columns import (
    COORDINATES,
    DISTANCE_DTYPES,
    LAYER_DTYPES,
    OVERLAP_DTYPES,
    RUN_DTYPES,
    SHIFT_DTYPES,
)
from bayesian_lottery.findings.figures.files import folders
from bayesian_lottery.study import configuration, schema

EVERY = results.Tables._fields  # those that every study has
DTYPES: Mapping[str, Mapping[str, str]] = {
    "runs": RUN_DTYPES,
    "layers": LAYER_DTYPES,
    "shifts": SHIFT_DTYPES,
    "distances": DISTANCE_DTYPES,
    "overlaps": OVERLAP_DTYPES,
    "exports": exported.DTYPES,
    "agreement": agreement.DTYPES,
    "last_levels": last_levels.DTYPES,
}
_NAMES = {"type": "array", "items": {"type": "string"}}
_MADE = {  # what is read of made.json, as JSON Schema; a study that is compared only may lack it
    "type": "object",
    "properties": {
        "command": {"type": "string"},
        "configfiles": {**_NAMES, "minItems": 1},  # absent from units of before
        "seeds": {"type": "array", "items": {"type": "integer"}},
        "commits": _NAMES,
        "devices": _NAMES,
        "networks": {"type": "integer"},
        "left": {"type": "integer"},
        "seconds": {"type": "number"},
        "lacking": {"type": "object", "additionalProperties": {"type": "integer"}},
        "figures": {"type": "object"},
    },
}


class Tables(NamedTuple):
    """The tables of a published study; None where it has no rows of one."""

    runs: pd.DataFrame
    layers: pd.DataFrame
    shifts: pd.DataFrame
    distances: pd.DataFrame | None = None
    overlaps: pd.DataFrame | None = None
    exports: pd.DataFrame | None = None
    agreement: pd.DataFrame | None = None


def tables_of(folder: Path) -> dict[str, pd.DataFrame]:
    """The tables in a unit's folder, by their names.

    Raises:
        InputError: one that every unit has is missing, or one is no Parquet file, no table of
            published studies, or lacks a column.
    """
    paths = {path.stem: path for path in folder.glob("*.parquet")}
    paths |= {name: folder / f"{name}.parquet" for name in EVERY}
    for name in sorted(paths.keys() - DTYPES.keys()):
        raise choice(f"{paths[name]}: the table", name, DTYPES)
    return {name: _table(path, DTYPES[name]) for name, path in paths.items()}


def _table(path: Path, dtypes: Mapping[str, str]) -> pd.DataFrame:
    """The table with its columns' types; those of before may lack columns."""
    table = results.read(path)
    results.check(table, dtypes, path)
    return results.typed(table, dtypes, path)


def files_of(study: Path, name: str, plan: object) -> dict[str, Path] | None:
    """The files of the figure `name` that a unit has kept, by the names in its plan.

    Nothing for a figure that shows tables alone; None where no unit has kept those of this plan.
    """
    wanted = folders(plan)
    if not wanted:
        return {}
    for unit, made in units(study).items():
        if made.get("figures", {}).get(name) == wanted:
            return {path.stem: path for path in (study / unit / name).glob("*.safetensors")}
    return None


def units(study: Path) -> dict[str, dict]:
    """What made each unit of a published study, by the unit's name.

    Raises:
        InputError: a file is damaged, or is not what `publishing` writes.
    """
    return {path.parent.name: _made(path) for path in sorted(study.glob("*/made.json"))}


def _made(path: Path) -> dict:
    made = read_json(path)
    try:
        schema.check_options("", made, _MADE)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return made


def configfiles(study: Path, folder: Path) -> list[Path]:
    """The files of a published study's configuration, by their names in `folder`; that of its own
    name for units of before they were told."""
    told = [made["configfiles"] for made in units(study).values() if "configfiles" in made]
    names = [Path(file).name for file in told[-1]] if told else [f"{study.name}.yaml"]
    return [folder / name for name in names]


def shares_networks(study: Path, folder: Path) -> bool:
    """Whether a published study is of another one's networks: laid over it, in its results."""
    files = configfiles(study, folder)
    return len(files) > 1 and "results" not in configuration.merged(files[-1:])


def read(study: Path) -> Tables:
    """The tables of all units of a published study, as one.

    Raises:
        InputError: there is none, or two units have the same node.
    """
    names = list(units(study))
    if not names:
        raise InputError(f"{study}: no unit is published there.")
    parts = [tables_of(study / name) for name in names]
    tables = {
        name: pd.concat([part[name] for part in parts if name in part], ignore_index=True)
        for name in dict.fromkeys(name for part in parts for name in part)
    }
    if "last_levels" in tables:
        across = last_levels.overlaps_of_seeds(tables.pop("last_levels"))
        own = [tables["overlaps"]] if "overlaps" in tables else []
        tables["overlaps"] = pd.concat([*own, across], ignore_index=True)
    whole = Tables(**tables)
    twice = whole.runs[whole.runs.duplicated(list(COORDINATES))]
    if len(twice):
        raise InputError(f"{study}: two units have the node {json.dumps(results.nodes(twice)[0])}.")
    return whole
