# What the rules of train.smk differ in.
from itertools import product
from typing import Callable, NamedTuple

from bayesian_lottery.inference.kinds import KINDS
from bayesian_lottery.tickets.patterns import PATTERNS
from bayesian_lottery.tickets.scores import SCORERS
from bayesian_lottery.tickets.searches import SEARCHES


class Shape(NamedTuple):
    """Of a rule that trains the name, nodes and inputs by wildcards, outputs, and the log's folder.

    `tasks` and `files` say, by wildcards, what train.py is to compute, and from which files to which.
    """

    name: str
    nodes: Callable
    inputs: Callable
    outputs: dict
    folder: str
    words: str
    constraints: dict = {}
    tasks: Callable | None = None
    files: Callable | None = None

    def told(self, wildcards):
        """What train.py is to compute, as JSON; it computes it again when this changes."""
        found = self.tasks(wildcards) if self.tasks else map(task, self.nodes(wildcards))
        return json.dumps([*found])

    def paths(self, wildcards):
        """From which files to which, as JSON."""
        found = self.files(wildcards) if self.files else map(files, self.nodes(wildcards))
        return json.dumps([*found])


def task(node):
    return study.task(config, node)


def files(node):
    return study.files(PLACED, node)


def starts(node):
    """The files that a node is trained from, by name."""
    return {
        **study.node_inputs(config, node),
        "extensions": extension_files(node),
        "other_data": list(study.other_data(config, node).values()),
    }


def alone(name, pattern, **outputs):
    """The rule that trains one node a job, of those whose folder matches `pattern`."""
    common = {
        "metrics": "metrics.json",
        "history": "history.csv",
        "predictions": "predictions.safetensors",
    }
    return Shape(
        name=name,
        nodes=lambda wildcards: [node_of(wildcards)],
        inputs=lambda wildcards: starts(node_of(wildcards)),
        outputs={
            **{key: f"<results>/{{node}}/{file}" for key, file in common.items()},
            **outputs,
        },
        folder="{node}",
        words="{wildcards.node}",
        constraints={"node": pattern},
    )


def kept_by_members(name):
    """What gives the files of that name of a pool's members, in their order."""

    def paths(wildcards):
        needed = study.node_inputs(config, node_of(wildcards))
        return [path for key, path in needed.items() if key.rstrip("0123456789") == name]

    return paths


def names_of_kind(kind):
    """A pattern of the inferences of a kind."""
    return "|".join(n for n in study.inferences(config) if study.kind_name(config, n) == kind)


def branches_of(trains):
    """A pattern of all branches that train, or of all pools."""
    kinds = study.branch_kinds(config)
    names = "|".join(name for name, kind in kinds.items() if (kind.pool is None) == trains)
    return rf"runs/.+/(dense|level\d+)/({names})_\d+"


def levels_of(rewinds, *scored):
    """A pattern of the levels of all trunks of these rewinds whose search scores those networks."""
    kinds = {name: SEARCHES[study.search_kind(config, name)] for name in study.searches(config)}
    searches = [name for name, kind in kinds.items() if kind.scored in scored]
    later = {"search": searches, "ranking": study.rankings(config), "pattern": PATTERNS}
    named = (dict(zip(later, values)) for values in product(*later.values()))
    suffixes = "|".join(study.suffix(coordinates) for coordinates in named)
    # Scorers are named, since names of searches and rewinds may end as a rewind is called; what
    # begins as none does is one that is spelled wrongly, for which `node_of` has a sentence.
    known = "|".join(SCORERS)
    scorer = rf"(?:{known}|(?!(?:{known})_)[^/]+)"
    return rf"runs/.+/{scorer}_({'|'.join(rewinds)})({suffixes})/level\d+"


def keeping_draws(shapes):
    """Each shape for the nodes that keep no draws, and where there are others a second one."""
    nodes = [node for node in NODES.values() if not study.members(config, node)]
    folders = "|".join(node.folder for node in nodes if study.keeps_draws(config, node))
    draws = "<results>/{node}/draws.safetensors"
    for shape in shapes:
        if not folders:
            yield shape
            continue
        for suffix, ahead in {"": "!", "_and_keep_draws": "="}.items():
            pattern = f"(?{ahead}(?:{folders})/[^/]+$){shape.constraints['node']}"
            outputs = {**shape.outputs, "draws": draws} if suffix else shape.outputs
            yield shape._replace(
                name=shape.name + suffix, outputs=outputs, constraints={"node": pattern}
            )


