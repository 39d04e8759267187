"""Checks of the configuration, all before any job starts; each error is one sentence.

The Snakefile imports this module; it needs no torch.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from bayesian_lottery import models, paths
from bayesian_lottery.errors import InputError, choice, few, short
from bayesian_lottery.inference.kinds import KINDS
from bayesian_lottery.study import (
    Node,
    Trunk,
    branch_checks,
    branches,
    choices,
    configfiles,
    datasets,
    definitions,
    expand,
    exported,
    extensions,
    folder_names,
    inference_checks,
    inferences,
    nodes,
    options,
    ranking_checks,
    rewind_checks,
    spelled,
    trained,
)
from bayesian_lottery.study.datasets import Images, Undecoded, images_of
from bayesian_lottery.study.expansion import as_list
from bayesian_lottery.study.schema import check_schema, check_variants
from bayesian_lottery.study.variants import given
from bayesian_lottery.tickets.rewinds import REWINDS
from bayesian_lottery.tickets.searches import SEARCHES, Moving

# The figures' options that name coordinates of trunks.
_SHOWN = {
    "dataset": "dataset",
    "models": "model",
    "model": "model",
    "curriculum": "curriculum",
    "rewind": "rewind",
    "scorer": "scorer",
}


def merged(files: Sequence[str | Path]) -> dict:
    """What configuration files say, as `load` takes them, with nothing checked or filled in."""
    from snakemake.utils import update_config

    config: dict = {}
    for path in files:
        update_config(config, configfiles.read(path))
    return config


def load(
    files: Sequence[str | Path], overrides: Sequence[str], schema: str | Path
) -> tuple[dict, list[Node]]:
    """The configuration as the Snakefile sees it, defaults filled in, and its nodes.

    Args:
        files: as `snakemake --configfile` takes them; later ones are laid over earlier ones.
            Without trunks in any, all are laid over config/config.yaml, of the working directory
            or else of the project.
        overrides: as `snakemake --config` takes them, KEY=VALUE.
        schema: the configuration's JSON schema, in the project's workflow/schemas.

    Raises:
        InputError: a file is missing, or the configuration is not allowed.
    """
    from snakemake.utils import update_config

    config = merged(files)
    if overrides:
        from snakemake.cli import parse_config  # here, because it takes seconds to import

        try:
            update_config(config, parse_config(overrides))
        except (ValueError, AssertionError):
            raise InputError(
                f"--config: {few(map(short, overrides))} is not KEY=VALUE with a key of two "
                "or more letters, digits and _, and a value that is not blank."
            ) from None
    if "trunks" not in config:
        default = Path("config/config.yaml")
        workflows_own = Path(schema).parents[2] / default
        given, config = config, configfiles.read(default if default.exists() else workflows_own)
        update_config(config, given)
    complete(config, schema)
    return config, nodes(config)


def complete(config: dict, schema: str | Path) -> None:
    """Check the configuration, fill in its defaults, and load its extensions.

    Raises:
        InputError: it is not allowed, in one sentence.
    """
    fill_in(config, schema)
    validate(config)


def fill_in(config: dict, schema: str | Path) -> None:
    """Check the configuration against its schema alone, fill in defaults, and load extensions.

    Raises:
        InputError: the schema does not allow it, in one sentence.
    """
    from snakemake.utils import validate as fill_in_defaults

    check_schema(config, schema)
    fill_in_defaults(config, str(Path(schema).resolve()))
    extensions.load(config["extensions"])


def validate(config: Mapping) -> list[Trunk]:
    """Check what a schema cannot, and return the trunks.

    Data sets that no trunk uses are not looked at. Nothing is downloaded.

    Raises:
        InputError: names the key, its value, and what is allowed.
    """
    paths.check_results(config["results"])
    _check_inferences(config)
    check_variants(config, "searches", SEARCHES)
    check_variants(config, "rewinds", REWINDS)
    folder_names.check(config)
    branch_checks.check_kinds(config)
    definitions.check(config)
    trunks = expand(config)
    branched = branches(config, trunks)
    levels = [node for trunk in trunks for node in trunk.nodes()]
    branch_checks.check_members(config, [*levels, *branched])
    for name, curriculum in config["curricula"].items():
        _check_curriculum(f"curricula.{name}", curriculum)
    used = dict.fromkeys((trunk.dataset, trunk.model, trunk.curriculum) for trunk in trunks)
    trainings = [(node.model, trained(config, node)) for node in branched]
    used |= dict.fromkeys((own.dataset, model, own.curriculum) for model, own in trainings)
    known = {name: images_of(config, name) for name in dict.fromkeys(name for name, *_ in used)}
    for name, model, curriculum in used:
        _check_training(config, name, known[name], model, curriculum)
    for node in branched:
        branch_checks.check_data(config, node, known)
        branch_checks.check_network(config, node)
        branch_checks.check_objective(config, node)
    for trunk in trunks:
        rewind_checks.check_step(config, trunk, known[trunk.dataset])
        _check_moves(config, trunk, known[trunk.dataset])
    _check_foreign(config)
    inference_checks.check(config, [*levels, *branched], known)
    ranking_checks.check(config, trunks)
    exported(config, trunks)
    _check_figures(config, trunks)
    return trunks


def _check_training(
    config: Mapping, name: str, images: Images | Undecoded, model: str, curriculum: str
) -> None:
    """Refuse a model that does not take a data set's images, and crops and batches too large."""
    if images.shape:
        try:
            models.check(choices.model(config, model), images.shape)
        except InputError as error:
            raise InputError(f"{_entry(config, name, model)}{error}") from None
        datasets.check_augment(name, config["datasets"][name]["augment"], images.shape)
        datasets.check_shifts(config, name, images.shape)
    batch_size = config["curricula"][curriculum]["batch_size"]
    if images.train is not None and batch_size > images.train:
        raise InputError(
            f"curricula.{curriculum}.batch_size: {batch_size} is more than the "
            f"{images.train} training images of {name}."
        )


