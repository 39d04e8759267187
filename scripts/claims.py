"""Judge the paper's claims by the tables of runs and layers, and of exports if there is one."""

import argparse
from pathlib import Path

from bayesian_lottery import arguments, errors
from bayesian_lottery.files import atomic, write_text
from bayesian_lottery.findings import claims, exported, results
from bayesian_lottery.findings.claims.page import page
from bayesian_lottery.findings.columns import LAYER_DTYPES, RUN_DTYPES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, required=True, help="table of runs (Parquet)")
    parser.add_argument("--layers", type=Path, required=True, help="table of layers (Parquet)")
    parser.add_argument(
        "--exports", type=Path, nargs="*", default=[], help="table of exports (Parquet), if any"
    )
    parser.add_argument(
        "--options",
        type=arguments.json_object,
        default={},
        help="""margins and the like as a JSON object, such as '{"margin": 0.005}': the keys of
        the configuration's section claims""",
    )
    parser.add_argument("--csv", type=Path, required=True, help="table of claims to write")
    parser.add_argument("--html", type=Path, required=True, help="the same as a page to read")
    given = parser.parse_args()

    runs = results.read_whole(given.runs, RUN_DTYPES)
    layers = results.read_whole(given.layers, LAYER_DTYPES)
    exports = next((results.read_whole(path, exported.DTYPES) for path in given.exports), None)
    table = claims.table(runs, layers, given.options, exports)
    with atomic(given.csv) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
    write_text(given.html, page(table))


if __name__ == "__main__":
    errors.run(main)
