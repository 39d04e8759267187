"""Plans of figures of ways to a ticket: 10 to 13."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from bayesian_lottery.errors import InputError, choice
from bayesian_lottery.findings.figures import selection
from bayesian_lottery.findings.figures.plans import parts
from bayesian_lottery.findings.figures.selection import (
    SELECTION,
    Node,
    NothingToShow,
    Where,
    scorers,
)
from bayesian_lottery.findings.figures.shown import (
    Cell,
    Costs,
    Curve,
    Distances,
    Grid,
    Overlaps,
    Row,
)
from bayesian_lottery.study.nodes import LATER
from bayesian_lottery.tickets.rewinds import REWINDS
from bayesian_lottery.tickets.searches import SEARCHES

DENSITIES = (0.1, 0.02)  # that figures 11 and 13 show
_WAY = ("scorer", "rewind", *LATER)  # what names a way


class _Ways(NamedTuple):
    """The panels of a figure, a row a model and a column an inference; whose weights each takes."""

    titles: list[str]
    rows: list[Row]
    sources: dict[str, str]
    shown: str


def ways(nodes: Sequence[Node], options: Mapping, searches: Mapping[str, str]) -> Grid:
    """Figure 10: accuracy against density, a line a way, deterministic beside Bayesian.

    Options: those of `trunks.rewinds`.
    """
    options = parts.checked(options, parts.CURVES_OF_SCORER, without="rewind")
    found = _ways(nodes, options, searches)
    return Grid(found.titles, found.rows, options["statistic"], found.shown, wide=True)


def costs(nodes: Sequence[Node], options: Mapping, searches: Mapping[str, str]) -> Costs:
    """Figure 11: accuracy at some densities against what the ticket costs, a point a way.

    Options: those of `ways`, and `densities`.
    """
    defaults = {**parts.CURVES_OF_SCORER, "densities": None}
    options = parts.checked(options, defaults, without="rewind")
    densities = _densities(options)
    found = _ways(nodes, options, searches)
    return Costs(
        found.titles, found.rows, densities, found.sources, options["statistic"], found.shown
    )


def overlaps(nodes: Sequence[Node], options: Mapping, searches: Mapping[str, str]) -> Overlaps:
    """Figure 13: the overlap of masks with the papers' way's, layer by layer, a line a way.

    Beside the ways, of which each is compared under one seed and inference, it shows what other
    seeds and inferences of the papers' way have in common.

    Options: those of `costs` but `statistic`.
    """
    defaults = {**SELECTION, "scorer": None, "densities": None}
    del defaults["rewind"]
    options = selection.with_defaults(options, defaults)
    found = _ways(nodes, options, searches)
    rows = [replace(row, cells=[_compared(cell) for cell in row.cells]) for row in found.rows]
    if not any(cell.curves for row in rows for cell in row.cells):
        raise NothingToShow(f"There is no ticket of the search {LATER['search']} to compare with.")
    return Overlaps(found.titles, rows, _densities(options), found.shown)


def _compared(cell: Cell) -> Cell:
    """The curves of figure 10 as comparisons with the papers' way, if that is there."""
    named = {str(curve.label): curve for curve in cell.curves}
    papers = named.pop(LATER["search"], None)
    if papers is None:
        return Cell([], {})
    others = [
        Curve(f"other_{name}", {**papers.where, "compared": name}, f"another {name}")
        for name in ("seed", "inference")
    ]
    ways = [replace(curve, where={**curve.where, "compared": "way"}) for curve in named.values()]
    return Cell([*ways, *others], {})


