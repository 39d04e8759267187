"""Minutes a level, and what transplantation saves: table 1."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pandas as pd

from bayesian_lottery.findings.figures import tables
from bayesian_lottery.findings.figures.selection import rows
from bayesian_lottery.findings.figures.shown import Times
from bayesian_lottery.findings.savings import NotMeasured, savings

_STUDY = ["dataset", "curriculum", "model"]
_ROW = [*_STUDY, "device"]
_KINDS = ("deterministic", "bayesian", "transplanted")
_MEASURES = {
    "deterministic": "Deterministic (min)",
    "bayesian": "Bayesian (min)",
    "ratio": "Bayesian / deterministic",
    "transplanted": "Transplanted (min)",
    "saving": "Saved by transplanting (%)",
}


def draw(plan: Times, runs: pd.DataFrame, files: Mapping[str, Path]) -> tables.Sheet:
    """A row for each dataset, curriculum, model and device, which are never averaged together.

    Of each measure there are a mean, the standard deviation (`_sd`) and the number (`_n`) that it
    is over: minutes over nodes (a level of a trunk each, or a transplanted ticket); `ratio` over
    pairs of a seed's levels that exist in both kinds; `saving` over seeds, in per cent of finding
    and training the ticket of the last transplanted level, for the trunks that the plan names.
    """
    runs = runs.assign(minutes=runs["seconds"] / 60, kind=runs["inference"])
    transplanted = runs["branch"].str.startswith("transplant").fillna(False)
    runs.loc[transplanted, "kind"] = "transplanted"
    levels = runs[runs["branch"].isna() | transplanted]
    measured = {
        kind: levels[levels["kind"] == kind].groupby(_ROW)["minutes"] for kind in _KINDS
    } | {
        "ratio": _ratios(levels).groupby(_ROW)["ratio"],
        "saving": _savings(runs, plan).groupby(_ROW)["saving"],
    }
    table = tables.averaged({name: measured[name] for name in _MEASURES}, _ROW)
    return tables.Sheet("Minutes a level", table, _ROW, _MEASURES)


def _ratios(levels: pd.DataFrame) -> pd.DataFrame:
    """Bayesian over deterministic minutes of each seed's level."""
    pairs = levels.pivot_table(index=[*_ROW, "seed", "level"], columns="kind", values="minutes")
    pairs = pairs.reindex(columns=_KINDS)
    return (pairs["bayesian"] / pairs["deterministic"]).dropna().rename("ratio").reset_index()


def _savings(runs: pd.DataFrame, plan: Times) -> pd.DataFrame:
    """What transplanting saves, in per cent: a row a seed (see `savings`)."""
    found = [pd.DataFrame(columns=[*_ROW, "saving"], dtype="float64")]
    for study, own in runs.groupby(_STUDY) if plan.saving else ():
        with suppress(NotMeasured):
            saved = savings(*(rows(own, where) for where in plan.saving))
            names = dict(zip(_STUDY, map(str, study), strict=True))
            found.append(saved.assign(**names, saving=100 * saved["share"]))
    return pd.concat(found)
