"""Print the paths of the metrics files of a study, one a line: the list that aggregate.py reads."""

import argparse
import json

from bayesian_lottery import errors, study
from bayesian_lottery.study import extensions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--study",
        type=json.loads,
        required=True,
        help="the configuration as JSON; of datasets and curricula the names suffice",
    )
    config = parser.parse_args().study
    extensions.load(config.get("extensions", []))
    for path in study.metrics_files(config):
        print(path)


if __name__ == "__main__":
    errors.run(main)
