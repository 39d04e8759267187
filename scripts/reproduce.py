"""Draw the figures and judge the claims of published studies again, from their tables alone.

Writes each study's figures, claims and explorer (`explorer.html`, for any browser) into its folder
in `published/`, what was found into the study's section of a page, between `<!-- study NAME -->`
and `<!-- end of NAME -->`, and what all of them decided between `<!-- verdicts -->` and
`<!-- end of verdicts -->`.
"""

import argparse
import os
import re
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pandas as pd

from bayesian_lottery import errors
from bayesian_lottery.errors import InputError
from bayesian_lottery.files import atomic, write_text
from bayesian_lottery.findings import claims, explorer, overview, published, redrawing, reproduction
from bayesian_lottery.study import choices, configuration

SCHEMA = Path(__file__).parents[1] / "workflow/schemas/config.schema.yaml"


def reproduce(study: Path, configurations: Path, style: Path | None) -> tuple[pd.DataFrame, str]:
    """Draw a study's figures and judge its claims; give these and its section of the page."""
    files = published.configfiles(study, configurations)
    config = configuration.merged(files)
    configuration.fill_in(config, SCHEMA)  # and no more checks: the study's data may be elsewhere
    tables = published.read(study)
    options = {**config["claims"], **choices.told(config)}
    judged = claims.table(tables.runs, tables.layers, options, tables.exports)
    with atomic(study / "claims.csv") as temporary:
        judged.to_csv(temporary, index=False, lineterminator="\n")
    if style:
        names = [str(file) for file in files]
        page = explorer.page(tables.runs, judged, config["results"], names, tables.shifts)
        write_text(study / "explorer.html", page)
    drawn = redrawing.redraw(study, tables, config, style)
    scale = reproduction.scale(files[-1])
    return judged, reproduction.section(study, scale, judged, tables, drawn)


def renew(page: str, mark: str, section: str) -> str:
    """The page with a section between its marks: `mark`, and the end of what it names.

    Raises:
        InputError: the page has no such marks.
    """
    marks = f"<!-- {mark} -->", f"<!-- end of {mark.removeprefix('study ')} -->"
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
    parser.add_argument(
        "--no-figures",
        action="store_true",
        help="claims and page alone, no explorer: of figures, those that are there",
    )
    given = parser.parse_args()

    studies = sorted(path for path in given.published.iterdir() if path.is_dir())
    style = None if given.no_figures else given.style
    page = given.page.read_text()
    if not studies:
        raise InputError(f"{given.published}: no study is published there.")
    for study in studies:  # what a person wrote, before minutes are spent on it
        renew(page, f"study {study.name}", "")
        reproduction.words(study)
    verdicts = {}
    # A process each, fresh, for a study's extensions are of no other.
    with ProcessPoolExecutor(
        os.cpu_count(), get_context("spawn"), max_tasks_per_child=1
    ) as processes:
        work = partial(reproduce, configurations=given.configurations, style=style)
        for study, (judged, section) in zip(studies, processes.map(work, studies), strict=True):
            page = renew(page, f"study {study.name}", section)
            verdicts[study.name] = judged
            print(study, flush=True)
    variants = [s.name for s in studies if published.shares_networks(s, given.configurations)]
    summary = overview.overview(verdicts, overview.links(page), variants)
    page = renew(page, "verdicts", summary)
    write_text(given.page, page)


if __name__ == "__main__":
    errors.run(main)
