"""Judge the paper's claims by the tables of runs and layers."""

import argparse
import json
from pathlib import Path

from bayesian_lottery import errors
from bayesian_lottery.files import atomic, write_text
from bayesian_lottery.findings import claims, results
from bayesian_lottery.findings.claims.page import page


def _options(text: str) -> dict:
    options = json.loads(text)  # argparse reports a ValueError, which a JSON error is
    if not isinstance(options, dict):
        raise ValueError
    return options


_options.__name__ = "JSON object"  # argparse puts it in "invalid ... value"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, required=True, help="table of runs (Parquet)")
    parser.add_argument("--layers", type=Path, required=True, help="table of layers (Parquet)")
    parser.add_argument(
        "--options",
        type=_options,
        default={},
        help="""margins and the like as a JSON object, such as '{"margin": 0.005}': the keys of
        the configuration's section claims""",
    )
    parser.add_argument("--csv", type=Path, required=True, help="table of claims to write")
    parser.add_argument("--html", type=Path, required=True, help="the same as a page to read")
    arguments = parser.parse_args()

    runs, layers = results.read(arguments.runs), results.read(arguments.layers)
    table = claims.table(runs, layers, arguments.options)
    with atomic(arguments.csv) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
    write_text(arguments.html, page(table))


if __name__ == "__main__":
    errors.run(main)
