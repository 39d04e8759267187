"""Say how far a study is: what is done, running, failed and left, and until when it will take.

Start it where Snakemake was started; it only reads, so it may run beside it at any time.
"""

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from bayesian_lottery import arguments, errors, study
from bayesian_lottery.running import progress, reports, speeds, work
from bayesian_lottery.study import configuration

SCHEMA = Path(__file__).parents[1] / "workflow/schemas/config.schema.yaml"


def look(config: Mapping, nodes: list[study.Node]) -> progress.Status:
    """The study at this moment."""
    found = work.runs(config["results"])
    measured = speeds.measure(config, found)
    return progress.status(config, nodes, found, measured.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_configuration(parser)
    parser.add_argument(
        "--watch",
        type=arguments.above_zero,
        metavar="SECONDS",
        help="look again so often until all is done",
    )
    parser.add_argument(
        "--outdated",
        action="store_true",
        help="print only the files that another version of the computation made, one a"
        " line: what `snakemake --forcerun` is to make again",
    )
    given = parser.parse_args()
    config, nodes = configuration.load(given.configfile, given.config, SCHEMA)
    if given.outdated:
        for path in work.outdated(config, work.runs(config["results"]), nodes):
            print(path)
        return
    while True:
        status = look(config, nodes)
        clear = "\033[H\033[2J" if given.watch and sys.stdout.isatty() else ""
        print(f"{clear}{reports.of_status(status)}", flush=True)
        done = status.count(progress.State.DONE) == len(status.jobs)
        if given.watch is None or done:
            return
        time.sleep(given.watch)


if __name__ == "__main__":
    try:
        errors.run(main)
    except KeyboardInterrupt:
        sys.exit(130)
