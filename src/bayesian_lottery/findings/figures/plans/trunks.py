"""Plans of figures of trunks: 1, 2, 6, 7, 8 and table 1."""

from collections.abc import Mapping, Sequence

from bayesian_lottery.errors import choice
from bayesian_lottery.findings.figures import selection
from bayesian_lottery.findings.figures.plans import parts
from bayesian_lottery.findings.figures.plans.branches import TRANSPLANTED, TRANSPLANTS
from bayesian_lottery.findings.figures.selection import (
    SELECTION,
    Node,
    NothingToShow,
    Where,
    scorers,
)
from bayesian_lottery.findings.figures.shown import Cell, Curve, Grid, Layers, Row, Times
from bayesian_lottery.inference.kinds import KINDS
from bayesian_lottery.models import MODELS
from bayesian_lottery.study.node_metrics import RANKING
from bayesian_lottery.tickets.rewinds import REWINDS

METRICS = ("accuracy", *RANKING)  # that figure 1 can show


def accuracy(nodes: Sequence[Node], options: Mapping) -> Grid:
    """Figure 1: accuracy (or another `metric`) above MACE, a line a scorer.

    Options: `metric`, `dataset`, `models`, `curriculum`, `rewind` (see `selection.panels`),
    `statistic`.
    """
    options = parts.checked(options, {**parts.CURVES, "metric": "accuracy"})
    if options["metric"] not in METRICS:
        raise choice("figure option metric", options["metric"], METRICS)
    pruned = selection.pruned(nodes)
    shown = selection.panels(pruned, options)

    def cell(where: Where) -> Cell:
        pairs = {(node["inference"], node["scorer"]) for node in selection.matching(pruned, where)}
        curves = [
            Curve(_scored(inference, name), parts.trunk(where, inference, name))
            for inference, name in sorted(pairs)
        ]
        return Cell(curves, parts.dense(curves))

    cells = [cell(where) for where in shown]
    rows = [Row(cells, metric) for metric in (options["metric"], "mace")]
    return parts.grid(shown, rows, options, pruned)


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
    levels = parts.levels({node["level"] for node in pruned}, options["levels"])
    shown = selection.panels([node for node in pruned if node["level"] in levels], options)
    cells = [
        Cell(
            [
                Curve(_scored(inference, name), parts.trunk(where, inference, name))
                for inference, name in chosen.items()
                if selection.matching(pruned, parts.trunk(where, inference, name))
            ],
            dense={},
        )
        for where in shown
    ]
    return Layers(parts.models(shown), cells, levels, selection.describe(shown, pruned))


def sizes(nodes: Sequence[Node], options: Mapping) -> Grid:
    """Figure 6: models of one family against each other, a column a family.

    Above against the share of weights that remain, below against their number. Options: those of
    `ablations`.
    """
    options = parts.checked(options, parts.CURVES_OF_SCORER)
    pruned = selection.pruned(nodes)
    chosen = scorers(pruned, options["scorer"])
    pruned = [{**node, "family": _family(node["model"])} for node in pruned
              if node["scorer"] == chosen[node["inference"]]]  # fmt: skip
    related = selection.varied(pruned, "model", ["dataset", "family"])
    shown = selection.panels(related, options)
    order = {name: rank for rank, name in enumerate(MODELS)}
    shown.sort(key=lambda where: order.get(where["model"], len(order)))
    families: dict[str, list[Where]] = {}
    for where in shown:
        families.setdefault(_family(where["model"]), []).append(where)
    families = {name: members for name, members in families.items() if len(members) > 1}
    if not families:
        left = parts.listed(parts.models(shown))
        raise NothingToShow(f"There are no two models of a family, only {left}.")

    def cell(members: list[Where], inference: str) -> Cell:
        curves = [
            Curve(str(rank), parts.trunk(where, inference, chosen[inference]), where["model"])
            for rank, where in enumerate(members, 1)
        ]
        curves = parts.present(pruned, curves)
        return Cell(curves, parts.dense_each(curves))

    members = list(families.values())
    rows = [
        Row(row.cells, label=row.label, against=against)
        for against in ("density", "survivors")
        for row in parts.by_inference(related, members, cell)
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
    options = parts.checked(options, parts.CURVES_OF_SCORER, without="curriculum")
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
        trunk = parts.trunk(where, inference, chosen[inference])
        curves = [
            Curve(str(rank), {**trunk, "curriculum": name}, name)
            for rank, name in enumerate(names, 1)
        ]
        curves = parts.present(compared, curves)
        return Cell(curves, parts.dense_each(curves))

    return parts.grid(shown, parts.by_inference(compared, shown, cell), options, compared)


def rewinds(nodes: Sequence[Node], options: Mapping) -> Grid:
    """Figure 8: learning-rate rewinding against resetting, deterministic and Bayesian.

    Options: those of `ablations`, but `rewind`.
    """
    options = parts.checked(options, parts.CURVES_OF_SCORER, without="rewind")
    pruned = selection.pruned(nodes)
    chosen = scorers(pruned, options["scorer"])
    pruned = [node for node in pruned if node["scorer"] == chosen[node["inference"]]]
    within = ["dataset", "model", "inference", "scorer", "curriculum"]
    compared = selection.varied(pruned, "rewind", within)
    shown = selection.panels(compared, options)
    names = sorted({node["rewind"] for node in compared})

    def cell(where: Where) -> Cell:
        curves = [
            Curve(
                f"{inference}_{rewind}", {**parts.trunk(where, inference, name), "rewind": rewind}
            )
            for inference, name in chosen.items()
            for rewind in names
        ]
        curves = parts.present(compared, curves)
        return Cell(curves, parts.dense(curves))

    return parts.grid(shown, [Row([cell(where) for where in shown])], options, compared)


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
    shown = f"{parts.listed(sorted(datasets))}: {parts.listed(sorted(models))}"
    ticket, (source, target) = TRANSPLANTS[0], TRANSPLANTED
    found = _main([node for node in nodes if node["branch"] == ticket], source)
    spared = _main(trunks, target)
    saving = [{**found, "branch": ticket}, found, spared] if found and spared else []
    return Times(shown, saving)


def _main(nodes: Sequence[Node], inference: str) -> Where | None:
    """The trunk, by scorer and rewind, that stands for the pruned nodes of an inference."""
    pruned = [n for n in nodes if n["inference"] == inference and n["level"] > 0]
    if not pruned:
        return None
    rewinds = {node["rewind"] for node in pruned}
    return {
        "inference": inference,
        "scorer": scorers(pruned)[inference],
        "rewind": next((name for name in REWINDS if name in rewinds), min(rewinds)),
        "branch": None,
    }
