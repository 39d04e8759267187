"""Draw the figures and judge the claims of published studies again, from their tables alone.

Writes each study's figures and claims into its folder in `published/`, and what was found into the
study's sections of a page, between `<!-- study NAME -->` and `<!-- end of NAME -->`.
"""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bayesian_lottery import errors
from bayesian_lottery.errors import InputError
from bayesian_lottery.files import atomic, write_text
from bayesian_lottery.findings import claims, figures, published, reproduction, results
from bayesian_lottery.findings.figures import NothingToShow
from bayesian_lottery.study import choices, configuration, extensions


class Drawn(NamedTuple):
    """A figure that is drawn: what it shows in words, its options, and its masks."""

    shown: str
    options: Mapping[str, Any]
    masks: Mapping[str, Path]


def drawings(study: Path, tables: published.Tables, config: Mapping) -> dict[str, Drawn]:
    """The figures that a study's tables, and the masks that it has kept, can feed."""
    feasible = {}
    ways = choices.ways(config)
    for name, figure in figures.FIGURES.items():
        known = all(hasattr(tables, name) for name in (figure.table, figure.nodes) if name)
        if "png" not in figure.formats or not known:
            continue
        options = {**config.get("figures", {}).get(name, {}), **ways}
        table = getattr(tables, figure.nodes or figure.table)
        if not figure.ways:
            table = results.shown(table, ways.get("tickets", {}))
        try:
            plan: Any = figures.plan(name, results.nodes(table), options)
        except NothingToShow:
            continue
        masks = published.masks_of(study, name, plan)
        if masks is not None:
            feasible[name] = Drawn(plan.shown, options, masks)
    return feasible


def draw(
    study: Path, tables: published.Tables, drawn: Mapping[str, Drawn], style_file: Path
) -> None:
    """The figures, as PNG in the study's folder."""
    from bayesian_lottery.findings.figures import style  # loads matplotlib

    with style.applied(style_file):
        for name, each in drawn.items():
            made = figures.draw(name, tables._asdict(), each.options, each.masks)
            figures.save(made, study / f"{name}.png")
            print(study / f"{name}.png", flush=True)


def renew(page: str, name: str, section: str) -> str:
    """The page with the study's section between its marks.

    Raises:
        InputError: the page has no such marks.
    """
    marks = f"<!-- study {name} -->", f"<!-- end of {name} -->"
    pattern = re.compile(f"{re.escape(marks[0])}.*?{re.escape(marks[1])}", re.DOTALL)
    if not pattern.search(page):
        raise InputError(f"page: it has no {marks[0]} … {marks[1]}.")
    return pattern.sub(lambda _: f"{marks[0]}\n\n{section}\n\n{marks[1]}", page)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--published", type=Path, default=Path("published"))
    parser.add_argument("--page", type=Path, default=Path("docs/reproduction.md"))
    parser.add_argument("--configurations", type=Path, default=Path("config/studies"))
    parser.add_argument("--style", type=Path, default=Path("config/figures.mplstyle"))
    parser.add_argument("--no-figures", action="store_true", help="claims and page alone")
    given = parser.parse_args()

    page = given.page.read_text()
    for study in sorted(path for path in given.published.iterdir() if path.is_dir()):
        files = published.configfiles(study, given.configurations)
        config = configuration.merged(files)
        extensions.load(config.get("extensions", []))
        tables = published.read(study)
        ways = {**choices.ways(config), **choices.arms(config)}
        options = {**config.get("claims", {}), **ways}
        judged = claims.table(tables.runs, tables.layers, options)
        with atomic(study / "claims.csv") as temporary:
            judged.to_csv(temporary, index=False, lineterminator="\n")
        drawn = drawings(study, tables, config)
        shown = {name: each.shown for name, each in drawn.items()}
        scale = reproduction.scale(files[-1])
        section = reproduction.section(study, scale, judged, tables, shown)
        page = renew(page, study.name, section)
        if not given.no_figures:
            draw(study, tables, drawn, given.style)
    write_text(given.page, page)


if __name__ == "__main__":
    errors.run(main)
