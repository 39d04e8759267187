"""Write the initial weights of a model for a seed."""

import argparse
import json
from pathlib import Path

from bayesian_lottery import errors
from bayesian_lottery.running import warm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="decoded data set (for its shape)")
    parser.add_argument("--model", required=True, help="name of the model")
    parser.add_argument(
        "--definition", type=json.loads, help="of a model of the configuration, as JSON"
    )
    parser.add_argument("--seed", type=int, required=True, help="seed of the trunk")
    parser.add_argument("--output", type=Path, required=True, help="safetensors file to write")
    arguments = parser.parse_args()
    warm.delegate()

    from bayesian_lottery.training.jobs import initialise  # this imports torch

    given = (arguments.data, arguments.model, arguments.seed, arguments.output)
    initialise(*given, arguments.definition)


if __name__ == "__main__":
    errors.run(main)
