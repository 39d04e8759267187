"""What figures, claims and comparisons are told of a configuration, checked where it comes as JSON.

The workflow gives what `choices.told` makes of a configuration; a person may give anything.
"""

from collections.abc import Mapping
from dataclasses import fields

from bayesian_lottery.study import LATER, schema
from bayesian_lottery.tickets.branches import Branch

_NAMES = {"type": "object", "additionalProperties": {"type": "string"}}


def _of(**properties: Mapping) -> dict:
    """The JSON Schema of a mapping with these keys and no others."""
    return {"type": "object", "additionalProperties": False, "properties": properties}


_BRANCH = _of(**{each.name: {} for each in fields(Branch)})
_TOLD = {
    "tickets": _of(**{name: {"type": "string"} for name in LATER}),
    "kinds": _of(search=_NAMES, rewind=_NAMES, branch=_NAMES),
    "arms": _of(
        branches={"type": "object", "additionalProperties": _BRANCH},
        inferences=_NAMES,
        convergence={"type": "object", "additionalProperties": {"type": "number"}},
    ),
}


def check(key: str, options: Mapping) -> None:
    """Raise an `InputError` unless what `choices.told` tells could be so, as far as it is given.

    Args:
        key: what the sentence calls the options.
        options: others may be among them.
    """
    for name in _TOLD.keys() & options.keys():
        schema.check_options(f"{key}.{name}", options[name], _TOLD[name])
