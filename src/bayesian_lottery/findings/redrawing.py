"""The figures and tables of a published study, drawn again from what its units have kept."""

from collections.abc import Iterator, Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple

from bayesian_lottery.findings import figures, published, results
from bayesian_lottery.findings.figures import FIGURES, NothingToShow
from bayesian_lottery.findings.figures.tables import Sheet


class Drawn(NamedTuple):
    """A figure that is drawn: what it shows in words; of a table, what it says."""

    shown: str
    sheet: Sheet | None = None


class _Feasible(NamedTuple):
    shown: str
    options: Mapping[str, Any]
    files: Mapping[str, Path]


def redraw(
    study: Path, tables: published.Tables, config: Mapping, style_file: Path | None
) -> dict[str, Drawn]:
    """Draw all that a study's tables and kept files can feed, as PNG in the study's folder.

    Args:
        study: its folder in `published/`.
        tables: what `published.read` gives.
        config: the study's configuration.
        style_file: matplotlib's; without one, figures are those that are drawn already.

    Returns:
        What is drawn, in the paper's order.
    """
    drawn = {}
    with _styled(style_file):
        for name, each in _feasible(study, tables, config):
            picture = study / f"{name}.png" if "png" in FIGURES[name].formats else None
            if picture and not style_file:
                if picture.exists():
                    drawn[name] = Drawn(each.shown)
                continue
            with suppress(NothingToShow):
                made = figures.draw(name, tables._asdict(), each.options, each.files)
                drawn[name] = Drawn(each.shown, None if picture else made)
                if picture:
                    figures.save(made, picture)
    if style_file:
        for picture in study.glob("*.png"):
            if picture.stem not in drawn:
                picture.unlink()
    return drawn


def _styled(style_file: Path | None):
    if style_file is None:
        return nullcontext()
    from bayesian_lottery.findings.figures import style  # loads matplotlib

    return style.applied(style_file)


def _feasible(
    study: Path, tables: published.Tables, config: Mapping
) -> Iterator[tuple[str, _Feasible]]:
    """The figures that have their tables and files, by name."""
    there = tables._asdict()
    for name, figure in FIGURES.items():
        options = figures.options_of(name, config)
        if any(there.get(key) is None for key in (figure.table, figure.nodes or figure.table)):
            continue
        table = there[figure.nodes or figure.table]
        if not figure.ways:
            table = results.shown(table, options.get("tickets", {}))
        try:
            plan: Any = figures.plan(name, results.nodes(table), options)
        except NothingToShow:
            continue
        files = published.files_of(study, name, plan)
        if files is not None:
            yield name, _Feasible(plan.shown, options, files)
