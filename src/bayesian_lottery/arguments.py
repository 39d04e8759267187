"""The command line options that several scripts share."""

import argparse


def add_configuration(parser: argparse.ArgumentParser) -> None:
    """Give a script the options that name a configuration, of which `configuration.load` takes
    the values."""
    parser.add_argument(
        "--configfile", nargs="+", default=[], help="as Snakemake's (default: config/config.yaml)"
    )
    parser.add_argument(
        "--config", nargs="+", default=[], metavar="KEY=VALUE", help="as Snakemake's"
    )
