"""Compare the predictions of each arm with those of the sampler on the same mask."""

import argparse
from pathlib import Path

from bayesian_lottery import arguments, errors
from bayesian_lottery.findings import agreement, results
from bayesian_lottery.findings.columns import RUN_DTYPES
from bayesian_lottery.study import told_checks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, required=True, help="table of runs (Parquet)")
    parser.add_argument(
        "--results", type=Path, required=True, help="folder of results, with the predictions"
    )
    parser.add_argument(
        "--options",
        type=arguments.json_object,
        default={},
        help="a JSON object of what the study tells: `arms`, with the pieces of its `branches` and "
        "the kinds of its `inferences`, and `tickets`",
    )
    parser.add_argument("--parquet", type=Path, required=True, help="table to write")
    parser.add_argument("--csv", type=Path, required=True, help="the same table as CSV")
    given = parser.parse_args()

    told_checks.check("--options", given.options)
    arms, tickets = given.options.get("arms", {}), given.options.get("tickets", {})
    runs = results.read_whole(given.runs, RUN_DTYPES)
    table = agreement.table(runs, arms, tickets, given.results)
    results.write(table, given.parquet, given.csv)


if __name__ == "__main__":
    errors.run(main)
