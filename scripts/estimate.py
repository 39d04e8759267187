"""Say what a study costs before it runs: jobs, hours and gigabytes, and how much is done already.

Start it where you start Snakemake. docs/cost.md says where the numbers come from.
"""

import argparse
from pathlib import Path

from bayesian_lottery import arguments, errors
from bayesian_lottery.running import cost, reports, speeds
from bayesian_lottery.study import configuration

SCHEMA = Path(__file__).parents[1] / "workflow/schemas/config.schema.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_configuration(parser)
    parser.add_argument(
        "--by", choices=["stage", "model"], default="stage", help="what the table has a row for"
    )
    parser.add_argument(
        "--gpus",
        type=arguments.count,
        nargs="+",
        default=[1, 8, 50],
        metavar="N",
        help="say the time that it takes with N jobs at once, each on a GPU or a core",
    )
    parser.add_argument(
        "--device",
        choices=["auto", "cpu", "gpu"],
        default="auto",
        help="what to train on (default: as configured, else as most results were, else a GPU)",
    )
    parser.add_argument(
        "--tflops",
        type=arguments.above_zero,
        help="1e12 operations a second that a job sustains, where nothing was measured (default: by"
        f" the paper's times on a GPU, {speeds.CORE.tflops:g} a core)",
    )
    parser.add_argument(
        "--card",
        type=Path,
        help="card.json of benchmarks/gpu_check.py: its GPU's speeds in place of the paper's",
    )
    given = parser.parse_args()
    config, nodes = configuration.load(given.configfile, given.config, SCHEMA)
    card = speeds.card(given.card) if given.card else speeds.PUBLISHED
    estimated = cost.estimate(config, nodes, given.device, given.tflops, card)
    print(reports.of_estimate(estimated, given.gpus, given.by))


if __name__ == "__main__":
    errors.run(main)
