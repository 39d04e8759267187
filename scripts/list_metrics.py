"""Print the paths of the metrics files of a study, one a line: the list that aggregate.py reads."""

import argparse
import json

from bayesian_lottery import errors, study


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--study",
        type=json.loads,
        required=True,
        help="the configuration as JSON; of datasets and curricula the names suffice",
    )
    for path in study.metrics_files(parser.parse_args().study):
        print(path)


if __name__ == "__main__":
    errors.run(main)
