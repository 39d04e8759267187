"""Count the products of a model's layers for the images of a data set."""

import argparse
import json
from pathlib import Path

from bayesian_lottery import errors
from bayesian_lottery.running import warm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="decoded data set")
    parser.add_argument("--dataset", required=True, help="its name")
    parser.add_argument("--model", required=True, help="name of the model")
    parser.add_argument(
        "--definition", type=json.loads, help="of a model of the configuration, as JSON; or null"
    )
    parser.add_argument("--output", "--out", type=Path, required=True, help="JSON file to write")
    given = parser.parse_args()
    warm.delegate()

    from bayesian_lottery.training.counting import count  # this imports torch

    count(given.data, given.dataset, given.model, given.output, given.definition)


if __name__ == "__main__":
    errors.run(main)
