"""The settings of a node: all that making it depends on besides its input files, spelled out."""

from collections.abc import Mapping

from bayesian_lottery.study import choices, variants
from bayesian_lottery.study.nodes import Node

# What the absence of a setting that came after studies had been made means for good: how those were
# trained. Jobs are told such a setting only where it differs, so that their parameters stay as they
# were and nothing is trained again. The default in the schema may change; this may not.
ABSENT: Mapping[str, Mapping] = {
    "compute": {"deterministic": True},
    "evaluation": {"every_steps": None, "shifts": [], "out_of_distribution": []},
}

SELECTED_BY = ("samples", "batch_size", "bins")  # of `evaluation`, the members of a population

# What settings say of where a node's ticket comes from, and not of how it is trained.
TICKET = (
    *("seed", "scorer", "scorers", "rewind", "rewinding", "search", "search_options"),
    *("branch", "pieces", "replicate"),
)


def scorers(config: Mapping, node: Node) -> list[str]:
    """The scorers by which a node is pruned: its own; a dense one by those of its kind.

    A branch is not pruned, nor is a level that no other is found from.
    """
    if node.branch or choices.search(config, node).scored != "previous":
        return []
    return [node.scorer] if node.scorer else [*choices.kind(config, node.inference).scorers]


def node_settings(config: Mapping, node: Node) -> dict:
    """All that training `node` depends on besides its input files, and nothing else.

    The workflow retrains a node when this changes. A network whose predictions are not stochastic
    gives one, whatever the configuration's numbers of samples and passes. Keys that have come
    later stand here only where they say something new: `kind` where the inference's name is
    another, `ranking_options` and `rewinding` where their names do not say all, `pieces` and
    `definition` where the package does not know the branch and the model, `objective` and `teacher`
    where it learns more than the labels. A pool has settings of its own (`pool_settings`).
    """
    if choices.members(config, node):
        return pool_settings(config, node)
    training = choices.trained(config, node)
    dataset, curriculum = (
        config["datasets"][training.dataset],
        config["curricula"][training.curriculum],
    )
    kind = choices.kind_name(config, training.inference)
    evaluation = _told("evaluation", config["evaluation"])
    options = choices.options(config, training.inference)
    settings = {
        **node.coordinates(),
        "dataset": training.dataset,
        "inference": training.inference,
        "augment": dict(dataset["augment"]),
        "validation": dataset["validation"],
        "curriculum": {**curriculum, **({} if training.train else {"epochs": 0})},
        "prune_fraction": config["prune_fraction"],
        "compute": _told("compute", config["compute"]),
        "scorers": scorers(config, node),
        **({kind: options} if options else {}),
        **({"kind": kind} if kind != training.inference else {}),
        **choices.ranking_options(config, node),
        **_own_search(config, node),
        **_rewinding(config, node),
        **choices.pieces(config, node),
        **choices.definition(config, node),
        **choices.taught(config, node),
    }
    if choices.kind(config, training.inference).redraws:
        return {**settings, "evaluation": evaluation}
    return {**settings, "evaluation": {**evaluation, "samples": 1, "passes": 1}}


def pool_settings(config: Mapping, node: Node) -> dict:
    """All that a pool depends on besides its members' files.

    Data set and inference are the members' names; they have been trained, and it is not. Where they
    are chains, it is told when these count as agreeing.
    """
    training = choices.trained(config, node)
    kind = choices.kind_name(config, training.inference)
    return {
        **node.coordinates(),
        "dataset": training.dataset,
        "inference": training.inference,
        **({"kind": kind} if kind != training.inference else {}),
        "curriculum": {"epochs": 0, "batch_size": 1},
        "evaluation": {"bins": config["evaluation"]["bins"], "every": 1, "passes": 1, "samples": 1},
        **choices.pieces(config, node),
        **(
            {"convergence": dict(config["convergence"])}
            if choices.keeps_draws(config, node)
            else {}
        ),
    }


def _own_search(config: Mapping, node: Node) -> dict:
    """What a node that makes its own mask is told of its search; of other searches, nothing."""
    own = choices.makes_mask(config, node)
    return {"search_options": choices.search_options(config, node.search)} if own else {}


def _rewinding(config: Mapping, node: Node) -> dict:
    """What a level is told of its rewind, besides the name."""
    level = node.rewind and not node.branch
    told = variants.told(config, "rewinds", str(node.rewind)) if level else {}
    return {"rewinding": told} if told else {}


def _told(section: str, values: Mapping) -> dict:
    """What a job is told of a section of the configuration: all but what absence means."""
    absent = ABSENT.get(section, {})
    return {key: v for key, v in values.items() if key not in absent or v != absent[key]}


def training_settings(config: Mapping, node: Node) -> dict:
    """A node's settings without those that its training does not depend on, of tests and of what
    it is pruned by, for jobs that train it again for another end.

    What a population is selected by stays of the section of tests.
    """
    settings = node_settings(config, node)
    told = {key: settings[key] for key in settings if key not in ("scorers", "evaluation")}
    if not choices.kind(config, settings["inference"]).held_out:
        return told
    return {**told, "evaluation": {key: settings["evaluation"][key] for key in SELECTED_BY}}
