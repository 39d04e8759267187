"""The configuration against a schema: keys, types and ranges, each error in one sentence.

The Snakefile imports this module; it needs no torch.
"""

import difflib
import math
import re
from collections.abc import Mapping
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator, ValidationError, validators
from jsonschema.exceptions import best_match

from bayesian_lottery import options
from bayesian_lottery.errors import InputError, choice, few, short
from bayesian_lottery.study import configfiles
from bayesian_lottery.study.configfiles import place
from bayesian_lottery.study.variants import given

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


def check_options(key: str, values: object, schema: Mapping) -> None:
    """Raise an `InputError` unless `values`, of `key`, fit their schema."""
    error = best_match(_Validator(schema).iter_errors(values))
    if error:
        raise InputError(_sentence(error, key))


def check_variants(config: Mapping, section: str, registry: Mapping) -> None:
    """Refuse variants whose kind is not known, or whose options do not fit it or one another."""
    for name, entry in config.get(section, {}).items():
        key = f"{section}.{name}"
        if entry["kind"] not in registry:
            raise choice(f"{key}.kind", entry["kind"], registry)
        if name in registry and entry["kind"] != name:
            raise InputError(
                f"{key}.kind: {name} is a kind of its own, and {entry['kind']!r} is another; "
                f"use another name than {name}."
            )
        own, values = registry[entry["kind"]].options, given(config, section, name)
        check_options(key, values, options.schema(own))
        try:
            own(**values)
        except InputError as error:  # begins with an option's name
            raise InputError(f"{key}.{error}") from None


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
        within = [f"{name}.{unknown}" for name in known if unknown in _keys(known[name])]
        close = within or difflib.get_close_matches(unknown, known, n=1)
        meant = " or ".join(map(repr, close))
        hint = f"did you mean {meant}?" if close else f"known are {few(known)}."
        return f"{where}{short(unknown)} is not a key; {hint}"
    if error.validator == "uniqueItems":
        return f"{where}{short(error.instance)} holds a value twice."
    return f"{where}{short(error.instance)} is not allowed; it must be {_allowed(error)}."


def _keys(schema: Mapping) -> Mapping:
    """The keys that a mapping of a schema has by name; none of what is no such mapping."""
    return schema.get("properties", {})


def _allowed(error: ValidationError) -> str:
    """What the part of the schema that was violated allows, in words."""
    schema = error.schema
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    types = schema.get("type", "string")  # propertyNames gives no type: names are text
    types = [types] if isinstance(types, str) else types
    words = " or ".join(_A_TYPE[name] for name in types)
    limits = [text.format(schema[name]) for name, text in _LIMITS.items() if name in schema]
    if "pattern" in schema:
        limits.insert(0, "of letters, digits, '_' and '-', starting with a letter or digit,")
    allowed = " ".join([words, " and ".join(limits)]).strip()
    text = error.instance if isinstance(error.instance, str) else ""
    if "number" in types and re.fullmatch(r"[-+.\d]+e[-+]?\d+", text):
        return f"{allowed} (YAML reads 1e-3 as text: write 1.0e-3 or 0.001)"
    if {"number", "integer", "boolean"}.intersection(types) and _is_plain(text):
        return (
            f"{allowed} (it is text, as quotes make it, and --config all that is inside a mapping "
            "or list; write it into a configuration file, without quotes)"
        )
    return f"{allowed}, for {schema['because']}" if "because" in schema else allowed


def _is_plain(text: str) -> bool:
    """Whether YAML reads a text as a number, true or false."""
    try:
        return isinstance(yaml.safe_load(text), int | float)
    except yaml.YAMLError:
        return False
