"""What the names in a configuration stand for: inferences, models, searches, rankings, branches.

Every kind of inference is an inference by its own name, with the options of the configuration's
section of that name; `inferences` adds variants. Every kind of search and of ranking is one by its
own name, with its defaults; `searches` and `rankings` add variants. `models` and `branch_kinds` add
those.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import NamedTuple

from bayesian_lottery.inference.kinds import KINDS, Kind
from bayesian_lottery.models import MODELS, Definition, Model
from bayesian_lottery.options import defaults
from bayesian_lottery.study.nodes import Node
from bayesian_lottery.tickets.branches import BRANCHES, Branch
from bayesian_lottery.tickets.rankings import RANKINGS
from bayesian_lottery.tickets.searches import SEARCHES, Search


def inferences(config: Mapping) -> list[str]:
    """The names of all inferences of the configuration."""
    return list(dict.fromkeys([*KINDS, *config.get("inferences", {})]))


def kind_name(config: Mapping, inference: str) -> str:
    """The name of the kind of an inference."""
    return config.get("inferences", {}).get(inference, {}).get("kind", inference)


def kind(config: Mapping, inference: str) -> Kind:
    """The kind of an inference."""
    return KINDS[kind_name(config, inference)]


def options(config: Mapping, inference: str) -> dict:
    """The options of an inference: its own, over those of its kind's section or the defaults."""
    name = kind_name(config, inference)
    entry = config.get("inferences", {}).get(inference, {})
    own = {key: value for key, value in entry.items() if key != "kind"}
    return {**config.get(name, defaults(KINDS[name].options)), **own}


def rankings(config: Mapping) -> list[str]:
    """The names of all rankings of the configuration."""
    return [*RANKINGS, *config.get("rankings", {})]


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
    return list(dict.fromkeys([*SEARCHES, *config.get("searches", {})]))


def search_kind(config: Mapping, search: str) -> str:
    """The name of the kind of a search."""
    return config.get("searches", {}).get(search, {}).get("kind", search)


def search(config: Mapping, node: Node) -> Search:
    """The kind of the search of a node's trunk."""
    return SEARCHES[search_kind(config, node.search)]


def search_options(config: Mapping, search: str) -> dict:
    """The kind of a search, and all of its options."""
    entry = config.get("searches", {}).get(search, {})
    kind = search_kind(config, search)
    return {"kind": kind, **defaults(SEARCHES[kind].options), **entry}


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


def branch_kinds(config: Mapping) -> dict[str, Branch]:
    """The kinds of branches by name: those of the package, and those of the configuration."""
    own = config.get("branch_kinds", {})
    return {**BRANCHES, **{name: Branch(**pieces) for name, pieces in own.items()}}


def branch(config: Mapping, node: Node) -> Branch:
    """The kind of a node's branch; of a trunk's node one that changes nothing."""
    return branch_kinds(config)[node.branch] if node.branch else Branch()


def pieces(config: Mapping, node: Node) -> dict:
    """The pieces of a node's branch, of a kind that the package does not have."""
    own = branch(config, node)
    known = BRANCHES.get(node.branch, Branch()) if node.branch else Branch()
    return {} if own == known else {"pieces": asdict(own)}


def entries(config: Mapping, node: Node) -> list[tuple[str, str]]:
    """The entries of registries that training and pruning `node` takes, as (registry, name)."""
    own, training = branch(config, node), trained(config, node)
    used = [("model", node.model), ("kind", kind_name(config, training.inference))]
    if node.branch:
        return [*used, ("branch", node.branch), ("mask", own.mask), ("weights", own.weights)]
    ranking = config.get("rankings", {}).get(node.ranking, {}).get("kind", node.ranking)
    pruned_by = {
        "scorer": node.scorer,
        "rewind": node.rewind,
        "search": search_kind(config, node.search),
        "ranking": ranking,
        "pattern": node.pattern,
    }
    return [*used, *((registry, str(name)) for registry, name in pruned_by.items())]


class Training(NamedTuple):
    """The names of the inference and the curriculum that train a node."""

    inference: str
    curriculum: str


def trained(config: Mapping, node: Node) -> Training:
    """What trains a node: its trunk's inference and curriculum, unless its branch has its own."""
    own = branch(config, node)
    return Training(own.inference or node.inference, own.curriculum or node.curriculum)


def alike(config: Mapping, node: Node) -> tuple[str, str, str, str]:
    """Data, model, inference and curriculum: nodes that share them take as long as one another."""
    return node.dataset, node.model, *trained(config, node)
