"""Where the files of a study lie, and whose files a node starts from."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from bayesian_lottery.models import Definition
from bayesian_lottery.study import choices, owners
from bayesian_lottery.study.early import early_of
from bayesian_lottery.study.expansion import nodes
from bayesian_lottery.study.nodes import Node, suffix
from bayesian_lottery.study.settings import node_settings, scorers, training_settings


class Origin(NamedTuple):
    """A file that a node starts from: the node in whose folder it lies, and its name."""

    node: Node
    name: str


def origins(config: Mapping, node: Node) -> dict[str, Origin]:
    """What `node` starts from of other nodes, by name: the one answer to whose files are needed.

    It is the `mask` made from the weights of the level before, or of the dense network, or the one
    that a branch's level has made by itself; `rewind_weights` that the rewind goes back to;
    `trained_weights` of the level that a branch starts from; `teacher`, the weights of the dense
    network whose predictions a branch learns. A pool needs the `predictions` of its members, and
    their `draws` where they are chains; names end in the member's number.
    """
    if pooled := choices.members(config, node):
        chains = choices.keeps_draws(config, node)
        names = ("predictions", "draws") if chains else ("predictions",)
        each = enumerate(pooled)
        return {f"{name}{i}": Origin(member, name) for i, member in each for name in names}
    needed = {}
    previous = choices.previous(config, node)
    if previous:
        needed["mask"] = Origin(previous, _mask(node, previous))
    elif node.level and choices.search(config, node).watch:
        needed["mask"] = Origin(node.dense, f"{watched(node)}/level{node.level:02}")
    elif node.branch and choices.makes_mask(config, node.trunk):
        needed["mask"] = Origin(node.trunk, "mask")
    if weights := _rewound(config, node):
        needed["rewind_weights"] = weights
    if choices.branch(config, node).needs_trained_weights:
        needed["trained_weights"] = Origin(node.trunk, "weights")
    if choices.trained(config, node).teacher:
        needed["teacher"] = Origin(node.dense, "weights")
    return needed


def _rewound(config: Mapping, node: Node) -> Origin | None:
    """The weights that the rewind of a level goes back to; None where it needs no others."""
    if node.rewind is None or node.branch:
        return None
    if early := early_of(config, node):
        return Origin(early.node, early.name)
    trained = {"previous": choices.previous(config, node), "dense": node.dense}
    source = trained.get(str(choices.rewind(config, node.rewind).origin))
    return Origin(source, "weights") if source else None


def _mask(node: Node, previous: Node) -> str:
    """The name of a node's mask. A dense network has masks of several scorers, rankings, patterns
    and levels, which searches share."""
    if previous.level > 0:
        return "next_mask"
    depth = f"_level{node.level:02}" if node.level > 1 else ""
    how = suffix({"ranking": node.ranking, "pattern": node.pattern})
    return f"next_mask_{node.scorer}{how}{depth}"


def masks_apart(config: Mapping, nodes: Iterable[Node]) -> dict[str, Node]:
    """The masks that dense networks are pruned to when they are trained already, by path.

    Each with a node that starts from it. Training itself prunes for level 1 by the scorers of the
    kind of inference, with the ranking and the pattern that `LATER` has.
    """
    found: dict[str, Node] = {}
    for node in nodes:
        dense = node.dense
        if node.level and not node.branch and choices.previous(config, node) == dense:
            mask = node_inputs(config, node)["mask"]
            if mask not in node_outputs(config, dense)["next_masks"].values():
                found.setdefault(mask, node)
    return found


def pruning_task(config: Mapping, node: Node) -> dict:
    """What pruning a dense network for `node` is to compute, where training does not: the task of
    the dense network, and what of the node it depends on."""
    level = {"level": node.level} if node.level > 1 else {}
    return {**task(config, node.dense), **level, **_cut(config, node)}


def _cut(config: Mapping, node: Node) -> dict:
    """Of a node's settings the ranking and the pattern that its mask is cut by."""
    settings = node_settings(config, node)
    names = ("ranking", "ranking_options", "pattern")
    return {name: settings[name] for name in names if name in settings}


def watched(node: Node) -> str:
    """The folder, in its dense node's, of what the search of a level saw as that one trained."""
    how = suffix({"ranking": node.ranking, "pattern": node.pattern})
    return f"watched_{node.search}_{node.scorer}{how}"


