"""The figures: a registry and plans that cost nothing to import; matplotlib loads when drawing.

Adding a figure is one function in `plans` that says what it shows of a study, one entry in
`FIGURES`, and, if none of the modules here draws such a plan yet, one module with

    draw(plan, table: DataFrame, files: Mapping[str, Path]) -> what `save` writes
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bayesian_lottery import study
from bayesian_lottery.errors import choice
from bayesian_lottery.findings.figures import plans
from bayesian_lottery.findings.figures.selection import Node, NothingToShow
from bayesian_lottery.findings.figures.shown import measured
from bayesian_lottery.study import told_checks

__all__ = ["FIGURES", "Figure", "NothingToShow", "draw", "measured", "options_of", "plan", "save"]


@dataclass(frozen=True)
class Figure:
    """A figure or table.

    title: what it shows, in a few words.
    plan: from nodes and options, and of `ways` those searches, to what it shows of them.
    drawing: the module of this package that draws the plan.
    table: what it is drawn from: "runs", "layers", "overlaps", "distances", "exports" or
        "agreement".
    nodes: the table of the nodes that it plans from, where it is another.
    formats: what it is written as.
    ways: whether it compares the ways to a ticket. The others leave out tickets that are found
        otherwise than the papers', or than `tickets` says. Its plan takes the kinds of searches
        with names of their own, too.
    arms: whether it compares what predicts on a ticket's mask. Its plan takes what `study.arms`
        tells, too.
    """

    title: str
    plan: Callable[..., object]
    drawing: str = "curves"
    table: str = "runs"
    nodes: str = ""
    formats: tuple[str, ...] = ("png", "pdf")
    ways: bool = False
    arms: bool = False


FIGURES: dict[str, Figure] = {
    "figure1": Figure("Accuracy and calibration against weights remaining", plans.accuracy),
    "figure2": Figure("Sparsity layer by layer", plans.layers, "layers", "layers"),
    "figure3": Figure("A mask and its shuffles", plans.randomisations, "masks"),
    "figure4": Figure("Reinitialised and shuffled tickets", plans.ablations),
    "figure5": Figure("Accuracy of transplanted tickets", plans.transplants("accuracy")),
    "figure6": Figure("Model sizes", plans.sizes),
    "figure7": Figure("Learning rates and warm-up", plans.curricula),
    "figure8": Figure("Learning-rate rewinding", plans.rewinds),
    "figure9": Figure("Calibration of transplanted tickets", plans.transplants("mace", "ece")),
    "figure10": Figure("Ways to a ticket", plans.ways, ways=True),
    "figure11": Figure("What a ticket costs", plans.costs, "costs", ways=True),
    "figure12": Figure(
        "Distances of masks", plans.distances, "distances", "distances", nodes="runs", ways=True
    ),
    "figure13": Figure(
        "Overlap of masks", plans.overlaps, "overlaps", "overlaps", nodes="runs", ways=True
    ),
    "figure14": Figure("Posteriors on the masks of tickets", plans.posteriors, arms=True),
    "figure15": Figure(
        "Agreement with the sampler", plans.agreements, "agreements", "agreement", arms=True
    ),
    "figure16": Figure("Chains of a sampler", plans.chains, "traces", arms=True),
    "table1": Figure("Minutes a level", plans.times, "times", formats=("html", "csv")),
    "table2": Figure(
        "Exported networks",
        plans.exports,
        "exported",
        "exports",
        formats=("html", "csv"),
        ways=True,
    ),
    "table3": Figure(
        "Agreement with the sampler, by density",
        plans.agreement_table,
        "agreement_table",
        "agreement",
        formats=("html", "csv"),
        arms=True,
    ),
}

# The module that writes each format.
_WRITERS = {"png": "style", "pdf": "style", "html": "tables", "csv": "tables"}


def options_of(name: str, config: Mapping) -> dict:
    """What `plan` takes of a configuration: the figure's own options, and what it is told of the
    ways to a ticket and of arms."""
    told = {**study.ways(config), **(study.arms(config) if FIGURES[name].arms else {})}
    return {**config.get("figures", {}).get(name, {}), **told}


def plan(name: str, nodes: Sequence[Node], options: Mapping):
    """What the figure `name` shows of `nodes`, with the words for it in its `shown`.

    Nodes that are found otherwise than the papers' are left out, unless `tickets` says others, or
    the figure compares them.

    Args:
        nodes: mappings with the tables' coordinates, of a study or a table.
        options: the figure's, as the configuration has them, and what `study.ways` tells; of
            `arms` what `study.arms` tells.

    Raises:
        InputError: no such figure, or a wrong option.
        NothingToShow: the nodes cannot feed it; the message says what is missing.
    """
    if name not in FIGURES:
        raise choice("figure", name, FIGURES)
    told_checks.check("figure options", options)
    own = dict(options)
    tickets, searches = own.pop("tickets", {}), own.pop("kinds", {}).get("search", {})
    arms = own.pop("arms", {})
    every = [study.filled(node) for node in nodes]
    if FIGURES[name].ways:
        return FIGURES[name].plan(every, own, searches)
    ours = [node for node in every if study.is_shown(node, tickets)]
    if FIGURES[name].arms:
        return FIGURES[name].plan(ours, own, arms)
    return FIGURES[name].plan(ours, own)


def draw(name: str, tables: Mapping, options: Mapping, files: Mapping[str, Path] | None = None):
    """Draw the figure `name` from `tables` (by the names of `Figure.table`), for `save` to write.

    Args:
        files: for figure3 the mask of each node of its plan, by the plan's names, and "initial",
            the initial weights; for figure16 the draws of each chain of its plan.

    Raises:
        InputError: no such figure, or a wrong option.
        NothingToShow: a table or file that it needs is not given, or the table cannot feed it; for
            the same reasons as `plan`, or because no run has the statistic asked for.
    """
    from bayesian_lottery.findings.results import nodes, shown

    if name not in FIGURES:
        raise choice("figure", name, FIGURES)
    figure = FIGURES[name]
    planned = plan(name, nodes(_given(name, tables, figure.nodes or figure.table)), options)
    table = _given(name, tables, figure.table)
    if not figure.ways:
        table = shown(table, options.get("tickets", {}))
    module = importlib.import_module(f"{__name__}.{figure.drawing}")
    return module.draw(planned, table, files or {})


def _given(name: str, tables: Mapping, needed: str):
    if tables.get(needed) is None:
        raise NothingToShow(f"{name} needs the table of {needed}.")
    return tables[needed]


def save(drawn: object, path: str | Path) -> None:
    """Write what `draw` returned, atomically, in the format that the path's suffix says."""
    writer = importlib.import_module(f"{__name__}.{_WRITERS[Path(path).suffix[1:]]}")
    writer.save(drawn, path)
