"""Add what a study found, or some seeds of it, to `published/`: small tables, no weights."""

import argparse
from pathlib import Path

from bayesian_lottery import errors
from bayesian_lottery.findings import published


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, required=True, help="the study's results")
    parser.add_argument("--study", type=Path, required=True, help="its folder in published/")
    parser.add_argument("--unit", required=True, help="the name of the part that was run")
    parser.add_argument(
        "--seeds", type=int, nargs="+", required=True, help="the seeds of that part"
    )
    parser.add_argument("--command", required=True, help="the command that ran it")
    given = parser.parse_args()
    made = published.publish(given.results, given.study, given.unit, given.seeds, given.command)
    print(f"{given.study / given.unit}: {made['networks']} networks.")


if __name__ == "__main__":
    errors.run(main)
