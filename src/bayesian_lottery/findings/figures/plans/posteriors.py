"""Plans of figures of posteriors on the masks of tickets: 14, 15, 16 and table 3.

All take what `study.arms` tells besides nodes and options: which arm each branch is
(`findings.arms`). They are of tickets that deterministic networks hold.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bayesian_lottery.errors import InputError
from bayesian_lottery.findings import arms
from bayesian_lottery.findings.arms import SOURCE, Arm
from bayesian_lottery.findings.figures import selection
from bayesian_lottery.findings.figures.plans import parts
from bayesian_lottery.findings.figures.selection import Node, NothingToShow, Where, scorers
from bayesian_lottery.findings.figures.shown import Agreements, Cell, Chains, Curve, Grid, Row

DENSITIES = (0.1, 0.01)  # that figure 15 shows


def posteriors(nodes: Sequence[Node], options: Mapping, told: Mapping) -> Grid:
    """Figure 14: accuracy of each arm against density, above that of arms on other masks.

    Options: those of `trunks.accuracy`.
    """
    options = parts.checked(options, parts.CURVES)
    found, looks, shown = _arms(nodes, options, told)
    if not any(arm.kind.stochastic or arm.pool for arm in found):
        raise NothingToShow("No branch of a deterministic ticket is a posterior or an ensemble.")
    trunk = scorers([node for node in nodes if _pruned(node)])[SOURCE]

    ends = arms.labels(found)

    def cell(where: Where, own: Sequence[Arm]) -> Cell:
        levels = parts.trunk(where, SOURCE, trunk)
        curves = [
            Curve(looks[a][0], {**levels, "branch": a.branch}, looks[a][1], ends[a]) for a in own
        ]
        curves = parts.present(nodes, curves)
        return Cell(curves, parts.dense(curves))

    kept = [arm for arm in found if arm.mask == arms.KEPT]
    others = [arm for arm in found if arm.mask != arms.KEPT]
    groups = {"": kept}
    if others:
        groups = {
            "ticket's mask": kept,
            "other masks": [*kept[:1], *arms.references(kept), *others],
        }
    rows = [Row([cell(w, own) for w in shown], label=label) for label, own in groups.items()]
    titles, words = parts.models(shown), selection.describe(shown, nodes)
    return Grid(titles, rows, options["statistic"], words, wide=True)


def agreements(nodes: Sequence[Node], options: Mapping, told: Mapping) -> Agreements:
    """Figure 15: agreement with the sampler, and accuracy, against gradients.

    Options: `densities`, and those of `selection.panels`.
    """
    defaults = {**selection.SELECTION, "densities": None}
    options = selection.with_defaults(options, defaults)
    densities = options["densities"] or DENSITIES
    for density in densities:
        if not isinstance(density, int | float) or not 0 < density <= 1:
            raise InputError(
                f"figure option densities: {density!r} must be a number above 0 and at most 1."
            )
    compared = _compared(nodes, told)
    found, looks, shown = _arms(compared, options, told)
    named = {arm.branch or "": looks[arm] for arm in found}
    words = selection.describe(shown, compared)
    return Agreements([{**w, "inference": SOURCE} for w in shown], named, densities, words)


def agreement_table(nodes: Sequence[Node], options: Mapping, told: Mapping) -> Agreements:
    """Table 3: agreement of each arm with the sampler, level by level. It takes no options."""
    selection.with_defaults(options, {})
    return Agreements([], {}, (), parts.everything(_compared(nodes, told)))


def chains(nodes: Sequence[Node], options: Mapping, told: Mapping) -> Chains:
    """Figure 16: traces and R-hat of the chains of one pool.

    Options: `branch` (the pool; default the sampler of figure 15), `level` (default the sparsest),
    `seed` (default the first), and of `selection.panels` those of one model.
    """
    names = ("dataset", "model", "curriculum", "rewind", "branch", "level", "seed")
    options = selection.with_defaults(options, dict.fromkeys(names))
    pools = {arm.branch: arm for arm in arms.arms(told, SOURCE) if arm.samples and arm.members}
    left = [node for node in nodes if node["inference"] == SOURCE and node["branch"] in pools]
    if not left:
        raise NothingToShow("There is no pool of a sampler's chains on deterministic tickets.")
    models = options["model"] and [options["model"]]
    where, *_ = selection.panels(left, {**options, "models": models})
    left = selection.matching(left, where)
    best = [arm.branch for arm in arms.references([pools[node["branch"]] for node in left])]
    choices: dict[str, Callable[[list], Any]] = {
        "branch": lambda values: best[0] if best else values[0],
        "level": max,
        "seed": min,
        "scorer": min,
        "replicate": min,
    }
    for column, choose in choices.items():
        values = sorted({node[column] for node in left})
        wanted = choose(values) if options.get(column) is None else options[column]
        left = [node for node in left if node[column] == wanted]
        if not left:
            raise NothingToShow(
                f"No pool of {column} {wanted} is there; there is {parts.listed(values)}."
            )
    pool = dict(left[0])
    arm = pools[pool["branch"]]
    count = arm.members or 0
    numbers = range(pool["replicate"] * count, (pool["replicate"] + 1) * count)
    its = {
        f"chain{rank}": {**pool, "branch": arm.pool, "replicate": number}
        for rank, number in enumerate(numbers, 1)
    }
    ticket = f"{pool['dataset']}, {pool['model']}"
    shown = f"{ticket}, {arm.words}, level {pool['level']}, seed {pool['seed']}"
    if "rhat" not in told.get("convergence", {}):
        raise InputError("figure options.arms.convergence: the key 'rhat' is missing.")
    return Chains(its, told["convergence"]["rhat"], shown)


def _pruned(node: Node) -> bool:
    return node["inference"] == SOURCE and node["level"] > 0


def _compared(nodes: Sequence[Node], told: Mapping) -> Sequence[Node]:
    """The nodes that the table of agreement compares."""
    found = [node for node, _ in arms.compared(nodes, told)]
    if not found:
        raise NothingToShow(
            "There is no pool of a sampler's chains on deterministic tickets beside other nodes."
        )
    return found


def _arms(
    nodes: Sequence[Node], options: Mapping, told: Mapping
) -> tuple[list[Arm], dict[Arm, tuple[str, str]], list[Where]]:
    """The arms that there are, the look and the name of each, and the panels' models."""
    every = arms.arms(told, SOURCE)
    there = {node["branch"] for node in nodes if node["inference"] == SOURCE}
    found = arms.whole([arm for arm in every if arm.branch in there])
    names = arms.names(found)
    looks = {arm: (f"way{rank}", names[arm]) for rank, arm in enumerate(found, 1)}
    own = {arm.branch for arm in found if arm.branch}
    branched = [node for node in nodes if _pruned(node) and node["branch"] in own]
    if not branched:
        raise NothingToShow("There is no branch of a deterministic ticket that says how to train.")
    return found, looks, selection.panels(branched, options)
