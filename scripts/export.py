"""Export a trained node as a compact network: without the units that pruning has left no part in.

Predictions of both networks are compared before anything is written. docs/sparse.md says more.
"""

import argparse
from pathlib import Path

from bayesian_lottery import errors


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folder",
        type=Path,
        help="the node's folder, with metrics.json and weights.safetensors (the configuration's "
        "`weights: all` keeps the weights of every node)",
    )
    parser.add_argument(
        "--data", type=Path, required=True, dest="data_file", help="decoded data set it trained on"
    )
    parser.add_argument("--output", type=Path, required=True, help="safetensors file to write")
    parser.add_argument(
        "--multiple",
        type=int,
        default=8,
        help="keep channels and neurons in multiples of this: 1 gives the smallest network, but "
        "odd widths can be slower (default: 8)",
    )
    parser.add_argument(
        "--images", type=int, default=256, help="test images to compare on (default: 256)"
    )
    parser.add_argument(
        "--samples",
        type=int,
        default=10,
        help="weight samples to compare, of a Bayesian network (default: 10)",
    )
    given = parser.parse_args()
    if min(given.multiple, given.images, given.samples) < 1:
        parser.error("--multiple, --images and --samples take numbers above 0")

    from bayesian_lottery.exports.export import export  # imports torch

    found = export(**vars(given))
    for name in ("units", "parameters", "multiply_adds"):
        before, after = found[name]
        print(f"{name.replace('_', '-')}: {after:,} of {before:,} ({after / before:.1%})")
    check = found["check"]
    print(
        f"logits of {check['images']} test images and {check['samples']} weight samples differ by "
        f"at most {check['largest_difference']:.1e}"
    )


if __name__ == "__main__":
    errors.run(main)
