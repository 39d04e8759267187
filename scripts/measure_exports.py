"""Export a trained node in several formats, and measure size, predictions and speed of each."""

import argparse
from pathlib import Path

from bayesian_lottery import arguments, errors
from bayesian_lottery.running import warm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--folder",
        type=Path,
        required=True,
        help="the node's folder, with metrics.json and weights.safetensors",
    )
    parser.add_argument("--data", type=Path, required=True, help="decoded data set it trained on")
    parser.add_argument(
        "--extensions", type=Path, nargs="*", default=[], help="files that register methods"
    )
    parser.add_argument(
        "--settings",
        type=arguments.json_object,
        required=True,
        help='a JSON object with the keys "formats", "batches", "samples" and "seconds"',
    )
    parser.add_argument("--files", type=Path, required=True, help="folder for exported networks")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    given = parser.parse_args()
    warm.delegate()

    from bayesian_lottery.exports.measuring import measure  # imports torch
    from bayesian_lottery.study import extensions

    extensions.load(given.extensions)
    measure(given.folder, given.data, given.settings, given.files, given.output)


if __name__ == "__main__":
    errors.run(main)
