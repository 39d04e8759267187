"""Average the predictions that trained nodes have kept, and judge the mean as one node's.

The nodes are the members of a pool: replicates of a branch, or a level as several seeds trained it.
Of chains of draws it is told, too, how far they agree.
"""

import argparse
import json
from pathlib import Path

from bayesian_lottery import errors
from bayesian_lottery.running import warm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--task", type=json.loads, required=True, help="the pool, as JSON: {node, settings}"
    )
    parser.add_argument("--data", type=Path, required=True, help="decoded data set")
    for name in ("predictions", "metrics"):
        text = f"the members' {name}, in one order"
        parser.add_argument(f"--{name}", type=Path, nargs="+", required=True, help=text)
    text = "their draws, of chains"
    parser.add_argument("--draws", type=Path, nargs="*", default=[], help=text)
    parser.add_argument("--folder", type=Path, required=True, help="where to write")
    given = parser.parse_args()
    warm.delegate()

    from bayesian_lottery.training.pooling import Members, write_pool  # imports torch

    members = Members(given.predictions, given.metrics, given.draws)
    write_pool(given.task["node"], given.task["settings"], given.data, members, given.folder)


if __name__ == "__main__":
    errors.run(main)