def watching_task(config: Mapping, node: Node) -> dict:
    """What watching the dense node of a level train is to compute: the masks of all levels."""
    told = {"watch": choices.search_options(config, node.search), "scorer": node.scorer}
    settings = {**training_settings(config, node.dense), **_cut(config, node), **told}
    return {"node": node.dense.coordinates(), "settings": settings}


def starts_others(config: Mapping, node: Node) -> bool:
    """Whether another level of the trunk may start from the node's trained weights.

    A dense network's are kept for whatever may come later.
    """
    if node.branch or node.rewind is None:
        return not node.branch
    chained = choices.search(config, node).scored == "previous"
    return chained and choices.rewind(config, node.rewind).origin == "previous"


def metrics_files(config: Mapping) -> list[str]:
    """The metrics files of all nodes: what the tables are made of."""
    root = config["results"]
    return [f"{root}/{node.folder}/metrics.json" for node in nodes(config)]


def data_file(config: Mapping, dataset: str) -> str:
    """The decoded data set."""
    return f"{config['results']}/data/{dataset}.safetensors"


def node_inputs(config: Mapping, node: Node) -> dict[str, str]:
    """The files that training `node` starts from: `data`, `initial`, and those of `origins`; of a
    pool in place of `initial` the members' metrics."""
    root = config["results"]
    files = {
        name: f"{root}/{source.node.folder}/{source.name}.safetensors"
        for name, source in origins(config, node).items()
    }
    data = data_file(config, choices.trained(config, node).dataset)
    if pooled := choices.members(config, node):
        metrics = {f"metrics{i}": f"{root}/{m.folder}/metrics.json" for i, m in enumerate(pooled)}
        return {"data": data, **metrics, **files}
    dataset, model, seed = choices.initial(config, node)
    initial = f"{root}/initial/{dataset}/{model}/seed{seed}.safetensors"
    return {"data": data, "initial": initial, **files}


def node_extensions(config: Mapping, node: Node) -> list[str]:
    """The user's files that training `node` takes: extensions with its entries, and its model's. A
    pool takes none."""
    if choices.members(config, node):
        return []
    used = owners.files_of(choices.entries(config, node))
    return sorted({*used, *model_files(config, node.model)})


def model_files(config: Mapping, name: str) -> list[str]:
    """The file of a model of the configuration's own, if it is one's and not a module's."""
    model = choices.model(config, name)
    return [model.file] if isinstance(model, Definition) and model.file else []


def other_data(config: Mapping, node: Node) -> dict[str, str]:
    """The decoded data sets that the node's predictions are to tell from its own, by name; of a
    pool none."""
    if choices.members(config, node):
        return {}
    names = config["evaluation"].get("out_of_distribution", [])
    own = choices.trained(config, node).dataset
    return {name: data_file(config, name) for name in names if name != own}


def node_outputs(config: Mapping, node: Node) -> dict:
    """The files that training `node` writes, by name; `next_masks` are paths by scorer.

    The rules that train one node a job have the same as patterns. A pool has no weights.
    """
    folder = f"{config['results']}/{node.folder}"
    outputs: dict = {
        "metrics": f"{folder}/metrics.json",
        "history": f"{folder}/history.csv",
        "predictions": f"{folder}/predictions.safetensors",
    }
    if choices.members(config, node):
        return outputs
    outputs["weights"] = f"{folder}/weights.safetensors"
    if choices.keeps_draws(config, node):
        outputs["draws"] = f"{folder}/draws.safetensors"
    if node.branch or choices.makes_mask(config, node):
        return {**outputs, "mask": f"{folder}/mask.safetensors"}
    suffixes = {scorer: f"_{scorer}" if node.level == 0 else "" for scorer in scorers(config, node)}
    next_masks = {
        name: f"{folder}/next_mask{suffix}.safetensors" for name, suffix in suffixes.items()
    }
    return {**outputs, "next_masks": next_masks}


def task(config: Mapping, node: Node) -> dict:
    """What training `node` is to compute: its coordinates, which name its random streams, and its
    settings."""
    return {"node": node.coordinates(), "settings": node_settings(config, node)}


def files(config: Mapping, node: Node) -> dict:
    """From which files to which `node` is trained; and what becomes of it if it has collapsed.

    The latter is no setting: what has been trained stays, and what was refused is tried again.
    """
    inputs: dict = {**node_inputs(config, node), "extensions": node_extensions(config, node)}
    if others := other_data(config, node):
        inputs["other_data"] = others
    collapse = config.get("collapse", "trained")
    told = {} if collapse == "trained" else {"collapse": collapse}
    return {"inputs": inputs, "outputs": node_outputs(config, node), **told}
