"""Agreement with the long-run sampler by density: table 3."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from bayesian_lottery.findings.figures import tables
from bayesian_lottery.findings.figures.shown import Agreements

_NAMES = ["dataset", "model", "curriculum", "ticket", "density (%)", "sampler", "arm"]
_MEASURES = {
    "top1": "Same class as the sampler (%)",
    "total_variation": "Total variation from it",
    "accuracy": "Test accuracy (%)",
    "gradients": "Gradients",
    "seconds": "Seconds",
}
_PER_CENT = ("top1", "accuracy")


def draw(plan: Agreements, table: pd.DataFrame, files: Mapping[str, Path]) -> tables.Sheet:
    """A row for each model, curriculum, ticket and arm, the densest first, then by total variation.

    Means are over seeds and replicates. A sampler whose chains disagree says so in its name.
    """
    doubtful = ~table["converged"].fillna(True).astype(bool)
    own = table.assign(
        **{name: 100 * table[name] for name in _PER_CENT},
        ticket=[tables.ticket(row) for row in table.to_dict("records")],
        sampler=table["sampler"].where(~doubtful, table["sampler"] + " (chains disagree)"),
    )
    levels = own.groupby([*_NAMES[:4], "level"])["density"].transform("mean")
    own["density (%)"] = (100 * levels).map(lambda percent: float(f"{percent:.3g}"))
    groups = own.groupby(_NAMES, sort=False)
    means = tables.averaged({name: groups[name] for name in _MEASURES}, _NAMES)
    order = [*_NAMES[:3], "density (%)", "ticket", "total_variation"]
    up = [name != "density (%)" for name in order]
    means = means.sort_values(order, ascending=up, ignore_index=True)
    return tables.Sheet("Agreement with the sampler", means, _NAMES, _MEASURES)
