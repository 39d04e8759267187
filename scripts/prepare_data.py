"""Decode one data set into the file that every training job reads."""

import argparse
import json
import os

from bayesian_lottery import errors
from bayesian_lottery.data import sources


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True, help="the data set's name in the configuration")
    parser.add_argument(
        "--settings",
        required=True,
        type=json.loads,
        help="its settings as JSON: source and, where the source has them, root, size (pixels)"
        " and test_fraction; and classes, those to keep, and images, how many of training",
    )
    parser.add_argument("--output", required=True, help="the safetensors file to write")
    parser.add_argument(
        "--threads",
        type=int,
        default=int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)),
        help="processes that decode images (default: OMP_NUM_THREADS, which Snakemake sets to the"
        " rule's threads, else as many as there are cores)",
    )
    options = parser.parse_args()
    sources.prepare(options.name, options.settings, options.output, options.threads)


if __name__ == "__main__":
    errors.run(main)
