"""The command line options that several scripts share."""

import argparse
import json


def add_configuration(parser: argparse.ArgumentParser) -> None:
    """Give a script the options that name a configuration, of which `configuration.load` takes
    the values."""
    parser.add_argument(
        "--configfile", nargs="+", default=[], help="as Snakemake's (default: config/config.yaml)"
    )
    parser.add_argument(
        "--config", nargs="+", default=[], metavar="KEY=VALUE", help="as Snakemake's"
    )


def json_object(text: str) -> dict:
    """The type of an option that is a JSON object."""
    options = json.loads(text)  # argparse reports a ValueError, which a JSON error is
    if not isinstance(options, dict):
        raise ValueError
    return options


json_object.__name__ = "JSON object"  # argparse puts it in "invalid ... value"
