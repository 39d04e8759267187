"""What each figure shows of a study: functions from nodes and options to a plan, without drawing.

The workflow plans before anything is trained, and the drawing modules draw what was planned; so
both agree on what a figure can show. Every function raises `NothingToShow` where the nodes cannot
feed its figure, and `InputError` for options that are wrong.
"""

from collections.abc import Callable, Mapping, Sequence

from bayesian_lottery.errors import choice
from bayesian_lottery.findings.figures import selection
from bayesian_lottery.findings.figures.selection import (
    SELECTION,
    Node,
    NothingToShow,
    Where,
    scorers,
)
from bayesian_lottery.findings.figures.shown import (
    EPOCHS,
    Cell,
    Curve,
    Grid,
    Layers,
    Masks,
    Row,
    Times,
)
from bayesian_lottery.inference.kinds import KINDS
from bayesian_lottery.models import MODELS

ABLATIONS = ("reinit", "shuffle_layerwise", "shuffle_even", "shuffle_global")
TRANSPLANTS = ("transplant_initial", "transplant_trained")
TRANSPLANTED = ("deterministic", "bayesian")  # from, to

_CURVES = {**SELECTION, "statistic": "peak"}
_CURVES_OF_SCORER = {**_CURVES, "scorer": None}


def accuracy(nodes: Sequence[Node], options: Mapping) -> Grid:
    """Figure 1: accuracy above MACE, a line a scorer.

    Options: `dataset`, `models`, `curriculum`, `rewind` (see `selection.panels`), `statistic`.
    """
    options = _checked(options, _CURVES)
    pruned = selection.pruned(nodes)
    shown = selection.panels(pruned, options)

    def cell(where: Where) -> Cell:
        pairs = {(node["inference"], node["scorer"]) for node in selection.matching(pruned, where)}
        curves = [
            Curve(_scored(inference, name), _trunk(where, inference, name))
            for inference, name in sorted(pairs)
        ]
        return Cell(curves, _dense(curves))

    cells = [cell(where) for where in shown]
    rows = [Row(cells, metric) for metric in ("accuracy", "mace")]
    return _grid(shown, rows, options, pruned)


def _scored(inference: str, scorer: str) -> str:
    """The look of a scorer's curve; those of a variant of an inference say which."""
    return scorer if inference in KINDS else f"{inference}, {scorer}"


def layers(nodes: Sequence[Node], options: Mapping) -> Layers:
    """Figure 2: sparsity against layer, deterministic and Bayesian tickets paired by level.

    Options: `levels` (a list; default the last and, three times, half the level before), `scorer`
    (of the Bayesian lines), and those of `selection.panels`.
    """
    options = selection.with_defaults(options, {**SELECTION, "levels": None, "scorer": None})
    pruned = selection.pruned(nodes)
    chosen = scorers(pruned, options["scorer"])
    pruned = [node for node in pruned if node["scorer"] == chosen[node["inference"]]]
    levels = _levels({node["level"] for node in pruned}, options["levels"])
    shown = selection.panels([node for node in pruned if node["level"] in levels], options)
    cells = [
        Cell(
            [
                Curve(_scored(inference, name), _trunk(where, inference, name))
                for inference, name in chosen.items()
                if selection.matching(pruned, _trunk(where, inference, name))
            ],
            dense={},
        )
        for where in shown
    ]
    return Layers(_models(shown), cells, levels, selection.describe(shown, pruned))


def _levels(present: set[int], wanted: list[int] | None) -> list[int]:
    """The levels wanted, or the last, its half, quarter and eighth.

    Halves, not equal steps: the later levels differ little, for hardly a weight is left to prune.
    """
    goals = [max(present) / divisor for divisor in (1, 2, 4, 8)]
    nearest = (min(present, key=lambda level: (abs(level - goal), -level)) for goal in goals)
    levels = sorted(present & set(wanted or nearest))
    if not levels:
        raise NothingToShow(f"There is none of the levels {_list(wanted or [])}; there is "
                            f"{_list(sorted(present))}.")  # fmt: skip
    return levels


