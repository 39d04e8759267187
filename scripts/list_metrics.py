"""Print the paths of the metrics files of a study, one a line.

The workflow gives --study, for the list that aggregate.py reads. By hand, those of some seeds, with
what is measured of exported networks, are a unit of work, which Snakemake takes as its targets:

    snakemake --cores 1 --configfile config/studies/mnist.yaml -- \\
        $(python scripts/list_metrics.py --configfile config/studies/mnist.yaml --seeds 0)
"""

import argparse
import json
from pathlib import Path

from bayesian_lottery import arguments, errors, study
from bayesian_lottery.errors import InputError
from bayesian_lottery.study import configuration, extensions

SCHEMA = Path(__file__).parents[1] / "workflow/schemas/config.schema.yaml"


def configured(given: argparse.Namespace) -> list[str]:
    """Those of the configuration; of seeds, with those of their exported networks.

    Raises:
        InputError: a seed has no node.
    """
    config, nodes = configuration.load(given.configfile, given.config, SCHEMA)
    for seed in given.seeds or []:
        if seed not in {node.seed for node in nodes}:
            raise InputError(f"--seeds: no trunk of the configuration has the seed {seed}.")
    exported = study.exported(config, study.expand(config)) if given.seeds else ()
    wanted = [(node, "metrics") for node in nodes] + [(node, "exports") for node in exported]
    return [
        f"{config['results']}/{node.folder}/{name}.json"
        for node, name in wanted
        if not given.seeds or node.seed in given.seeds
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--study",
        type=json.loads,
        help="the configuration as JSON; of datasets and curricula the names suffice",
    )
    arguments.add_configuration(parser)
    parser.add_argument("--seeds", type=int, nargs="+", help="of these only (default: of all)")
    given = parser.parse_args()
    if given.study is None:
        paths = configured(given)
    else:
        extensions.load(given.study.get("extensions", []))
        paths = study.metrics_files(given.study)
    for path in paths:
        print(path)


if __name__ == "__main__":
    errors.run(main)
