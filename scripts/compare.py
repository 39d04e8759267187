"""Compare two studies, node by node and claim by claim, and say what differs beyond seeds."""

import argparse
from pathlib import Path

from bayesian_lottery import arguments, errors
from bayesian_lottery.files import atomic, write_text
from bayesian_lottery.findings import comparison
from bayesian_lottery.findings.claims.options import Options


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in "ab":
        parser.add_argument(
            name,
            type=Path,
            help="a table of runs (Parquet or CSV, those of layers and of exports beside it), a "
            "folder of tables, or the folder of a published study",
        )
    parser.add_argument(
        "--options",
        type=arguments.json_object,
        default={},
        help="the configuration's section claims as a JSON object; its statistic is compared",
    )
    parser.add_argument("--csv", type=Path, help="table of all differences to write")
    parser.add_argument("--page", type=Path, help="file for the page (default: print it)")
    given = parser.parse_args()

    statistic = Options.of(given.options).statistic
    first, second = comparison.read(given.a), comparison.read(given.b)
    nodes = comparison.compare(first, second, statistic)
    judged = comparison.verdicts(first, second, given.options)
    page = comparison.page(first, second, nodes, judged, statistic)
    if given.csv:
        with atomic(given.csv) as temporary:
            nodes.to_csv(temporary, index=False, lineterminator="\n")
    if given.page:
        write_text(given.page, page)
    else:
        print(page)


if __name__ == "__main__":
    errors.run(main)
