"""Write the mask of a level from the weights of the dense network, trained before."""

import argparse
import json
from pathlib import Path

from bayesian_lottery import errors, gpus
from bayesian_lottery.running import warm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--task",
        type=json.loads,
        required=True,
        help="the dense node, as JSON: {node, settings}; the level unless it is 1; and of the "
        "level's settings ranking, ranking_options and pattern, where it has them",
    )
    parser.add_argument("--data", type=Path, required=True, help="decoded data set")
    parser.add_argument("--weights", type=Path, required=True, help="its trained weights")
    parser.add_argument("--scorer", required=True, help="what to prune by")
    parser.add_argument("--extensions", type=Path, nargs="*", default=[], help="files to import")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--output", type=Path, required=True, help="mask to write")
    given = parser.parse_args()
    warm.delegate()
    gpus.claim_gpu()

    from bayesian_lottery.study import extensions
    from bayesian_lottery.training import jobs  # imports torch

    extensions.load(given.extensions)
    told = dict(given.task)
    node, settings, level = told.pop("node"), told.pop("settings"), told.pop("level", 1)
    files = (given.data, given.weights, given.scorer, given.output)
    jobs.prune_dense(node, {**settings, **told}, *files, given.device, level)


if __name__ == "__main__":
    errors.run(main)
