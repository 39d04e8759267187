"""The command line options that several scripts share."""

import argparse
import contextlib
import json
from collections.abc import Callable
from typing import TypeVar

from bayesian_lottery import errors

Number = TypeVar("Number", int, float)
LARGEST = 10**9  # of the numbers: 30 years of seconds, and still an amount of time for the system


def add_configuration(parser: argparse.ArgumentParser) -> None:
    """Give a script the options that name a configuration, of which `configuration.load` takes
    the values."""
    parser.add_argument(
        "--configfile", nargs="+", default=[], help="as Snakemake's (default: config/config.yaml)"
    )
    parser.add_argument(
        "--config", nargs="+", default=[], metavar="KEY=VALUE", help="as Snakemake's"
    )


def above_zero(text: str) -> float:
    """The type of an option that is an amount, such as of seconds."""
    return _positive(float, text, "a number above 0 and of at most")


def count(text: str) -> int:
    """The type of an option that is a number of things, of which there is one at least."""
    return _positive(int, text, "a whole number from 1 to")


def _positive(kind: Callable[[str], Number], text: str, words: str) -> Number:
    with contextlib.suppress(ValueError):
        if 0 < (value := kind(text)) <= LARGEST:  # NaN is not
            return value
    raise argparse.ArgumentTypeError(
        f"{errors.short(text)} is not allowed; it must be {words} {LARGEST}"
    )


def json_object(text: str) -> dict:
    """The type of an option that is a JSON object."""
    options = json.loads(text)  # argparse reports a ValueError, which a JSON error is
    if not isinstance(options, dict):
        raise ValueError
    return options


json_object.__name__ = "JSON object"  # argparse puts it in "invalid ... value"
