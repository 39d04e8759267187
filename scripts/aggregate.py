"""Gather the metrics of all nodes into the tables of runs, layers and shifts."""

import argparse
from pathlib import Path

from bayesian_lottery import errors
from bayesian_lottery.findings import operations, results
from bayesian_lottery.study import extensions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--metrics-list",
        type=Path,
        required=True,
        help="text file with the path of one metrics.json a line (a study has thousands, too many "
        "for a command line)",
    )
    parser.add_argument(
        "--counts", type=Path, nargs="*", default=[], help="what count.py wrote, of each model"
    )
    parser.add_argument(
        "--extensions", type=Path, nargs="*", default=[], help="files that register methods"
    )
    parser.add_argument("--runs-parquet", type=Path, required=True, help="table of runs to write")
    parser.add_argument("--runs-csv", type=Path, required=True, help="the same table as CSV")
    parser.add_argument(
        "--layers-parquet", type=Path, required=True, help="table of layers to write"
    )
    parser.add_argument("--layers-csv", type=Path, required=True, help="the same table as CSV")
    parser.add_argument(
        "--shifts-parquet", type=Path, required=True, help="table of shifts to write"
    )
    parser.add_argument("--shifts-csv", type=Path, required=True, help="the same table as CSV")
    arguments = parser.parse_args()

    extensions.load(arguments.extensions)
    paths = arguments.metrics_list.read_text().splitlines()
    counts = operations.read(arguments.counts)
    runs, layers, shifts = results.tables([path for path in paths if path.strip()], counts)
    results.write(runs, arguments.runs_parquet, arguments.runs_csv)
    results.write(layers, arguments.layers_parquet, arguments.layers_csv)
    results.write(shifts, arguments.shifts_parquet, arguments.shifts_csv)


if __name__ == "__main__":
    errors.run(main)
