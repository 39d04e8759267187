"""Train several nodes side by side, as a batch of models, and write the files of each.

Otherwise as train.py: the same signals, and one checkpoint, in the folder of the first node.
"""

import argparse
import json
from pathlib import Path

from bayesian_lottery import cluster, warm


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--tasks",
        type=json.loads,
        required=True,
        help="a JSON list of {node, settings, inputs, outputs}; the latter two hold paths by name",
    )
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument(
        "--checkpoint-seconds", type=float, default=300, help="how often to save (default: 300)"
    )
    given = parser.parse_args()
    warm.delegate()
    cluster.claim_gpu()

    from bayesian_lottery.jobs import Inputs, Outputs, Task, run_script  # imports torch

    def paths(found):
        return {k: paths(v) if isinstance(v, dict) else Path(v) for k, v in found.items()}

    tasks = [
        Task(
            task["node"],
            task["settings"],
            Inputs(**paths(task["inputs"])),
            Outputs(**paths(task["outputs"])),
        )
        for task in given.tasks
    ]
    run_script(tasks, given.device, given.checkpoint_seconds)


if __name__ == "__main__":
    main()
