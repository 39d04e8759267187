"""Make the explorer: one HTML file to look through a study's curves, runs and claims."""

import argparse
from pathlib import Path

from bayesian_lottery import errors
from bayesian_lottery.files import write_text
from bayesian_lottery.findings import claims, explorer, results
from bayesian_lottery.findings.columns import RUN_DTYPES, SHIFT_DTYPES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, required=True, help="table of runs (Parquet)")
    parser.add_argument("--claims", type=Path, required=True, help="table of claims (CSV)")
    parser.add_argument("--shifts", type=Path, help="table of shifts (Parquet)")
    parser.add_argument(
        "--results", default="results", help="the study's folder of results, for its commands"
    )
    parser.add_argument(
        "--configfiles", nargs="*", default=[], help="those of the study, for its commands"
    )
    parser.add_argument("--output", type=Path, required=True, help="HTML file to write")
    arguments = parser.parse_args()

    runs = results.read_whole(arguments.runs, RUN_DTYPES)
    judged = claims.read(arguments.claims)
    shifts = arguments.shifts and results.read_whole(arguments.shifts, SHIFT_DTYPES)
    study = (runs, judged, arguments.results, arguments.configfiles, shifts)
    write_text(arguments.output, explorer.page(*study))


if __name__ == "__main__":
    errors.run(main)
