"""Plans of figures of branches: 3, 4, 5 and 9."""

from collections.abc import Callable, Mapping, Sequence

from bayesian_lottery.findings.figures import selection
from bayesian_lottery.findings.figures.plans import parts
from bayesian_lottery.findings.figures.selection import Node, NothingToShow, Where, scorers
from bayesian_lottery.findings.figures.shown import Cell, Curve, Grid, Masks, Row
from bayesian_lottery.study.nodes import LATER

ABLATIONS = ("reinit", "shuffle_layerwise", "shuffle_even", "shuffle_global")
TRANSPLANTS = ("transplant_initial", "transplant_trained")
TRANSPLANTED = ("deterministic", "bayesian")  # from, to


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
                f"No mask of {column} {wanted} was shuffled; there is {parts.listed(present)}."
            )
    where |= {name: left[0][name] for name in LATER}  # the same in all that figures show
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
    options = parts.checked(options, parts.CURVES_OF_SCORER)
    found = selection.branches(nodes, ABLATIONS)
    chosen = scorers(found, options["scorer"])
    shown = selection.panels([n for n in found if n["scorer"] == chosen[n["inference"]]], options)

    def cell(where: Where, inference: str) -> Cell:
        trunk = parts.trunk(where, inference, chosen[inference])
        named = {"ticket": trunk} | {name: {**trunk, "branch": name} for name in ABLATIONS}
        curves = parts.present(nodes, [Curve(look, part) for look, part in named.items()])
        if not any(curve.look in ABLATIONS for curve in curves):
            curves = []
        return Cell(curves, parts.dense(curves))

    return parts.grid(shown, parts.by_inference(found, shown, cell), options, found)


def transplants(*metrics: str) -> Callable[[Sequence[Node], Mapping], Grid]:
    """Figures 5 and 9: transplanted tickets against tickets of either kind, a row a metric.

    Options: those of `accuracy`, and `scorer` (of the Bayesian tickets).
    """

    def plan(nodes: Sequence[Node], options: Mapping) -> Grid:
        options = parts.checked(options, parts.CURVES_OF_SCORER)
        found = selection.branches(nodes, TRANSPLANTS)
        shown = selection.panels(found, options)
        source, target = TRANSPLANTED
        given = scorers(found)[source]
        own = scorers(selection.pruned(nodes), options["scorer"]).get(target)

        def cell(where: Where) -> Cell:
            trunk = parts.trunk(where, source, given)
            curves = [
                Curve(source, trunk),
                Curve(target, parts.trunk(where, target, own)),
                *(Curve(name, {**trunk, "branch": name}) for name in TRANSPLANTS),
            ]
            curves = parts.present(nodes, curves)
            return Cell(curves, parts.dense(curves))

        cells = [cell(where) for where in shown]
        return parts.grid(shown, [Row(cells, metric) for metric in metrics], options, found)

    return plan
