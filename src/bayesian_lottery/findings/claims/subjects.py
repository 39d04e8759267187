"""What a claim is asked of: one model's runs on one data set, and arithmetic on them.

A *series* is a table with the index (seed, level) and the columns `value`, `variance` (of the
value, from repeated stochastic passes; NaN if not known), `density` and `converged`, false where it
rests on chains of draws that disagree. Averaged over its levels it has the index seed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from bayesian_lottery.findings import results
from bayesian_lottery.findings.claims.options import POINT, POSTERIOR, Options
from bayesian_lottery.findings.claims.verdicts import (
    Evidence,
    NotTested,
    Region,
    interval,
    p_value,
    unconverged,
)
from bayesian_lottery.inference.kinds import KINDS
from bayesian_lottery.models import MODELS
from bayesian_lottery.study.nodes import LATER

INFERENCES = {name: KINDS[name].words for name in (POINT, POSTERIOR)}  # in words
CONVOLUTIONAL = ("resnet", "vgg")  # the families of convolutional networks in the paper
PAPERS = (*CONVOLUTIONAL, "vit")  # all of its families


@dataclass(frozen=True)
class Subject:
    """One model on one data set.

    Attributes:
        curriculum: the main one, of which all claims are but those that name another.
        trunks: rows of runs, each trunk whole (`results.trunk_rows`).
        ways: the same of every search and pattern, the papers' too.
        branches: the other rows of runs.
        way_branches: the same of every search and pattern.
        layers, exports: rows of layers, trunks only; of exported networks, of every trunk.
        seed_hours: what one more seed of all these runs would take, one after another.
        peers: all subjects of the study, this one too.
    """

    dataset: str
    model: str
    curriculum: str
    trunks: pd.DataFrame
    ways: pd.DataFrame
    branches: pd.DataFrame
    way_branches: pd.DataFrame
    layers: pd.DataFrame
    exports: pd.DataFrame
    options: Options
    seed_hours: float
    peers: "list[Subject]"

    @property
    def family(self) -> str:
        """The module of the package that has the model; of a user's own, nothing."""
        return MODELS[self.model].module if self.model in MODELS else ""

    def scorer(self, inference: str) -> str:
        """The scorer of claims that name none."""
        return {POINT: "magnitude", POSTERIOR: self.options.scorer}[inference]

    def trunk(
        self,
        inference: str,
        scorer: str | None = None,
        rewind: str = "imp",
        curriculum: str | None = None,
    ) -> pd.DataFrame:
        """The rows of a trunk, level 0 included; what is not given is the main one."""
        wanted = {
            "inference": inference,
            "scorer": scorer or self.scorer(inference),
            "rewind": rewind,
            "curriculum": curriculum or self.curriculum,
        }
        return _rows(self.trunks, wanted)

    def way(self, inference: str, search: str, **others: str | None) -> pd.DataFrame:
        """The rows of a trunk of a search, level 0 included; what is not given is the main one.

        Args:
            others: `scorer`, `rewind`, `pattern`, or `branch`: then the rows of that branch.
        """
        wanted = {
            "inference": inference,
            "search": search,
            "scorer": self.scorer(inference),
            "rewind": "imp",
            "pattern": self.options.tickets.get("pattern", LATER["pattern"]),
            "curriculum": self.curriculum,
            **{name: value for name, value in others.items() if value},
        }
        return _rows(self.way_branches if "branch" in wanted else self.ways, wanted)

    def named(self, coordinate: str, kind: str) -> list[str]:
        """The names of a kind of search, rewind or branch that there are, without controls.

        Raises:
            NotTested: there is none.
        """
        return self._names(coordinate, kind, "run", control=False)

    def controls(self, coordinate: str, kind: str) -> list[str]:
        """The names of a kind that the option `controls` keeps from claims.

        Raises:
            NotTested: there is none.
        """
        return self._names(coordinate, kind, "control", control=True)

    def _names(self, coordinate: str, kind: str, what: str, control: bool) -> list[str]:
        table = self.way_branches if coordinate == "branch" else self.ways
        names = [
            name
            for name in sorted(table[coordinate].dropna().unique())
            if self.options.kind(coordinate, name) == kind
            and (name in self.options.controls) == control
        ]
        if not names:
            raise NotTested(f"no {what} with {coordinate} {kind}")
        return names

    def branch(self, name: str, inference: str) -> pd.DataFrame:
        """The rows of a branch of the main trunk of `inference`."""
        wanted = {
            "inference": inference,
            "scorer": self.scorer(inference),
            "rewind": "imp",
            "curriculum": self.curriculum,
            "branch": name,
        }
        return _rows(self.branches, wanted)

    def trunk_layers(self, inference: str) -> pd.DataFrame:
        """The rows of layers of the main trunk of `inference`, pruned levels only."""
        wanted = {
            "inference": inference,
            "scorer": self.scorer(inference),
            "rewind": "imp",
            "curriculum": self.curriculum,
        }
        return _rows(self.layers, wanted)

    def measured(self, rows: pd.DataFrame, metric: str = "accuracy") -> pd.DataFrame:
        """`rows` as a series of a metric, at the epoch that the option `statistic` names."""
        return series(rows, f"{self.options.statistic}_{metric}", f"passes_sd_{metric}")

    def evidence(self, values: pd.DataFrame, statistic: str, region: Region) -> Evidence:
        """The evidence of a value a seed."""
        if values.empty:
            raise NotTested("no seed has both sides of the comparison")
        variance = values["variance"].iloc[0]
        mean = interval(values["value"], self.options.confidence, variance)
        if not values["converged"].all():
            mean = unconverged(mean)
        return Evidence(statistic, mean, region, p_value(mean, region))

    def average(self, levels: pd.DataFrame, statistic: str, region: Region) -> Evidence:
        """The evidence of a series, averaged over its levels."""
        levels = shared_levels(levels)
        return self.evidence(per_seed(levels), f"{statistic}, {words(levels)}", region)


