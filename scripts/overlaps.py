"""Write what masks have in common, or how far they moved as watched networks trained: a table."""

import argparse
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pandas as pd

from bayesian_lottery import errors, study
from bayesian_lottery.findings import overlaps, results
from bayesian_lottery.study import Node, extensions

TABLES: dict[str, Callable[[Mapping, Iterable[Node]], pd.DataFrame]] = {
    "overlaps": lambda config, nodes: overlaps.table(config, study.pairs(config, nodes)),
    "distances": lambda config, nodes: overlaps.distances(study.distance_files(config, nodes)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--study",
        type=json.loads,
        required=True,
        help="the configuration as JSON; of datasets and curricula the names suffice",
    )
    parser.add_argument("--table", choices=TABLES, required=True, help="which of the two")
    parser.add_argument("--parquet", type=Path, required=True, help="the table to write")
    parser.add_argument("--csv", type=Path, required=True, help="the same table as CSV")
    given = parser.parse_args()
    extensions.load(given.study.get("extensions", []))
    table = TABLES[given.table](given.study, study.nodes(given.study))
    results.write(table, given.parquet, given.csv)


if __name__ == "__main__":
    errors.run(main)
