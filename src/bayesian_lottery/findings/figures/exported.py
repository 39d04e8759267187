"""Size, predictions and speed of exported networks: table 2."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from bayesian_lottery.findings.figures import selection, tables
from bayesian_lottery.findings.figures.shown import Exports
from bayesian_lottery.study.formats import FORMATS, PREDICTS

_NAMES = ["dataset", "model", "curriculum", "network", "ticket", "level", "format", "device"]
_OF_FILES = {
    "density": "Density (%)",
    "kilobytes": "File (kB)",
    "times_smaller": "Times smaller than dense",
    "accuracy": "Accuracy (%)",
    "accuracy_change": "Accuracy - dense (points)",
    "ece_change": "ECE - dense (points)",
    "nll_change": "NLL - dense (nats)",
}


def draw(plan: Exports, exports: pd.DataFrame, files: Mapping[str, Path]) -> tables.Sheet:
    """A row for each level, format, what predicts, and device; means over seeds.

    Of each batch size there are milliseconds, and times as fast as the dense network. Formats that
    were refused have no row.
    """
    made = exports[exports["refused"].isna()].copy()
    made["network"] = [_network(row) for row in made.to_dict("records")]
    made["ticket"] = [tables.ticket(row) for row in made.to_dict("records")]
    made["format"] = [FORMATS[name].words for name in made["format"]]
    made = made.assign(
        density=100 * made["density"],
        kilobytes=made["bytes"] / 1000,
        accuracy=100 * made["accuracy"],
        accuracy_change=100 * (made["accuracy"] - made["dense_accuracy"]),
        ece_change=100 * (made["ece"] - made["dense_ece"]),
        nll_change=made["nll"] - made["dense_nll"],
        milliseconds=1000 * made["seconds"],
    )
    batches = sorted(made["batch"].dropna().unique())
    once = made.drop_duplicates([*_NAMES, "seed"])
    groups = {name: once.groupby(_NAMES)[name] for name in _OF_FILES}
    headings = dict(_OF_FILES)
    for batch in batches:
        own = made[made["batch"] == batch].groupby(_NAMES)
        groups |= {f"ms_{batch}": own["milliseconds"], f"fast_{batch}": own["times_as_fast"]}
        headings |= {
            f"ms_{batch}": f"Batch of {batch} (ms)",
            f"fast_{batch}": f"Batch of {batch}, times as fast as dense",
        }
    return tables.Sheet("Exported networks", tables.averaged(groups, _NAMES), _NAMES, headings)


def _network(row: Mapping) -> str:
    """ "deterministic", "Bayesian, mean" or "Bayesian, 10 samples"."""
    words = selection.words(row["inference"])
    if pd.isna(row["predicts"]):
        return words
    return f"{words}, {PREDICTS[row['predicts']].format(row['samples'])}"