def _entry(config: Mapping, dataset: str, model: str) -> str:
    """The first entry of the trunks that asks for a model on a data set, as a sentence begins;
    nothing where branches alone do."""
    for number, entry in enumerate(config["trunks"], 1):
        if dataset in as_list(entry["dataset"]) and model in as_list(entry["model"]):
            return f"trunks entry {number}."
    return ""


def _check_foreign(config: Mapping) -> None:
    """Refuse data sets to tell from a node's own that are none of the configuration's, or wrong."""
    for name in config.get("evaluation", {}).get("out_of_distribution", []):
        if name not in config["datasets"]:
            raise choice("evaluation.out_of_distribution", name, config["datasets"])
        datasets.check_shifts(config, name, images_of(config, name).shape)


def _check_moves(config: Mapping, trunk: Trunk, images: Images | Undecoded) -> None:
    """Refuse a search whose masks would not move in training, as far as its steps are known."""
    kind = SEARCHES[choices.search_kind(config, trunk.search)]
    if not (trunk.levels and images.train and issubclass(kind.options, Moving)):
        return
    steps = datasets.steps_of(config["curricula"][trunk.curriculum], images.train)
    try:
        kind.options(**given(config, "searches", trunk.search)).check_steps(steps)
    except InputError as error:
        raise InputError(
            f"searches.{trunk.search}: on {trunk.dataset}, with the curriculum {trunk.curriculum}, "
            f"{error}"
        ) from None


def _check_inferences(config: Mapping) -> None:
    """Refuse inferences that are not known, or whose options do not fit one another."""
    check_variants(config, "inferences", KINDS)
    for name in inferences(config):
        inference_checks.check_range(config, name)
        _check_estimator(config, inference_checks.key_of(config, name), options(config, name))


def _check_estimator(config: Mapping, key: str, given: Mapping) -> None:
    """Refuse what goes with sampled weights only, if the estimator of an inference is another."""
    if (estimator := given.get("estimator", "weights")) == "weights":
        return
    used = {
        f"{key}.antithetic": given["antithetic"],
        "compute.capture": config["compute"]["capture"],
        "networks_per_job": config["networks_per_job"] > 1,
    }
    for other in (other for other, use in used.items() if use):
        raise InputError(
            f"{other}: it needs the estimator 'weights', and {key}.estimator is {estimator!r}; "
            "set one of the two back to its default."
        )


def _check_curriculum(key: str, curriculum: Mapping) -> None:
    epochs, warmup = curriculum["epochs"], curriculum["warmup_epochs"]
    for milestone in curriculum["milestones"]:
        if milestone >= epochs:
            raise InputError(f"{key}.milestones: {milestone} must be below the {epochs} epochs.")
    if warmup > epochs:
        raise InputError(f"{key}.warmup_epochs: {warmup} is more than the {epochs} epochs.")


def _check_figures(config: Mapping, trunks: list[Trunk]) -> None:
    """Refuse figures of what the study does not hold, days before they would come out empty."""
    for name, wanted in spelled(config.get("tickets", {})).items():
        present = {getattr(trunk, name) for trunk in trunks}
        if wanted not in present:
            raise choice(f"tickets.{name}", wanted, present)
    for figure, chosen in config["figures"].items():
        for option, coordinate in _SHOWN.items():
            wanted = chosen.get(option, [])
            present = {getattr(trunk, coordinate) for trunk in trunks}
            for value in as_list(wanted):
                if value not in present:
                    raise choice(f"figures.{figure}.{option}", value, present)
