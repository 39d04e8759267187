"""Checks of the configuration, all before any job starts; each error is one sentence.

The Snakefile imports this module; it needs no torch.
"""

import difflib
import math
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator, ValidationError, validators
from jsonschema.exceptions import best_match

from bayesian_lottery import models, paths
from bayesian_lottery.errors import InputError, choice, few, short
from bayesian_lottery.inference.kinds import KINDS
from bayesian_lottery.options import schema as schema_of
from bayesian_lottery.study import (
    Node,
    Trunk,
    branches,
    choices,
    configfiles,
    datasets,
    definitions,
    expand,
    extensions,
    inferences,
    kind_name,
    nodes,
    options,
    ranking_checks,
    spelled,
)
from bayesian_lottery.study.configfiles import place
from bayesian_lottery.study.datasets import Images, images_of
from bayesian_lottery.tickets.branches import MASKS, WEIGHTS
from bayesian_lottery.tickets.searches import SEARCHES

# JSON Schema takes 3.0 for an integer, and NaN or infinity for a number within every limit.
_TYPES = Draft202012Validator.TYPE_CHECKER.redefine_many(
    {
        "integer": lambda _, value: type(value) is int,
        "number": lambda _, value: type(value) in (int, float) and math.isfinite(value),
    }
)
_Validator = validators.extend(Draft202012Validator, type_checker=_TYPES)

_A_TYPE = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "a mapping",
    "string": "text",
}
_LIMITS = {
    "minimum": "of at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "of at most {}",
    "exclusiveMaximum": "below {}",
    "minItems": "of {} or more entries",
    "minLength": "of {} or more characters",
    "maxLength": "of at most {} characters",
}

# The figures' options that name coordinates of trunks.
_SHOWN = {
    "dataset": "dataset",
    "models": "model",
    "model": "model",
    "curriculum": "curriculum",
    "rewind": "rewind",
    "scorer": "scorer",
}


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

    config: dict = {}
    for path in files:
        update_config(config, configfiles.read(path))
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
    from snakemake.utils import validate as fill_in_defaults

    check_schema(config, schema)
    fill_in_defaults(config, str(Path(schema).resolve()))
    extensions.load(config["extensions"])
    validate(config)


def check_schema(config: Mapping, schema_file: str | Path) -> None:
    """Check keys, types and ranges; defaults need not be filled in.

    Raises:
        InputError: names the key, its value, and what is allowed.
    """
    configfiles.check_plain(config)
    schema = yaml.safe_load(Path(schema_file).read_text())
    error = best_match(_Validator(schema).iter_errors(config))
    if error:
        raise InputError(_sentence(error))


