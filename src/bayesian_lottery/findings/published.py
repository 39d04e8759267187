"""Published studies: the small tables of what was run, from which its findings can be drawn again.

A study's folder in `published/` has a folder a unit, a part that was run at a time, most often a
seed: the unit's tables, and `made.json`, which says what made them. Weights are not kept.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from bayesian_lottery.errors import InputError
from bayesian_lottery.files import read_json, write_json
from bayesian_lottery.findings import operations, results
from bayesian_lottery.findings.claims.page import corrected, evidence, more
from bayesian_lottery.findings.columns import COORDINATES
from bayesian_lottery.findings.results import Tables
from bayesian_lottery.study import LATER

LARGEST = 1_000_000  # bytes of a study: what one may add to a repository


def tables_of(folder: Path) -> Tables:
    """The tables in a folder.

    Raises:
        InputError: one is missing, or no Parquet file.
    """
    return Tables(*(results.read(folder / f"{name}.parquet") for name in Tables._fields))


def publish(root: Path, study: Path, unit: str, seeds: Sequence[int], command: str) -> dict:
    """Add a unit to a study: the tables of the nodes of `seeds` that are done, and what made them.

    Args:
        root: a study's results.
        study: its folder in `published/`.
        unit: the name of the unit's folder; one that is there is replaced.
        seeds: those that the unit has run.
        command: the command that ran it.

    Returns:
        What `made.json` says: the command, the commits of the code, its computation's version, the
        devices, and the seconds that training and tests took in all.

    Raises:
        InputError: no node of a seed is done, or the study would be too large.
    """
    files: list[Path] = []
    for seed in seeds:
        found = sorted(root.glob(f"runs/*/*/*/*/seed{seed}/**/metrics.json"))
        if not found:
            raise InputError(f"{root}: no node of seed {seed} is done.")
        files += found
    parts = results.tables(files, operations.read(sorted(root.glob("initial/*/*/counts.json"))))
    for name, table in parts._asdict().items():
        results.write(table, study / unit / f"{name}.parquet")
    own = parts.runs
    made = {
        "command": command,
        "seeds": list(seeds),
        "networks": len(own),
        "commits": sorted(own["git_commit"].dropna().unique()),
        "computation": sorted(int(version) for version in own["computation"].unique()),
        "devices": sorted(own["device"].unique()),
        "seconds": round(float(own["seconds"].sum()), 1),
    }
    write_json(study / unit / "made.json", made)
    size = sum(path.stat().st_size for path in study.rglob("*.parquet"))
    if size > LARGEST:
        raise InputError(f"{study}: its tables take {size:,} bytes; at most {LARGEST:,} are kept.")
    return made


def units(study: Path) -> dict[str, dict]:
    """What made each unit of a published study, by the unit's name."""
    return {path.parent.name: read_json(path) for path in sorted(study.glob("*/made.json"))}


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


def section(study: Path, claims: pd.DataFrame, tables: Tables) -> str:
    """What a published study found, in Markdown: what was run, accuracies, and the claims."""
    return "\n\n".join(
        [_made(units(study)), _accuracies(tables.runs), _verdicts(claims)],
    )


def _made(made: Mapping[str, Mapping]) -> str:
    rows = [
        f"| {name} | {len(unit['seeds'])} | {unit['networks']} | {unit['seconds'] / 3600:.2f} |"
        f" {', '.join(unit['devices'])} | {', '.join(c[:8] for c in unit['commits'])} |"
        f" `{unit['command']}` |"
        for name, unit in made.items()
    ]
    head = "| unit | seeds | networks | hours of jobs | device | code | command |"
    return "\n".join([head, "|" + " --- |" * 7, *rows])


def _accuracies(runs: pd.DataFrame) -> str:
    """Final accuracy and NLL of trunks, mean and deviation over seeds, at some densities."""
    trunks = results.trunk_rows(runs)
    by = ["dataset", "model", "inference", "scorer", "rewind", *LATER, "curriculum", "level"]
    groups = trunks.groupby(by, dropna=False).agg(
        density=("density", "mean"),
        accuracy=("final_accuracy", "mean"),
        deviation=("final_accuracy", "std"),
        nll=("final_nll", "mean"),
        seeds=("seed", "nunique"),
    )
    rows = []
    for names, group in groups.groupby(level=by[:-1], dropna=False, sort=True):
        for density in (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01):
            row = group.iloc[(group["density"] / density).map(lambda x: abs(x - 1)).argmin()]
            if abs(row["density"] / density - 1) < 0.15:
                spread = "" if row["seeds"] < 2 else f" ± {100 * row['deviation']:.2f}"
                rows.append(
                    f"| {' / '.join(map(str, names))} | {100 * row['density']:.1f} % |"
                    f" {100 * row['accuracy']:.2f}{spread} | {row['nll']:.3f} |"
                    f" {int(row['seeds'])} |"
                )
    head = "| trunk | density | final test accuracy, % | NLL | seeds |"
    return "\n".join([head, "|" + " --- |" * 5, *rows])


def _verdicts(claims: pd.DataFrame) -> str:
    judged = claims[claims["verdict"] != "not tested"]
    rows = [
        f"| {row.number} | {row.text} | {row.model} | {row.statistic} | {evidence(row)} |"
        f" {row.seeds} | {row.verdict} | {corrected(row)} | {more(row)} |"
        for row in judged.itertuples()
    ]
    left = len(claims) - len(judged)
    names = ["no.", "claim", "model", "statistic", "estimate [95 % interval]", "seeds", "verdict",
             "corrected for the number of claims", "more seeds that would decide"]  # fmt: skip
    note = f"{left} rows of the table are not tested by this study." if left else ""
    head = [f"| {' | '.join(names)} |", "|" + " --- |" * len(names)]
    return "\n".join([*head, *rows, *(["", note] if note else [])])