def distances(nodes: Sequence[Node], options: Mapping, searches: Mapping[str, str]) -> Distances:
    """Figure 12: the distance of a dense network's masks from epoch to epoch, as it was watched.

    Options: `search` and `scorer` (default: the first by name that watches), `levels` (a list;
    default the last and, three times, half the level before), and those of `selection.panels`.
    """
    defaults = {**SELECTION, "search": None, "scorer": None, "levels": None}
    del defaults["rewind"]
    options = selection.with_defaults(options, defaults)
    watching = [
        node
        for node in nodes
        if node["level"] and not node["branch"] and _watches(node["search"], searches)
    ]
    if not watching:
        raise NothingToShow("No search watches a dense network as it trains.")
    search = options["search"] or min(node["search"] for node in watching)
    own = [node for node in watching if node["search"] == search]
    if not own:
        raise NothingToShow(f"The search {search} watches no dense network.")
    chosen = scorers(own, options["scorer"])
    own = [node for node in own if node["scorer"] == chosen[node["inference"]]]
    levels = parts.levels({node["level"] for node in own}, options["levels"])
    panels = selection.panels(own, options)
    inferences = selection.inferences(own)

    def cell(where: Where, inference: str) -> Cell:
        wanted = {**where, "inference": inference, "scorer": chosen[inference], "search": search}
        there = selection.matching(own, wanted)
        return Cell([Curve(inference, wanted)] if there else [], {})

    rows = [
        Row([cell(where, name) for name in inferences], label=f"model {where['model']}")
        for where in panels
    ]
    titles = [selection.words(name) for name in inferences]
    shown = f"{selection.describe(panels, own)}, search {search}"
    return Distances(titles, rows, levels, shown)


def _watches(search: str, kinds: Mapping[str, str]) -> bool:
    kind = kinds.get(search, search)
    return kind in SEARCHES and SEARCHES[kind].scored == "watched"


def _densities(options: Mapping) -> Sequence[float]:
    densities = options["densities"] or DENSITIES
    for density in densities:
        if not isinstance(density, int | float) or not 0 < density < 1:
            raise InputError(
                f"figure option densities: {density!r} must be a number above 0 and below 1."
            )
    return densities


def _ways(nodes: Sequence[Node], options: Mapping, searches: Mapping[str, str]) -> _Ways:
    """Every way of the models that have several, under one look wherever it is drawn.

    A way is named by its search and by what differs from the usual: the scorer of the iterative
    search (SNR, or the option `scorer`), the rewind imp, and the papers' ranking and pattern.
    """
    pruned = selection.pruned(nodes)
    usual = _usual(pruned, options["scorer"])
    key = "way"
    found = [{**node, key: tuple(node[name] for name in LATER)} for node in pruned]
    try:
        compared = selection.varied(found, key, ["dataset", "model", "inference", "curriculum"])
    except NothingToShow:
        names = parts.listed(sorted({node["search"] for node in pruned}))
        raise NothingToShow(f"No model has several ways to a ticket, only {names}.") from None
    panels = selection.panels(compared, options)
    shown = [node for where in panels for node in selection.matching(compared, where)]
    order = {name: rank for rank, name in enumerate(SEARCHES)}
    kinds = {node["search"]: searches.get(node["search"], node["search"]) for node in shown}
    for kind in kinds.values():
        if kind not in SEARCHES:
            raise choice("searches: kind", kind, SEARCHES)
    named = {_name(node, usual): kinds[node["search"]] for node in shown}
    ranked = sorted(named, key=lambda name: (order[named[name]], name))
    looks = {name: f"way{rank}" for rank, name in enumerate(ranked, 1)}
    inferences = selection.inferences(shown)

    def cell(where: Where, inference: str) -> Cell:
        here = selection.matching(shown, {**where, "inference": inference})
        own = {_name(node, usual): {name: node[name] for name in _WAY} for node in here}
        curves = [
            Curve(looks[name], {**parts.trunk(where, inference, None), **own[name]}, name)
            for name in ranked
            if name in own
        ]
        return Cell(curves, parts.dense(curves))

    rows = [
        Row([cell(where, name) for name in inferences], label=f"model {where['model']}")
        for where in panels
    ]
    titles = [selection.words(name) for name in inferences]
    sources = {looks[name]: SEARCHES[kind].scored for name, kind in named.items()}
    return _Ways(titles, rows, sources, selection.describe(panels, shown))


def _usual(pruned: Sequence[Node], wanted: str | None) -> dict[str, str]:
    """The scorer of each inference that ways leave unsaid: that of the papers' search."""
    chosen = scorers(pruned, wanted)
    first = [node for node in pruned if node["search"] == LATER["search"]]
    own = scorers(first)
    return {
        name: scorer if scorer == wanted else own.get(name, scorer)
        for name, scorer in chosen.items()
    }


def _name(node: Node, usual: Mapping[str, str]) -> str:
    expected = {"scorer": usual[node["inference"]], "rewind": next(iter(REWINDS)), **LATER}
    del expected["search"]
    return " ".join(
        [node["search"], *(node[name] for name, value in expected.items() if node[name] != value)]
    )