def _sentence(error: ValidationError, root: str = "") -> str:
    """What is wrong, in one sentence; `root` is the key of what was validated."""
    steps = [*root.split("."), *error.absolute_path] if root else error.absolute_path
    where = f"{place(steps)}: " if steps else ""
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        return f"{where}the key {missing[0]!r} is missing."
    if error.validator == "additionalProperties":
        known = error.schema["properties"]
        unknown = next(name for name in error.instance if name not in known)
        close = difflib.get_close_matches(unknown, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known are {few(known)}."
        return f"{where}{short(unknown)} is not a key; {hint}"
    if error.validator == "uniqueItems":
        return f"{where}{short(error.instance)} holds a value twice."
    return f"{where}{short(error.instance)} is not allowed; it must be {_allowed(error)}."


def _allowed(error: ValidationError) -> str:
    """What the part of the schema that was violated allows, in words."""
    schema = error.schema
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    types = schema.get("type", "string")  # propertyNames gives no type: names are text
    words = " or ".join(_A_TYPE[name] for name in ([types] if isinstance(types, str) else types))
    limits = [text.format(schema[name]) for name, text in _LIMITS.items() if name in schema]
    if "pattern" in schema:
        limits.insert(0, "of letters, digits, '_' and '-', starting with a letter or digit,")
    allowed = " ".join([words, " and ".join(limits)]).strip()
    text = error.instance if isinstance(error.instance, str) else ""
    if "number" in types and re.fullmatch(r"[-+.\d]+e[-+]?\d+", text):
        return f"{allowed} (YAML reads 1e-3 as text: write 1.0e-3 or 0.001)"
    return f"{allowed}, for {schema['because']}" if "because" in schema else allowed


def validate(config: Mapping) -> list[Trunk]:
    """Check what a schema cannot, and return the trunks.

    Data sets that no trunk uses are not looked at. Nothing is downloaded.

    Raises:
        InputError: names the key, its value, and what is allowed.
    """
    paths.check_results(config["results"])
    _check_inferences(config)
    _check_variants("searches", "search", config.get("searches", {}), SEARCHES)
    _check_branch_kinds(config)
    definitions.check(config)
    trunks = expand(config)
    branches(config, trunks)
    for name, curriculum in config["curricula"].items():
        _check_curriculum(f"curricula.{name}", curriculum)
    for name in dict.fromkeys(trunk.dataset for trunk in trunks):
        used = [trunk for trunk in trunks if trunk.dataset == name]
        images = images_of(config, name)
        if images.shape:
            for model in dict.fromkeys(trunk.model for trunk in used):
                models.check(choices.model(config, model), images.shape)
            datasets.check_augment(name, config["datasets"][name]["augment"], images.shape)
            datasets.check_shifts(config, name, images.shape)
        for curriculum in dict.fromkeys(trunk.curriculum for trunk in used):
            batch_size = config["curricula"][curriculum]["batch_size"]
            if isinstance(images, Images) and batch_size > images.train:
                raise InputError(
                    f"curricula.{curriculum}.batch_size: {batch_size} is more than the "
                    f"{images.train} training images of {name}."
                )
    _check_foreign(config)
    ranking_checks.check(config, trunks)
    _check_figures(config, trunks)
    return trunks


def _check_foreign(config: Mapping) -> None:
    """Refuse data sets to tell from a node's own that are none of the configuration's, or wrong."""
    for name in config.get("evaluation", {}).get("out_of_distribution", []):
        if name not in config["datasets"]:
            raise choice("evaluation.out_of_distribution", name, config["datasets"])
        datasets.check_shifts(config, name, images_of(config, name).shape)


def _check_inferences(config: Mapping) -> None:
    """Refuse inferences whose kind is not known, or whose options do not fit it or one another."""
    _check_variants("inferences", "inference", config.get("inferences", {}), KINDS)
    for name in inferences(config):
        key = (
            f"inferences.{name}"
            if name in config.get("inferences", {})
            else kind_name(config, name)
        )
        _check_estimator(config, key, options(config, name))


def _check_variants(section: str, what: str, entries: Mapping, kinds: Mapping) -> None:
    """Refuse entries, each a kind and some of its options, that name no kind or do not fit it."""
    for name, entry in entries.items():
        key = f"{section}.{name}"
        if entry["kind"] not in kinds:
            raise choice(f"{key}.kind", entry["kind"], kinds)
        if name in kinds and entry["kind"] != name:
            raise InputError(
                f"{key}.kind: {name} is a kind of its own, and {entry['kind']!r} is another; "
                f"give this {what} another name."
            )
        given = {option: value for option, value in entry.items() if option != "kind"}
        error = best_match(_Validator(schema_of(kinds[entry["kind"]].options)).iter_errors(given))
        if error:
            raise InputError(_sentence(error, key))


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


def _check_branch_kinds(config: Mapping) -> None:
    """Refuse kinds of branches whose pieces are not known."""
    allowed: dict[str, Collection[str]] = {
        "mask": MASKS,
        "weights": WEIGHTS,
        "inference": inferences(config),
        "curriculum": config["curricula"],
        "of": inferences(config),
    }
    for name, pieces in config.get("branch_kinds", {}).items():
        for piece, value in pieces.items():
            if value not in allowed[piece]:
                raise choice(f"branch_kinds.{name}.{piece}", value, allowed[piece])


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
            for value in wanted if isinstance(wanted, list) else [wanted]:
                if value not in present:
                    raise choice(f"figures.{figure}.{option}", value, present)
