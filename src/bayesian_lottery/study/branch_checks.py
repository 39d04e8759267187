"""Checks of the kinds of branches of a configuration; each error is one sentence."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from bayesian_lottery.errors import InputError, choice
from bayesian_lottery.inference.monte_carlo import Exact
from bayesian_lottery.models import MODELS, narrow
from bayesian_lottery.study import choices, variants
from bayesian_lottery.study.datasets import Images, Undecoded, images_of
from bayesian_lottery.study.nodes import Node
from bayesian_lottery.study.schema import check_variants
from bayesian_lottery.study.settings import node_settings
from bayesian_lottery.tickets import rankings
from bayesian_lottery.tickets.branches import BRANCHES, MASKS, NETWORKS, SEEDS, WEIGHTS, Branch
from bayesian_lottery.tickets.objectives import FIRST, OBJECTIVES
from bayesian_lottery.tickets.patterns import FIRST as WEIGHTWISE
from bayesian_lottery.tickets.patterns import PATTERNS


def check_kinds(config: Mapping) -> None:
    """Refuse kinds of branches whose pieces are not known, or do not fit one another."""
    check_variants(config, "objectives", OBJECTIVES)
    allowed: dict[str, Collection[str]] = {
        "mask": MASKS,
        "weights": WEIGHTS,
        "inference": choices.inferences(config),
        "curriculum": config["curricula"],
        "of": choices.inferences(config),
        "dataset": config["datasets"],
        "objective": choices.objectives(config),
        "network": NETWORKS,
    }
    for name, pieces in config.get("branch_kinds", {}).items():
        key = f"branch_kinds.{name}"
        if name in BRANCHES:
            raise InputError(f"{key}: the package has a branch {name}; take another name.")
        for piece, value in pieces.items():
            if piece in allowed and value not in allowed[piece]:
                raise choice(f"{key}.{piece}", value, allowed[piece])
        kind = Branch(**pieces)
        if kind.pool is not None or kind.members is not None:
            _check_pool(config, key, pieces)
        for piece in ("mask", "weights", "seed", "dataset") if kind.network else ():
            if piece in pieces:
                raise InputError(
                    f"{key}.{piece}: the network {kind.network!r} has no mask and draws its own "
                    "weights, and is compared on the trunk's data; leave one of the two out."
                )
        if kind.seed is not None and kind.needs_trained_weights:
            raise InputError(
                f"{key}.seed: it says whose initial weights to take, and {key}.weights takes "
                "trained ones; leave one of the two out."
            )
        for piece in ("curriculum", "objective") if not kind.train else ():
            if piece in pieces:
                raise InputError(
                    f"{key}.{piece}: nothing is trained by it where {key}.train is false; leave "
                    "one of the two out."
                )
        if kind.dataset and choices.objective(config, kind.objective).teacher:
            raise InputError(
                f"{key}.objective: {kind.objective!r} has the trunk's dense network for a teacher, "
                f"which was not trained on {kind.dataset}; leave {key}.dataset out."
            )


def _check_pool(config: Mapping, key: str, pieces: Mapping) -> None:
    """Refuse a pool that is none of anything, or changes what is trained."""
    kinds = choices.branch_kinds(config)
    for one, other in (("pool", "members"), ("members", "pool")):
        if one not in pieces:
            raise InputError(
                f"{key}.{other}: it needs {key}.{one} beside it; a pool says whose predictions it "
                "averages, and of how many."
            )
    name = pieces["pool"]
    if name == SEEDS and SEEDS in kinds:
        raise InputError(
            f"{key}.pool: {SEEDS!r} is the level at several seeds, and a kind of branch too; give "
            f"branch_kinds.{SEEDS} another name."
        )
    if name not in (SEEDS, *kinds):
        raise choice(f"{key}.pool", name, [SEEDS, *kinds])
    if name != SEEDS and kinds[name].pool is not None:
        raise InputError(
            f"{key}.pool: {name!r} is a pool itself; name a branch that is trained, or {SEEDS!r}."
        )
    for piece in pieces.keys() - {"pool", "members", "of"}:
        raise InputError(
            f"{key}.{piece}: a pool trains nothing, so that it has no {piece} of its own; leave it "
            "out, or give it to the branch that is pooled."
        )


def check_members(config: Mapping, nodes: Sequence[Node]) -> None:
    """Refuse pools of which the study does not train every member."""
    known = set(nodes)
    for node in nodes:
        pooled = choices.members(config, node)
        missing = next((member for member in pooled if member not in known), None)
        if missing and missing.branch:
            last = pooled[-1].replicate or 0
            raise InputError(
                f"branches: {node.folder} pools replicates {pooled[0].replicate} to "
                f"{last} of {missing.branch}, and {missing.folder} is not in the "
                f"configuration; give {missing.branch} {last + 1} replicates there."
            )
        if missing:
            raise InputError(
                f"branches: {node.folder} pools its level at seeds {pooled[0].seed} to "
                f"{pooled[-1].seed}, and {missing.folder} is not in the configuration; give the "
                "trunk these seeds, or the branch fewer members or other 'seeds'."
            )


def check_network(config: Mapping, node: Node) -> None:
    """Refuse a branch to a network of another size from models that have none."""
    own = choices.branch(config, node).network
    if own and not narrow.can_be(choices.model(config, node.model)):
        fitting = ", ".join(name for name in MODELS if narrow.can_be(name))
        raise InputError(
            f"branch_kinds.{node.branch}.network: {own!r} does not go with the model {node.model}; "
            f"branch from one of {fitting}."
        )


def check_sizes(config: Mapping, nodes: Iterable[Node]) -> None:
    """Refuse a network of a ticket's size where even the narrowest is larger; this imports torch.

    Only of masks of single weights their sizes are known before any job.
    """
    own = {
        (node.dataset, node.model, node.ranking, node.level): node
        for node in nodes
        if choices.branch(config, node).network and node.level and node.pattern == WEIGHTWISE
    }
    for node in own.values():
        images = images_of(config, node.dataset)
        if not (images.shape and images.classes):
            continue
        ranking, shares = rankings.options_of(node_settings(config, node))
        form = (node.model, images.shape, images.classes)
        covers = "classifier" in shares
        whole, share = narrow.sizes(*form, covers), config["prune_fraction"]
        kept = rankings.contests(ranking, shares, whole, share, node.level)
        try:
            narrow.check(*form, sum(contest.count for contest in kept), covers)
        except InputError as error:
            raise InputError(f"branches: {node.folder}{str(error).removeprefix('model')}") from None


def check_objective(config: Mapping, node: Node) -> None:
    """Refuse a branch of an exact sampler that is to learn something other than the labels."""
    training = choices.trained(config, node)
    learnt = variants.kind_name(config, "objectives", training.objective)
    if learnt != FIRST and issubclass(choices.kind(config, training.inference).options, Exact):
        raise InputError(
            f"branch_kinds.{node.branch}.objective: {training.objective!r} does not go with the "
            f"inference {training.inference!r}, which samples what labels say, and learns nothing "
            "else; leave one of the two out."
        )


def check_data(config: Mapping, node: Node, known: Mapping[str, Images | Undecoded]) -> None:
    """Refuse a branch that is trained on data whose images or classes its ticket does not fit."""
    other = choices.trained(config, node).dataset
    here, there = known[node.dataset].shape, known[other].shape
    if here and there and here != there:
        raise InputError(
            f"branch_kinds.{node.branch}.dataset: the images of {other} are {_shape(there)}, and "
            f"those of {node.dataset}, where the tickets are found, {_shape(here)}; a ticket fits "
            "one shape."
        )
    theirs, ours = known[other].classes, known[node.dataset].classes
    redrawn = theirs and ours and theirs != ours
    shares = config.get("rankings", {}).get(node.ranking, {}).get("shares", {})
    if redrawn and ("classifier" in shares or PATTERNS[node.pattern].units):
        raise InputError(
            f"branch_kinds.{node.branch}.dataset: {other} has {theirs} classes, {node.dataset} "
            f"{ours}, and masks by the ranking {node.ranking!r} and the pattern {node.pattern!r} "
            "prune the classifier; give both data sets as many classes, or branch from others."
        )


def _shape(shape: tuple[int, int, int]) -> str:
    return " x ".join(map(str, shape))
