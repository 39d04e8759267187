"""Run a command, such as `snakemake --cores 4`, with torch imported once for all of its jobs.

Worth it where jobs are short: each saves the seconds that importing torch takes. Only for jobs on
this machine.
"""

import argparse
import sys

from bayesian_lottery import errors
from bayesian_lottery.running.warm import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", nargs=argparse.REMAINDER, help="the command and its arguments")
    command = parser.parse_args().command
    if not command:
        parser.error("name the command to run")
    sys.exit(run(command))


if __name__ == "__main__":
    errors.run(main)
