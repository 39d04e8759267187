"""Export a trained node: by default as a compact network, without the units that pruning has left
no part in.

Predictions are compared with the dense network's before anything is written. docs/sparse.md says
more, and describes the formats.
"""

import argparse
from pathlib import Path

from bayesian_lottery import errors
from bayesian_lottery.study.formats import FORMATS, PREDICTS, SAMPLES


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
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="compact",
        help="compact: smaller dense layers; csr: sparse ones; packed: the smallest file; onnx: a "
        "graph; int8: a quantised one; 2of4: for GPUs that have it; dense (default: compact)",
    )
    parser.add_argument(
        "--predicts",
        choices=PREDICTS,
        default=SAMPLES,
        help="what stands for a Bayesian network: its posterior mean, or samples of its weights "
        "(default: samples)",
    )
    parser.add_argument(
        "--batches",
        type=int,
        nargs="+",
        default=[],
        help="batch sizes at which to compare times with the dense network's, such as 1 32 256; "
        "the file says what came of it",
    )
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
        help="weight samples to export, or of a compact network to compare, of a Bayesian one "
        "(default: 10)",
    )
    given = parser.parse_args()
    if min(given.multiple, given.images, given.samples, *given.batches) < 1:
        parser.error("--multiple, --images, --samples and --batches take numbers above 0")

    from bayesian_lottery.exports.export import export  # imports torch

    told = export(**vars(given))
    for name in ("units", "parameters", "multiply_adds"):
        if name in told:
            before, after = told[name]
            print(f"{name.replace('_', '-')}: {after:,} of {before:,} ({after / before:.1%})")
    weights, dense = told["weights_bytes"], told["dense_bytes"]
    print(f"weights: {weights:,} bytes, {dense / weights:.1f} times smaller than dense")
    same = told["predictions"]
    print(
        f"logits of {same['images']} test images and {told['samples']} networks differ from the "
        f"dense network's by at most {same['largest_difference']:.1e}; accuracy "
        f"{same['accuracy']:.4f}, dense {same['dense_accuracy']:.4f}"
    )
    for row in told.get("speed", []):
        print(f"batch of {row['batch']}: {1e3 * row['seconds']:.3g} ms, "
              f"{row['times_as_fast']:.2f} times as fast as dense")  # fmt: skip
    if told.get("slower"):
        print(told["slower"])


if __name__ == "__main__":
    errors.run(main)