def shapes_of_nodes():
    """A node a job. Weights are kept where another level may start from them."""
    weights, mask = (f"<results>/{{node}}/{name}.safetensors" for name in ("weights", "next_mask"))
    rewinds = study.rewinds(config)
    chained = [name for name in rewinds if study.rewind(config, name).origin == "previous"]
    others = [name for name in rewinds if name not in chained]
    pattern = levels_of(others, "previous")
    yield alone("train_level", pattern, weights=unneeded(weights), next_masks=[mask])
    for name in chained:
        pattern = levels_of([name], "previous")
        yield alone(f"train_level_{name}", pattern, weights=weights, next_masks=[mask])
    yield alone(
        "train_level_apart", levels_of(rewinds, "dense", "watched"), weights=unneeded(weights)
    )
    own = {"weights": unneeded(weights), "mask": "<results>/{node}/mask.safetensors"}
    yield alone("train_level_alone", levels_of(rewinds, "own"), **own)
    for name, kind in KINDS.items():
        masks = [mask.replace("next_mask", f"next_mask_{scorer}") for scorer in kind.scorers]
        pattern = rf"runs/[^/]+/[^/]+/({names_of_kind(name)})/.+/dense"
        yield alone(f"train_dense_{name}", pattern, weights=weights, next_masks=masks)
    yield alone("train_branch", branches_of(trains=True), **own)


def shapes_of_packs():
    """Several nodes a job, and a rule a job, since its outputs are those of its nodes."""
    packs = study.packs(config, NODES.values(), config["networks_per_job"])
    for number, pack in enumerate(packs, 1):
        outputs = {
            "metrics": [],
            "history": [],
            "predictions": [],
            "weights": [],
            "masks": [],
            "draws": [],
        }
        for node in pack:
            files = study.node_outputs(config, node)
            keep = str if study.starts_others(config, node) else unneeded
            outputs["metrics"].append(files["metrics"])
            outputs["history"].append(files["history"])
            outputs["predictions"].append(files["predictions"])
            outputs["weights"].append(keep(files["weights"]))
            outputs["masks"] += files.get("next_masks", {}).values()
            outputs["masks"] += [files["mask"]] if "mask" in files else []
            outputs["draws"] += [files["draws"]] if "draws" in files else []
        inputs = {path for node in pack for path in study.node_inputs(config, node).values()}
        inputs |= {path for node in pack for path in extension_files(node)}
        inputs |= {path for node in pack for path in study.other_data(config, node).values()}
        yield Shape(
            name=f"train_pack_{number}",
            nodes=lambda wildcards, pack=pack: pack,
            inputs=lambda wildcards, inputs=inputs: {"starts": sorted(inputs)},
            outputs=outputs,
            folder=pack[0].folder,
            words=f"{pack[0].folder} and {len(pack) - 1} beside it",
        )


def shapes_of_early_weights():
    """The weights of dense networks at early steps, for the rewinds that start from them."""
    names = {early.rewind for node in NODES.values() if (early := study.early_of(config, node))}

    def early(wildcards):
        return study.Early(node_of(wildcards), wildcards.rewind)

    if names:
        yield Shape(
            name="train_early",
            nodes=lambda wildcards: [node_of(wildcards)],
            inputs=lambda wildcards: {
                **study.node_inputs(config, node_of(wildcards)),
                "extensions": extension_files(node_of(wildcards)),
            },
            outputs={"weights": "<results>/{node}/early/at_{rewind}/weights.safetensors"},
            folder="{node}/early/at_{rewind}/weights",
            words="{wildcards.node} up to the step of the rewind {wildcards.rewind}",
            constraints={"node": r"runs/.+/dense", "rewind": "|".join(sorted(names))},
            tasks=lambda wildcards: [study.early_task(config, early(wildcards))],
            files=lambda wildcards: [study.early_files(PLACED, early(wildcards))],
        )


SHAPES = [
    *(keeping_draws(shapes_of_nodes()) if config["networks_per_job"] == 1 else shapes_of_packs()),
    *shapes_of_early_weights(),
]
