"""Draw one figure from the tables of runs and layers."""

import argparse
import json
import sys
from pathlib import Path

from bayesian_lottery import figures, results
from bayesian_lottery.errors import InputError


def _options(text: str) -> dict:
    options = json.loads(text)  # argparse reports a ValueError, which a JSON error is
    if not isinstance(options, dict):
        raise ValueError
    return options


_options.__name__ = "JSON object"  # argparse puts it in "invalid ... value"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--figure", required=True, choices=sorted(figures.FIGURES), help="the figure to draw"
    )
    parser.add_argument("--runs", type=Path, help="table of runs (Parquet), for figures of runs")
    parser.add_argument("--layers", type=Path, help="table of layers (Parquet), for figure2")
    parser.add_argument(
        "--options",
        type=_options,
        default={},
        help="""the figure's options as a JSON object, such as '{"statistic": "selected"}'; each
        figure's module under src/bayesian_lottery/figures lists its own""",
    )
    parser.add_argument("--style", type=Path, required=True, help="matplotlib style file")
    parser.add_argument("--png", type=Path, required=True, help="PNG to write")
    parser.add_argument("--pdf", type=Path, required=True, help="PDF to write")
    arguments = parser.parse_args()

    needed = figures.FIGURES[arguments.figure].tables
    paths = {"runs": arguments.runs, "layers": arguments.layers}
    tables = {name: results.read(path) for name, path in paths.items() if path and name in needed}
    from bayesian_lottery.figures import style  # here, so that --help does not load matplotlib

    with style.applied(arguments.style):
        figure = figures.draw(arguments.figure, tables, arguments.options)
        style.save(figure, arguments.png, arguments.pdf)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
