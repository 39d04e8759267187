"""Train one node: a dense network or a level of a trunk, then pruned for the next; or a branch.

Started again with the same arguments after a kill, it resumes from its last checkpoint, which lies
beside the metrics file. SIGUSR1 saves one; SIGTERM saves one and stops with exit status 143.
"""

import argparse
import json
from pathlib import Path

from bayesian_lottery import cluster, warm


def scorer_and_path(text: str) -> tuple[str, Path]:
    scorer, separator, path = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form SCORER=PATH")
    return scorer, Path(path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--node", type=json.loads, required=True, help="coordinates, as JSON")
    parser.add_argument("--settings", type=json.loads, required=True, help="settings, as JSON")
    parser.add_argument("--data", type=Path, required=True, help="decoded data set")
    parser.add_argument("--initial", type=Path, required=True, help="initial weights")
    parser.add_argument("--mask", type=Path, help="this level's mask (default: keep everything)")
    parser.add_argument("--previous-weights", type=Path, help="last level's weights (rewind lrr)")
    parser.add_argument("--trained-weights", type=Path, help="this level's, for some branches")
    parser.add_argument("--metrics", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--history", type=Path, required=True, help="CSV file to write")
    parser.add_argument("--weights", type=Path, required=True, help="safetensors file to write")
    parser.add_argument(
        "--next-mask",
        type=scorer_and_path,
        action="append",
        default=[],
        metavar="SCORER=PATH",
        help="mask to write for the next level, by this scorer; may be repeated",
    )
    parser.add_argument("--branch-mask", type=Path, help="where a branch writes its mask")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument(
        "--checkpoint-seconds", type=float, default=300, help="how often to save (default: 300)"
    )
    given = parser.parse_args()
    warm.delegate()
    cluster.claim_gpu()

    from bayesian_lottery.jobs import Inputs, Outputs, Task, run_script  # imports torch

    inputs = Inputs(
        given.data, given.initial, given.mask, given.previous_weights, given.trained_weights
    )
    outputs = Outputs(
        given.metrics, given.history, given.weights, dict(given.next_mask), given.branch_mask
    )
    task = Task(given.node, given.settings, inputs, outputs)
    run_script([task], given.device, given.checkpoint_seconds)


if __name__ == "__main__":
    main()
