"""Write the initial weights of a model for a seed."""

import argparse
import sys
from pathlib import Path

from bayesian_lottery import warm
from bayesian_lottery.errors import InputError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="decoded data set (for its shape)")
    parser.add_argument("--model", required=True, help="name of the model")
    parser.add_argument("--seed", type=int, required=True, help="seed of the trunk")
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    arguments = parser.parse_args()
    warm.delegate()

    from bayesian_lottery.jobs import initialise  # this imports torch

    try:
        initialise(arguments.data, arguments.model, arguments.seed, arguments.out)
    except InputError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