def randomisations(nodes: Sequence[Node], options: Mapping) -> Masks:
    """Figure 3: one layer of a ticket's mask beside its shuffles.

    Options: `dataset`, `model`, `curriculum`, `rewind`, `scorer` (default `magnitude` if present),
    `level` (default a third of the way down), `layer`.
    """
    names = ("dataset", "model", "curriculum", "rewind", "scorer", "level", "layer")
    options = selection.with_defaults(options, dict.fromkeys(names))
    shuffled = selection.branches(nodes, [name for name in ABLATIONS if name != "reinit"])
    model = options["model"] and [options["model"]]
    where, *_ = selection.panels(shuffled, {**options, "models": model})
    left = selection.matching(shuffled, where)
    for column, choose in {
        "scorer": lambda values: "magnitude" if "magnitude" in values else values[0],
        "level": lambda values: values[len(values) // 3],
        "inference": lambda values: values[0],
        "seed": lambda values: values[0],
        "replicate": lambda values: values[0],
    }.items():
        present = sorted({node[column] for node in left})
        where[column] = wanted = options.get(column) or choose(present)
        left = [node for node in left if node[column] == wanted]
        if not left:
            raise NothingToShow(
                f"No mask of {column} {wanted} was shuffled; there is {_list(present)}."
            )
    own = {"ticket": {**where, "branch": None, "replicate": None}}
    masks = {name: {**where, "branch": name} for name in ABLATIONS}
    shuffles = {name: its for name, its in masks.items() if selection.matching(nodes, its)}
    words = (f"{name} {where[name]}" for name in ("curriculum", "scorer", "rewind", "seed"))
    shown = ", ".join([where["dataset"], where["model"], *words, f"level {where['level']}"])
    return Masks(own | shuffles, options["layer"], shown)


def ablations(nodes: Sequence[Node], options: Mapping) -> Grid:
    """Figure 4: tickets against reinitialised and shuffled ones, deterministic above Bayesian.

    Options: those of `accuracy`, and `scorer` (of the Bayesian row).
    """
    options = _checked(options, _CURVES_OF_SCORER)
    found = selection.branches(nodes, ABLATIONS)
    chosen = scorers(found, options["scorer"])
    shown = selection.panels([n for n in found if n["scorer"] == chosen[n["inference"]]], options)

    def cell(where: Where, inference: str) -> Cell:
        trunk = _trunk(where, inference, chosen[inference])
        named = {"ticket": trunk} | {name: {**trunk, "branch": name} for name in ABLATIONS}
        curves = _present(nodes, [Curve(look, part) for look, part in named.items()])
        if not any(curve.look in ABLATIONS for curve in curves):
            curves = []
        return Cell(curves, _dense(curves))

    return _grid(shown, _by_inference(found, shown, cell), options, found)


def transplants(*metrics: str) -> Callable[[Sequence[Node], Mapping], Grid]:
    """Figures 5 and 9: transplanted tickets against tickets of either kind, a row a metric.

    Options: those of `accuracy`, and `scorer` (of the Bayesian tickets).
    """

    def plan(nodes: Sequence[Node], options: Mapping) -> Grid:
        options = _checked(options, _CURVES_OF_SCORER)
        found = selection.branches(nodes, TRANSPLANTS)
        shown = selection.panels(found, options)
        source, target = TRANSPLANTED
        given = scorers(found)[source]
        own = scorers(selection.pruned(nodes), options["scorer"]).get(target)

        def cell(where: Where) -> Cell:
            trunk = _trunk(where, source, given)
            curves = [
                Curve(source, trunk),
                Curve(target, _trunk(where, target, own)),
                *(Curve(name, {**trunk, "branch": name}) for name in TRANSPLANTS),
            ]
            curves = _present(nodes, curves)
            return Cell(curves, _dense(curves))

        cells = [cell(where) for where in shown]
        return _grid(shown, [Row(cells, metric) for metric in metrics], options, found)

    return plan


def sizes(nodes: Sequence[Node], options: Mapping) -> Grid:
    """Figure 6: models of one family against each other, a column a family.

    Above against the share of weights that remain, below against their number. Options: those of
    `ablations`.
    """
    options = _checked(options, _CURVES_OF_SCORER)
    pruned = selection.pruned(nodes)
    chosen = scorers(pruned, options["scorer"])
    pruned = [{**node, "family": _family(node["model"])} for node in pruned
              if node["scorer"] == chosen[node["inference"]]]  # fmt: skip
    related = selection.varied(pruned, "model", ["dataset", "family"])
    shown = selection.panels(related, options)
    shown.sort(key=lambda where: list(MODELS).index(where["model"]))
    families: dict[str, list[Where]] = {}
    for where in shown:
        families.setdefault(_family(where["model"]), []).append(where)
    families = {name: members for name, members in families.items() if len(members) > 1}
    if not families:
        left = _list(_models(shown))
        raise NothingToShow(f"There are no two models of a family, only {left}.")

    def cell(members: list[Where], inference: str) -> Cell:
        curves = [
            Curve(str(rank), _trunk(where, inference, chosen[inference]), where["model"])
            for rank, where in enumerate(members, 1)
        ]
        curves = _present(pruned, curves)
        return Cell(curves, _dense_each(curves))

    members = list(families.values())
    rows = [
        Row(row.cells, label=row.label, against=against)
        for against in ("density", "survivors")
        for row in _by_inference(related, members, cell)
    ]
    shown = [where for family in members for where in family]
    return Grid(list(families), rows, options["statistic"], selection.describe(shown, related))


def _family(model: str) -> str:
    """The models of a family share their module."""
    return MODELS[model].module if model in MODELS else model


def curricula(nodes: Sequence[Node], options: Mapping) -> Grid:
    """Figure 7: learning rates and warm-ups, a line a curriculum, deterministic above Bayesian.

    Options: those of `ablations`, but `curriculum`.
    """
    options = _checked(options, _CURVES_OF_SCORER, without="curriculum")
    pruned = selection.pruned(nodes)
    chosen = scorers(pruned, options["scorer"])
    pruned = [node for node in pruned if node["scorer"] == chosen[node["inference"]]]
    within = ["dataset", "model", "inference", "scorer", "rewind"]
    compared = selection.varied(pruned, "curriculum", within)
    shown = selection.panels(compared, options)
    names = sorted(
        {n["curriculum"] for where in shown for n in selection.matching(compared, where)}
    )

    def cell(where: Where, inference: str) -> Cell:
        trunk = _trunk(where, inference, chosen[inference])
        curves = [
            Curve(str(rank), {**trunk, "curriculum": name}, name)
            for rank, name in enumerate(names, 1)
        ]
        curves = _present(compared, curves)
        return Cell(curves, _dense_each(curves))

    return _grid(shown, _by_inference(compared, shown, cell), options, compared)


def rewinds(nodes: Sequence[Node], options: Mapping) -> Grid:
    """Figure 8: learning-rate rewinding against resetting, deterministic and Bayesian.

    Options: those of `ablations`, but `rewind`.
    """
    options = _checked(options, _CURVES_OF_SCORER, without="rewind")
    pruned = selection.pruned(nodes)
    chosen = scorers(pruned, options["scorer"])
    pruned = [node for node in pruned if node["scorer"] == chosen[node["inference"]]]
    within = ["dataset", "model", "inference", "scorer", "curriculum"]
    compared = selection.varied(pruned, "rewind", within)
    shown = selection.panels(compared, options)
    names = sorted({node["rewind"] for node in compared})

    def cell(where: Where) -> Cell:
        curves = [
            Curve(f"{inference}_{rewind}", {**_trunk(where, inference, name), "rewind": rewind})
            for inference, name in chosen.items()
            for rewind in names
        ]
        curves = _present(compared, curves)
        return Cell(curves, _dense(curves))

    return _grid(shown, [Row([cell(where) for where in shown])], options, compared)


def times(nodes: Sequence[Node], options: Mapping) -> Times:
    """Table 1: minutes a level of every model that was trained both ways. It takes no options."""
    selection.with_defaults(options, {})
    within = ["dataset", "model", "curriculum"]
    trunks = [node for node in nodes if node["branch"] is None]
    try:
        compared = selection.varied(trunks, "inference", within)
    except NothingToShow:
        raise NothingToShow(
            "No model is trained both as a deterministic and as a Bayesian network."
        ) from None
    datasets, models = ({node[name] for node in compared} for name in ("dataset", "model"))
    return Times(f"{_list(sorted(datasets))}: {_list(sorted(models))}")


def _checked(options: Mapping, defaults: Mapping, without: str | None = None) -> dict:
    """`options` over `defaults`, less the one coordinate that the figure varies."""
    defaults = {name: value for name, value in defaults.items() if name != without}
    options = selection.with_defaults(options, defaults)
    if options["statistic"] not in EPOCHS:
        raise choice("figure option statistic", options["statistic"], EPOCHS)
    return options


def _trunk(where: Where, inference: str, scorer: str | None) -> Where:
    return {**where, "inference": inference, "scorer": scorer, "branch": None}


def _present(nodes: Sequence[Node], curves: Sequence[Curve]) -> list[Curve]:
    """The curves that have a node above level 0."""
    levels = [node for node in nodes if node["level"] > 0]
    return [curve for curve in curves if selection.matching(levels, curve.where)]


def _dense(curves: Sequence[Curve]) -> dict[str, Where]:
    """The dense networks of the curves' trunks, one an inference."""
    wheres = {curve.where["inference"]: curve.where for curve in curves}
    names = selection.inferences([curve.where for curve in curves])
    return {f"dense_{name}": _level0(wheres[name]) for name in names}


def _dense_each(curves: Sequence[Curve]) -> dict[str, Where]:
    """The dense network of each curve, in its colour."""
    return {curve.look: _level0(curve.where) for curve in curves}


def _level0(where: Where) -> Where:
    return {**where, "branch": None, "level": 0}


def _by_inference(nodes: Sequence[Node], columns: Sequence, cell: Callable) -> list[Row]:
    """A row of cells an inference of `nodes`; rows without a curve are left out."""
    rows = [
        Row([cell(column, name) for column in columns], label=selection.words(name))
        for name in selection.inferences(nodes)
    ]
    return [row for row in rows if any(cell.curves for cell in row.cells)]


def _grid(shown: list[Where], rows: list[Row], options: Mapping, nodes: Sequence[Node]) -> Grid:
    return Grid(_models(shown), rows, options["statistic"], selection.describe(shown, nodes))


def _models(shown: Sequence[Where]) -> list[str]:
    return [where["model"] for where in shown]


def _list(values: Sequence) -> str:
    return ", ".join(map(str, values))