def _rows(table: pd.DataFrame, wanted: Mapping[str, str]) -> pd.DataFrame:
    """The rows with the coordinates wanted.

    Raises:
        NotTested: there are none; the message names them.
    """
    for name, value in wanted.items():
        table = table[table[name] == value]
    if table.empty:
        kind = INFERENCES[wanted["inference"]]
        branch = f"branch {wanted['branch']} of a " if "branch" in wanted else ""
        names = [name for name in wanted if name not in ("inference", "branch")]
        last = ", ".join(f"{name} {wanted[name]}" for name in names)
        raise NotTested(f"no {branch}{kind} trunk with {last}")
    return table


def series(rows: pd.DataFrame, value: str, deviation: str | None = None) -> pd.DataFrame:
    """`rows` as a series of the column `value`, averaged over replicates.

    Raises:
        NotTested: no row has the value.
    """
    known = rows.dropna(subset=value)
    if known.empty:
        raise NotTested(f"no run has a {value.replace('_', ' ')}")
    variance = known[deviation] ** 2 if deviation else math.nan
    values = known[value].astype(float)  # steps are counted
    columns = {"_value": values, "_variance": variance, "_agree": ~results.disagreeing(known)}
    groups = known.assign(**columns).groupby(["seed", "level"])
    means = groups[["_value", "_variance", "density"]].mean()
    # Replicates differ, besides their passes, in what they drew.
    spread = groups["_value"].var().fillna(0)
    total = (means["_variance"] + spread) / groups.size()
    converged = groups["_agree"].all()
    named = {"value": means["_value"], "variance": total, "density": means["density"]}
    return pd.DataFrame({**named, "converged": converged})


def minus(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """The difference where both have a value: seed by seed, and level by level in series."""
    first, second = first.align(second, join="inner")
    if first.empty:
        raise NotTested(
            f"no {' and '.join(map(str, first.index.names))} has both sides of the comparison"
        )
    return first.assign(
        value=first["value"] - second["value"],
        variance=first["variance"] + second["variance"],
        converged=first["converged"] & second["converged"],
    )


def dense(levels: pd.DataFrame) -> pd.DataFrame:
    """Level 0, seed by seed."""
    return at(levels, 0)


def at(levels: pd.DataFrame, level: int) -> pd.DataFrame:
    """One level, seed by seed."""
    if level not in levels.index.unique("level"):
        raise NotTested(f"no run of level {level}")
    return levels[levels.index.get_level_values("level") == level].droplevel("level")


def pruned(levels: pd.DataFrame) -> pd.DataFrame:
    """All levels but the dense one."""
    return levels[levels.index.get_level_values("level") > 0]


def below(levels: pd.DataFrame, density: float) -> pd.DataFrame:
    """The levels of less than a density."""
    found = levels[levels["density"] < density]
    if found.empty:
        raise NotTested(f"no level below {100 * density:g} % density")
    return found


def shared_levels(levels: pd.DataFrame) -> pd.DataFrame:
    """The levels that all seeds have, so that the seeds' averages are of the same thing."""
    complete = levels["value"].unstack("level").dropna(axis="columns").columns
    found = levels[levels.index.get_level_values("level").isin(complete)]
    if found.empty:
        raise NotTested("the seeds have no level in common")
    return found


def per_seed(levels: pd.DataFrame) -> pd.DataFrame:
    """The mean over levels, seed by seed."""
    groups = levels.groupby("seed")
    variance = groups["variance"].sum(min_count=1) / groups.size() ** 2
    means = groups[["value", "density"]].mean()
    return means.assign(variance=variance, converged=groups["converged"].all())


def words(levels: pd.DataFrame) -> str:
    """Which levels a series has: "mean over 7 levels from 60 to 2.8 % density"."""
    densities = levels.groupby("level")["density"].mean()
    percent = [f"{100 * density:.3g}" for density in (densities.max(), densities.min())]
    if len(densities) == 1:
        return f"at {percent[0]} % density"
    return f"mean over {len(densities)} levels from {' to '.join(percent)} % density"
