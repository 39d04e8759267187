"""Typed options: a frozen dataclass of `option` fields says names, types, defaults and limits once.

`schema` turns it into JSON Schema, by which a configuration is checked.
"""

import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

_TYPES = {int: "integer", float: "number", bool: "boolean", str: "string", Mapping: "object"}


@dataclass(frozen=True)
class Nothing:
    """No options."""


def option(default: object, description: str, **limits: object):
    """A field of a class of options: its default, a sentence, and limits in JSON Schema's words.

    The default None means that the option is not given; no configuration can say it.
    """
    return field(default=default, metadata={"description": description, **limits})


def defaults(options: type) -> dict:
    """The options' defaults, by name, of those that have one."""
    return {each.name: each.default for each in fields(options) if each.default is not None}


def schema(options: type) -> dict:
    """The JSON Schema of a mapping with these options, all of which have defaults."""
    hints = typing.get_type_hints(options)
    properties = {}
    for each in fields(options):
        limits = dict(each.metadata)
        kind = {} if "enum" in limits else {"type": _TYPES[_said(hints[each.name])]}
        default = {} if each.default is None else {"default": each.default}
        properties[each.name] = {**kind, **limits, **default}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _said(hint: Any) -> type:
    """The type of an option that is given: of `int | None` it is int, of a mapping `Mapping`."""
    said = next(each for each in _either(hint) if each is not type(None))
    return typing.get_origin(said) or said


def _either(hint: Any) -> tuple:
    """The types of a union, or the one type."""
    return typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
