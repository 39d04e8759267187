"""Runs against runs: what differs by more than seeds do."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from bayesian_lottery.findings.columns import MEASURED
from bayesian_lottery.findings.comparison.tables import Side, shared

SAME, WITHIN, BEYOND, UNKNOWN, FIRST_ONLY, SECOND_ONLY = FINDINGS = (
    "same",
    "within seeds",
    "beyond seeds",
    "one seed each",
    "a only",
    "b only",
)
_EQUAL = 1e-9  # relative to the larger of the two


def compare(first: Side, second: Side, statistic: str, rate: float = 0.05) -> pd.DataFrame:
    """The difference of every metric at every kind of node, against the spread over seeds.

    A kind of node is all of its coordinates but seed and replicate: another lab's seed 0 draws
    other numbers. Replicates are averaged. The spread s is pooled from both tables' seeds, n and m,
    and p is Student's of (b - a) / (s sqrt(1/n + 1/m)) with n + m - 2 degrees of freedom, which one
    seed in one of the tables still allows. q is p adjusted for the number of rows that are not the
    same in both tables (Benjamini and Hochberg 1995).

    Args:
        statistic: the epoch whose results are compared, of `node_metrics.STATISTICS`.
        rate: the share of findings beyond seeds that may be wrong.

    Returns:
        A row a kind of node and metric: the coordinates; `metric`; `a`, `b`, the means over seeds;
        `difference`, b - a; `spread`; `seeds_a`, `seeds_b`; `pairs`, nodes of equal seed in both;
        `largest`, the largest difference of such a pair; `p`, `q`; `finding`, of `FINDINGS`.
        Metrics that a table lacks have no rows.
    """
    names = shared(first, second)
    kind = [name for name in names if name not in ("seed", "replicate")]
    columns = [
        name
        for name in ("density", *(f"{statistic}_{name}" for name in MEASURED), "seconds")
        if all(side.runs[name].notna().any() for side in (first, second))
    ]
    by = [*kind, "metric"]
    a, b = (_over_seeds(side.runs, kind, columns) for side in (first, second))
    both = a.merge(b, "outer", by, suffixes=("_a", "_b"))
    both = both.merge(_pairs(first, second, names, kind, columns), "left", by)
    counts = ["n_a", "n_b", "pairs"]
    return _tested(both.assign(**both[counts].fillna(0).astype(int)), kind, rate)


def _long(runs: pd.DataFrame, by: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    long = runs[[*by, *columns]].melt(list(by), columns, "metric", "value")
    return long.astype({"value": "float64"}).dropna(subset="value")


def _over_seeds(runs: pd.DataFrame, kind: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    """Mean, sum of squares and number of seeds of every metric at every kind of node."""
    by = [*kind, "metric"]
    long = _long(runs, [*kind, "seed"], columns)
    seeds = long.groupby([*by, "seed"], dropna=False)["value"].mean().reset_index()
    groups = seeds.groupby(by, dropna=False)["value"]
    found = groups.agg(mean="mean", n="count").reset_index()
    squares = (seeds["value"] - groups.transform("mean")) ** 2
    sums = seeds.assign(squares=squares).groupby(by, dropna=False)["squares"].sum()
    return found.assign(squares=sums.to_numpy())


def _pairs(
    first: Side, second: Side, names: Sequence[str], kind: Sequence[str], columns: Sequence[str]
) -> pd.DataFrame:
    """How many nodes both tables have of every kind, and the largest difference of such a pair."""
    a, b = (_long(side.runs, names, columns) for side in (first, second))
    pairs = a.merge(b, on=[*names, "metric"])
    pairs["largest"] = (pairs["value_y"] - pairs["value_x"]).abs()
    groups = pairs.groupby([*kind, "metric"], dropna=False)["largest"]
    return groups.agg(pairs="count", largest="max").reset_index()


def _tested(both: pd.DataFrame, kind: Sequence[str], rate: float) -> pd.DataFrame:
    n, m = both["n_a"], both["n_b"]
    freedom = (n + m - 2).clip(lower=0)
    squares = both[["squares_a", "squares_b"]].fillna(0).sum(axis="columns")
    spread = (squares / freedom.where(freedom > 0)) ** 0.5
    difference = both["mean_b"] - both["mean_a"]
    size = both[["mean_a", "mean_b"]].abs().max(axis="columns")
    same = (difference.abs() <= _EQUAL * size) & ~(both["largest"] > _EQUAL * size)
    error = spread * (1 / n.where(n > 0) + 1 / m.where(m > 0)) ** 0.5
    with np.errstate(divide="ignore", invalid="ignore"):  # seeds that agree have no error
        p = pd.Series(2 * stats.t.sf((difference / error).abs(), freedom), both.index)
    p = p.mask(same)
    known = p.dropna()
    q = pd.Series(stats.false_discovery_control(known), known.index).reindex(p.index)
    finding = np.select(
        [n == 0, m == 0, same, q.isna(), q <= rate],
        [SECOND_ONLY, FIRST_ONLY, SAME, UNKNOWN, BEYOND],
        WITHIN,
    )
    renamed = both.rename(
        columns={"mean_a": "a", "mean_b": "b", "n_a": "seeds_a", "n_b": "seeds_b"}
    )
    made = renamed.assign(difference=difference, spread=spread, p=p, q=q, finding=finding)
    wanted = ["metric", "a", "b", "difference", "spread", "seeds_a", "seeds_b", "pairs", "largest"]
    return made[[*kind, *wanted, "p", "q", "finding"]]
