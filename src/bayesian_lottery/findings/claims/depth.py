"""Claims on where in the network weights are pruned."""

import math

import pandas as pd

from bayesian_lottery.findings.claims import subjects
from bayesian_lottery.findings.claims.subjects import INFERENCES, Subject
from bayesian_lottery.findings.claims.verdicts import Evidence, NotTested, Region

LEAST_LAYERS = 4  # two layers always correlate with +1 or -1


def deeper_pruned_more(subject: Subject, inference: str) -> Evidence:
    """The rank correlation of a layer's position and its sparsity is positive."""
    kind = f"{INFERENCES[inference]} {subject.scorer(inference)}"
    levels = _correlations(subject, inference)
    return subject.average(levels, f"Spearman's rho of layer and sparsity, {kind}", Region(above=0))


def deeper_more_in_bayesian(subject: Subject) -> Evidence:
    """That correlation is larger in Bayesian networks than in deterministic ones."""
    kinds = ("bayesian", "deterministic")
    levels = subjects.minus(*(_correlations(subject, inference) for inference in kinds))
    names = " minus ".join(f"{INFERENCES[name]} {subject.scorer(name)}" for name in kinds)
    return subject.average(
        levels, f"Spearman's rho of layer and sparsity, {names}", Region(above=0)
    )


def _correlations(subject: Subject, inference: str) -> pd.DataFrame:
    """Spearman's rho of layer and sparsity, a series; levels of equally sparse layers left out."""
    rows = subject.trunk_layers(inference)
    count = rows["layer"].nunique()
    if count < LEAST_LAYERS:
        raise NotTested(f"{count} prunable layers; a rank correlation needs {LEAST_LAYERS}")
    node = ["seed", "level"]
    ranked = rows.assign(
        layer=rows.groupby(node)["layer"].rank(),
        sparsity=rows.assign(sparsity=1 - rows["density"]).groupby(node)["sparsity"].rank(),
    )
    groups = ranked.groupby(node)
    x, y = (ranked[name] - groups[name].transform("mean") for name in ("layer", "sparsity"))
    sums = ranked[node].assign(xy=x * y, xx=x**2, yy=y**2).groupby(node).sum()
    sizes = rows.groupby(node)[["size", "survivors"]].sum()
    rho = sums["xy"] / (sums["xx"] * sums["yy"]) ** 0.5  # 0/0 is NaN
    density = sizes["survivors"] / sizes["size"]
    found = pd.DataFrame({"value": rho, "variance": math.nan, "density": density})
    found = found.astype("float64").dropna(subset="value")
    if found.empty:
        raise NotTested("all layers are equally sparse")
    return found.assign(converged=True)
