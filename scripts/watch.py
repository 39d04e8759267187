"""Watch a dense network train and write the masks that a search draws from it, level by level.

Started again after a kill it goes on from its last checkpoint. SIGUSR1 saves one; SIGTERM saves one
and stops with exit status 143.
"""

import argparse
import json
from pathlib import Path

from bayesian_lottery import errors, gpus
from bayesian_lottery.running import warm


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--task",
        type=json.loads,
        required=True,
        help="the dense node, as JSON: {node, settings}, the scorer and the search with them",
    )
    parser.add_argument("--data", type=Path, required=True, help="decoded data set")
    parser.add_argument("--initial", type=Path, required=True, help="initial weights")
    parser.add_argument("--extensions", type=Path, nargs="*", default=[], help="files to import")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument(
        "--checkpoint-seconds", type=float, default=300, help="how often to save (default: 300)"
    )
    parser.add_argument("--table", type=Path, required=True, help="what was seen, to write")
    parser.add_argument(
        "--masks", type=Path, nargs="+", required=True, help="to write, of level 1, 2, ..."
    )
    given = parser.parse_args()
    warm.delegate()
    gpus.claim_gpu()

    from bayesian_lottery.training import jobs, watching  # imports torch

    with jobs.script():
        watching.watch_dense(
            given.task["node"], given.task["settings"], given.data, given.initial, given.masks,
            given.table, given.extensions, given.device, given.checkpoint_seconds,
        )  # fmt: skip


if __name__ == "__main__":
    errors.run(main)
