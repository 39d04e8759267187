"""What the names in a configuration stand for: inferences, models, searches, rewinds and the like.

Every kind of inference is an inference by its own name, with the options of the configuration's
section of that name; `inferences` adds variants. So do `searches`, `rankings`, `rewinds` and
`objectives` to the kinds of these, with their defaults. `models` and `branch_kinds` add those.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from bayesian_lottery.inference.kinds import KINDS, Kind
from bayesian_lottery.models import MODELS, Definition, Model
from bayesian_lottery.options import defaults
from bayesian_lottery.study import nodes, variants
from bayesian_lottery.study.nodes import Node
from bayesian_lottery.tickets.branches import BRANCHES, SEEDS, Branch, role, spelled
from bayesian_lottery.tickets.objectives import FIRST, OBJECTIVES, Objective
from bayesian_lottery.tickets.rankings import RANKINGS
from bayesian_lottery.tickets.rewinds import REWINDS, Rewind
from bayesian_lottery.tickets.searches import SEARCHES, Search


def inferences(config: Mapping) -> list[str]:
    """The names of all inferences of the configuration."""
    return variants.names(config, "inferences", KINDS)


def kind_name(config: Mapping, inference: str) -> str:
    """The name of the kind of an inference."""
    return variants.kind_name(config, "inferences", inference)


def kind(config: Mapping, inference: str) -> Kind:
    """The kind of an inference."""
    return KINDS[kind_name(config, inference)]


def options(config: Mapping, inference: str) -> dict:
    """The options of an inference: its own, over those of its kind's section or the defaults."""
    name = kind_name(config, inference)
    own = variants.given(config, "inferences", inference)
    return {**config.get(name, defaults(KINDS[name].options)), **own}


def rankings(config: Mapping) -> list[str]:
    """The names of all rankings of the configuration."""
    return variants.names(config, "rankings", RANKINGS)


def ranking_options(config: Mapping, node: Node) -> dict:
    """The kind and the shares of a node's ranking, where it is one of the configuration's."""
    own = config.get("rankings", {}).get(node.ranking)
    return {"ranking_options": {"shares": {}, **own}} if own and node.level else {}


def models(config: Mapping) -> list[str]:
    """The names of all models: those of the package, and those of the configuration."""
    return [*MODELS, *config.get("models", {})]


def model(config: Mapping, name: str) -> Model:
    """What a model's name stands for."""
    own = config.get("models", {})
    return Definition(**own[name]) if name in own else name


def definition(config: Mapping, node: Node) -> dict:
    """The definition of a node's model, if it is the configuration's."""
    own = config.get("models", {})
    return {"definition": dict(own[node.model])} if node.model in own else {}


def searches(config: Mapping) -> list[str]:
    """The names of all searches of the configuration."""
    return variants.names(config, "searches", SEARCHES)


def ways(config: Mapping) -> dict:
    """What figures and claims are told of the ways to a ticket that a configuration has.

    `tickets`: the coordinates of the tickets that most of them are of, where not the papers' own;
    `kinds`: by coordinate, search and rewind, the kinds of names of the configuration's own, and of
    branches what claims call them (`branches.role`). What says nothing is absent.
    """
    kinds = {
        coordinate: {name: entry["kind"] for name, entry in config.get(section, {}).items()}
        for coordinate, section in {"search": "searches", "rewind": "rewinds"}.items()
    }
    own = {name: Branch(**pieces) for name, pieces in config.get("branch_kinds", {}).items()}
    roles = {name: _role(config, kind) for name, kind in own.items()}
    kinds["branch"] = {name: called for name, called in roles.items() if called}
    told = {
        "tickets": nodes.spelled(config.get("tickets", {})),
        "kinds": {coordinate: named for coordinate, named in kinds.items() if named},
    }
    return {name: value for name, value in told.items() if value}


def _role(config: Mapping, kind: Branch) -> str | None:
    """What claims call a kind of branch, whatever the configuration calls its objective."""
    learnt = variants.kind_name(config, "objectives", kind.objective)
    return role(replace(kind, objective=learnt))


def arms(config: Mapping) -> dict:
    """What figures and claims on posteriors are told of a configuration: `arms`, with the pieces of
    `branches` of its own, the kinds of its `inferences`, and when chains agree (`convergence`).
    What says nothing is absent."""
    told = {
        "branches": {name: dict(own) for name, own in config.get("branch_kinds", {}).items()},
        "inferences": {name: own["kind"] for name, own in config.get("inferences", {}).items()},
    }
    told = {name: value for name, value in told.items() if value}
    return {"arms": {**told, "convergence": dict(config["convergence"])}} if told else {}


def told(config: Mapping) -> dict:
    """All that claims and comparisons with a sampler are told of a configuration."""
    return {**ways(config), **arms(config)}


def search_kind(config: Mapping, search: str) -> str:
    """The name of the kind of a search."""
    return variants.kind_name(config, "searches", search)


def search(config: Mapping, node: Node) -> Search:
    """The kind of the search of a node's trunk."""
    return SEARCHES[search_kind(config, node.search)]


def search_options(config: Mapping, search: str) -> dict:
    """The kind of a search, and all of its options."""
    kind, given = search_kind(config, search), variants.given(config, "searches", search)
    return {"kind": kind, **defaults(SEARCHES[kind].options), **given}


def makes_mask(config: Mapping, node: Node) -> bool:
    """Whether a level makes its own mask, before it is trained or as it is."""
    return node.level > 0 and not node.branch and search(config, node).scored == "own"


