"""Claims against claims."""

from collections.abc import Mapping

import pandas as pd

from bayesian_lottery.findings import claims
from bayesian_lottery.findings.columns import COORDINATES
from bayesian_lottery.findings.comparison.tables import Side

_CLAIM = ["number", "claim", "text", "dataset", "model", "family"]
_JUDGED = ["verdict", "estimate", "low", "high", "seeds", "reason"]


def verdicts(first: Side, second: Side, options: Mapping) -> pd.DataFrame | None:
    """Both tables' verdicts by claim, data set and model; None if coordinates are missing.

    Returns:
        A row for each claim that either table has: `number`, `claim`, `text`, `dataset`, `model`,
        `family`; and `verdict`, `estimate`, `low`, `high`, `seeds` and `reason`, each with `_a` and
        `_b`. What a table lacks is null.
    """
    if not COORDINATES.keys() <= first.columns & second.columns:
        return None
    a, b = (
        claims.table(side.runs, side.layers, options, side.exports)[[*_CLAIM, *_JUDGED]]
        for side in (first, second)
    )
    both = a.merge(b, "outer", _CLAIM, suffixes=("_a", "_b"))
    return both.sort_values(["number", "claim", "dataset", "model"], ignore_index=True)
