"""What plans are made of: checked options, curves, level lines of dense networks, rows, grids."""

from collections.abc import Callable, Mapping, Sequence

from bayesian_lottery.errors import choice
from bayesian_lottery.findings.figures import selection
from bayesian_lottery.findings.figures.selection import SELECTION, Node, NothingToShow, Where
from bayesian_lottery.findings.figures.shown import EPOCHS, Curve, Grid, Row

# The options of figures of curves, and of those that show one scorer of each inference.
CURVES = {**SELECTION, "statistic": "peak"}
CURVES_OF_SCORER = {**CURVES, "scorer": None}


def checked(options: Mapping, defaults: Mapping, without: str | None = None) -> dict:
    """`options` over `defaults`, less the one coordinate that the figure varies."""
    defaults = {name: value for name, value in defaults.items() if name != without}
    options = selection.with_defaults(options, defaults)
    if options["statistic"] not in EPOCHS:
        raise choice("figure option statistic", options["statistic"], EPOCHS)
    return options


def trunk(where: Where, inference: str, scorer: str | None) -> Where:
    """The levels of a trunk, and none of its branches."""
    return {**where, "inference": inference, "scorer": scorer, "branch": None}


def present(nodes: Sequence[Node], curves: Sequence[Curve]) -> list[Curve]:
    """The curves that have a node above level 0."""
    levels = [node for node in nodes if node["level"] > 0]
    return [curve for curve in curves if selection.matching(levels, curve.where)]


def dense(curves: Sequence[Curve]) -> dict[str, Where]:
    """The dense networks of the curves' trunks, one an inference."""
    wheres = {curve.where["inference"]: curve.where for curve in curves}
    names = selection.inferences([curve.where for curve in curves])
    return {f"dense_{name}": _level0(wheres[name]) for name in names}


def dense_each(curves: Sequence[Curve]) -> dict[str, Where]:
    """The dense network of each curve, in its colour."""
    return {curve.look: _level0(curve.where) for curve in curves}


def _level0(where: Where) -> Where:
    return {**where, "branch": None, "level": 0}


def by_inference(nodes: Sequence[Node], columns: Sequence, cell: Callable) -> list[Row]:
    """A row of cells an inference of `nodes`; rows without a curve are left out."""
    rows = [
        Row([cell(column, name) for column in columns], label=selection.words(name))
        for name in selection.inferences(nodes)
    ]
    return [row for row in rows if any(cell.curves for cell in row.cells)]


def grid(shown: list[Where], rows: list[Row], options: Mapping, nodes: Sequence[Node]) -> Grid:
    """The rows of a figure, a column a model, with the words that say what it shows."""
    return Grid(models(shown), rows, options["statistic"], selection.describe(shown, nodes))


def models(shown: Sequence[Where]) -> list[str]:
    """The models of the panels, in their order."""
    return [where["model"] for where in shown]


def everything(nodes: Sequence[Node]) -> str:
    """What a table of all `nodes` shows: "digits: resnet20, levels 3, 6, 2 seeds"."""
    datasets, models, levels = (
        listed(sorted({node[name] for node in nodes})) for name in ("dataset", "model", "level")
    )
    return f"{datasets}: {models}, levels {levels}, {selection.count([{}], nodes, 'seed')}"


def listed(values: Sequence) -> str:
    """Values as words, with commas."""
    return ", ".join(map(str, values))


def levels(present: set[int], wanted: list[int] | None) -> list[int]:
    """The levels wanted, or the last, its half, quarter and eighth.

    Halves, not equal steps: the later levels differ little, for hardly a weight is left to prune.
    """
    goals = [max(present) / divisor for divisor in (1, 2, 4, 8)]
    nearest = (min(present, key=lambda level: (abs(level - goal), -level)) for goal in goals)
    levels = sorted(present & set(wanted or nearest))
    if not levels:
        raise NothingToShow(f"There is none of the levels {listed(wanted or [])}; there is "
                            f"{listed(sorted(present))}.")  # fmt: skip
    return levels