def previous(config: Mapping, node: Node) -> Node | None:
    """The node whose trained weights are scored for the mask of a node's level; None without."""
    scored = search(config, node).scored
    if node.level == 0 or scored not in ("previous", "dense"):
        return None
    before = replace(node.trunk, level=node.level - 1)
    return before if scored == "previous" and before.level else node.dense


def rewinds(config: Mapping) -> list[str]:
    """The names of all rewinds of the configuration."""
    return variants.names(config, "rewinds", REWINDS)


def rewind(config: Mapping, name: str) -> Rewind:
    """The entry that a rewind is of."""
    return REWINDS[variants.kind_name(config, "rewinds", name)]


def objectives(config: Mapping) -> list[str]:
    """The names of all objectives of the configuration."""
    return variants.names(config, "objectives", OBJECTIVES)


def objective(config: Mapping, name: str) -> Objective:
    """The entry that an objective is of."""
    return OBJECTIVES[variants.kind_name(config, "objectives", name)]


def taught(config: Mapping, node: Node) -> dict:
    """What a node is told of its objective and teacher; nothing where it learns the labels."""
    name = trained(config, node).objective
    if name == FIRST:
        return {}
    entry, given = objective(config, name), variants.given(config, "objectives", name)
    kind = variants.kind_name(config, "objectives", name)
    told = {"objective": {"kind": kind, **defaults(entry.options), **given}}
    return {**told, "teacher": teacher(config, node)} if entry.teacher else told


def teacher(config: Mapping, node: Node) -> dict:
    """What is told of a node's dense network as its teacher: its inference, kind and options, and
    how many weight samples its predictions average."""
    name = node.inference
    own, given = kind_name(config, name), options(config, name)
    return {
        "inference": name,
        "kind": own,
        own: given,
        "samples": config["evaluation"]["samples"] if KINDS[own].redraws else 1,
    }


def branch_kinds(config: Mapping) -> dict[str, Branch]:
    """The kinds of branches by name: those of the package, and those of the configuration."""
    own = config.get("branch_kinds", {})
    return {**BRANCHES, **{name: Branch(**pieces) for name, pieces in own.items()}}


def branch(config: Mapping, node: Node) -> Branch:
    """The kind of a node's branch; of a trunk's node one that changes nothing."""
    return branch_kinds(config)[node.branch] if node.branch else Branch()


def members(config: Mapping, node: Node) -> list[Node]:
    """The nodes that a pool averages; none of any other node.

    Replicate r of a pool of n has the r-th n replicates of the branch that it names, or the level
    as the r-th n seeds from the node's own on trained it. So no pool changes as more come.
    """
    own = branch(config, node)
    if own.pool is None or own.members is None or node.replicate is None:
        return []
    numbers = range(own.members * node.replicate, own.members * (node.replicate + 1))
    if own.pool == SEEDS:
        return [replace(node.trunk, seed=node.seed + number) for number in numbers]
    return [replace(node, branch=own.pool, replicate=number) for number in numbers]


def pieces(config: Mapping, node: Node) -> dict:
    """The pieces of a node's branch, of a kind that the package does not have."""
    own = branch(config, node)
    known = BRANCHES.get(node.branch) if node.branch else own
    return {} if own == known else {"pieces": spelled(own)}


def entries(config: Mapping, node: Node) -> list[tuple[str, str]]:
    """The entries of registries that training and pruning `node` takes, as (registry, name)."""
    own, training = branch(config, node), trained(config, node)
    used = [("model", node.model), ("kind", kind_name(config, training.inference))]
    if node.branch:
        learnt = variants.kind_name(config, "objectives", own.objective)
        used += [("kind", kind_name(config, training.teacher))] if training.teacher else []
        pieces_of = {"mask": own.mask, "weights": own.weights, "objective": learnt}
        return [*used, ("branch", node.branch), *pieces_of.items()]
    pruned_by = {
        "scorer": node.scorer,
        "rewind": variants.kind_name(config, "rewinds", str(node.rewind)),
        "search": search_kind(config, node.search),
        "ranking": variants.kind_name(config, "rankings", node.ranking),
        "pattern": node.pattern,
    }
    return [*used, *((registry, str(name)) for registry, name in pruned_by.items())]


class Training(NamedTuple):
    """What trains a node, by the names in the configuration; and whether anything does."""

    dataset: str
    inference: str
    curriculum: str
    train: bool
    objective: str
    teacher: str | None  # its inference


def trained(config: Mapping, node: Node) -> Training:
    """What trains a node: its trunk's data, inference and curriculum, or its branch's own.

    A pool is not trained; the names are those of its members.
    """
    if pooled := members(config, node):
        return trained(config, pooled[0])._replace(train=False)
    own = branch(config, node)
    taught = objective(config, own.objective).teacher
    return Training(
        own.dataset or node.dataset,
        own.inference or node.inference,
        own.curriculum or node.curriculum,
        own.train,
        own.objective,
        node.inference if taught else None,
    )


def keeps_draws(config: Mapping, node: Node) -> bool:
    """Whether a node keeps what each draw of a sampler predicts; of a pool, whether members do."""
    return kind(config, trained(config, node).inference).draws


class Initial(NamedTuple):
    """What names initial weights."""

    dataset: str
    model: str
    seed: int


def initial(config: Mapping, node: Node) -> Initial:
    """The initial weights that a node starts from: its own seed's, or those that its branch says.

    They are of the trunk's data set, whatever a branch is trained on.
    """
    seed = branch(config, node).seed
    return Initial(node.dataset, node.model, node.seed if seed is None else seed)


def alike(config: Mapping, node: Node) -> tuple:
    """Model, data, inference and so on: nodes that share them take as long as one another."""
    return node.model, *trained(config, node)
