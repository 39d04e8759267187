"""Draw one figure, or write one table of the paper, from the table of runs, layers or exports."""

import argparse
from pathlib import Path

from bayesian_lottery import arguments, errors
from bayesian_lottery.findings import figures, published, results
from bayesian_lottery.study import extensions


def _file(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise ValueError
    return name, Path(path)


# argparse puts these in "invalid ... value".
_file.__name__ = "NAME=PATH"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--figure", required=True, help=f"the figure to draw: {', '.join(figures.FIGURES)}"
    )
    parser.add_argument(
        "--extensions", type=Path, nargs="*", default=[], help="files that register methods"
    )
    parser.add_argument("--runs", type=Path, help="table of runs (Parquet), for most figures")
    parser.add_argument("--layers", type=Path, help="table of layers (Parquet), for figure2")
    for name in ("distances", "overlaps", "exports", "agreement"):
        drawn = [key for key, each in figures.FIGURES.items() if each.table == name]
        words = f"that table (Parquet), for {' and '.join(drawn)}"
        parser.add_argument(f"--{name}", type=Path, help=words)
    parser.add_argument(
        "--file",
        type=_file,
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="for figure3, once for each: `ticket` and branches, the masks that its plan names, "
        "and `initial`, the initial weights; for figure16 `chain1` and so on, the draws of chains",
    )
    parser.add_argument(
        "--options",
        type=arguments.json_object,
        default={},
        help="""the figure's options as a JSON object, such as '{"statistic": "selected"}';
        bayesian_lottery.findings.figures.plans lists those of each""",
    )
    parser.add_argument("--style", type=Path, required=True, help="matplotlib style file")
    parser.add_argument(
        "--output",
        type=Path,
        nargs="+",
        required=True,
        help="files to write; their suffixes are formats: png and pdf, of tables html and csv",
    )
    given = parser.parse_args()

    extensions.load(given.extensions)
    if given.figure not in figures.FIGURES:
        raise errors.choice("figure", given.figure, figures.FIGURES)
    figure = figures.FIGURES[given.figure]
    for path in given.output:
        if path.suffix[1:] not in figure.formats:
            parser.error(f"--output: {path} is none of {', '.join(figure.formats)}")
    paths = {name: getattr(given, name) for name in (figure.table, figure.nodes) if name}
    tables = {
        name: results.read_whole(path, published.DTYPES[name])
        for name, path in paths.items()
        if path
    }
    from bayesian_lottery.findings.figures import (
        style,  # here, so that --help does not load matplotlib
    )

    with style.applied(given.style):
        drawn = figures.draw(given.figure, tables, given.options, dict(given.file))
        for path in given.output:
            figures.save(drawn, path)


if __name__ == "__main__":
    errors.run(main)
