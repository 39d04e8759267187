"""Gather what was measured of exported networks into a table."""

import argparse
from pathlib import Path

from bayesian_lottery import errors
from bayesian_lottery.findings import exported, results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--measured",
        type=Path,
        nargs="+",
        required=True,
        help="what measure_exports.py wrote, a file a node",
    )
    parser.add_argument("--parquet", type=Path, required=True, help="table to write")
    parser.add_argument("--csv", type=Path, required=True, help="the same table as CSV")
    given = parser.parse_args()

    results.write(exported.table(given.measured), given.parquet, given.csv)


if __name__ == "__main__":
    errors.run(main)
