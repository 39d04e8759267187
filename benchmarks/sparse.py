"""What compact networks save at each level of trained trunks: size, inference, training.

    python scripts/warm.py snakemake --cores 2 --configfile benchmarks/sparse.yaml -- trunks
    python benchmarks/sparse.py --data results/sparse/data/digits.safetensors \\
        results/sparse/runs/digits/*/*/short/seed0/*_imp

Times are processor time on one thread, so that other work on the machine counts less. The masked
dense network and the compact one take turns; the ratio is the median over turns. A training step of
the compact network is timed to see what it could save at most: it is not the same step as that of
the dense network (docs/sparse.md).
"""

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from bayesian_lottery import models
from bayesian_lottery.data import decoded
from bayesian_lottery.errors import InputError
from bayesian_lottery.exports import compact
from bayesian_lottery.exports.sources import read_node
from bayesian_lottery.files import read_json, read_tensors
from bayesian_lottery.inference.networks import Network
from bayesian_lottery.randomness import generator
from bayesian_lottery.training.curricula import Curriculum
from bayesian_lottery.training.engine import Engine, Plan, keep_freed_memory, multiply_adds

COLUMNS = (
    "level", "density", "accuracy", "units cut", "parameters", "multiply-adds",
    "inference, ms", "compact, ms", "times as fast", "training, ms", "compact, ms", "times as fast",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("trunks", nargs="+", type=Path, help="folders of level01, level02, ...")
    parser.add_argument("--data", type=Path, required=True, help="the decoded data set of all")
    parser.add_argument("--levels", nargs="+", type=int, help="only these; 0 is dense (all)")
    parser.add_argument("--images", type=int, default=256, help="images of an inference (256)")
    parser.add_argument("--samples", type=int, default=10, help="its weight samples (10)")
    parser.add_argument("--multiple", type=int, default=8, help="widths are multiples of it (8)")
    parser.add_argument("--seconds", type=float, default=1, help="time for a comparison (1)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    images = decoded.load(options.data)
    for trunk in options.trunks:
        folders = [trunk.parent / "dense", *sorted(trunk.glob("level*"))]
        print(f"\n{trunk}\n\n| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}")
        for level, folder in enumerate(folders):
            if options.levels is None or level in options.levels:
                row = [level, *measure(folder, images, options)]
                print(f"| {' | '.join(map(str, row))} |", flush=True)


def measure(folder: Path, images: decoded.Images, options: argparse.Namespace) -> list[str]:
    """A node's row of the table, but for the level."""
    _, settings = read_node(folder, images.name)
    state, _ = read_tensors(folder / "weights.safetensors")
    inference, bayesian = settings["inference"], settings.get("bayesian", {})
    template = models.build(settings["model"], images.image_shape, len(images.classes))
    smaller = copy.deepcopy(template)
    whole = compact.network_of(folder, template, state, inference, bayesian)
    state, kept = compact.cut(template, state, options.multiple)
    compact.narrow(smaller, compact.widths_of(smaller, state))
    small = compact.network_of(folder, smaller, state, inference, bayesian)

    both = (template, smaller)
    parameters = [sum(p.numel() for p in model.parameters()) for model in both]
    work = [multiply_adds(model, images.image_shape) for model in both]
    metrics = read_json(folder / "metrics.json")
    return [
        f"{metrics['density']:.3f}",
        f"{metrics['results']['final']['accuracy']:.3f}",
        f"{1 - sum(map(len, kept)) / compact.units_in(template):.0%}",
        f"{parameters[1] / parameters[0]:.0%}",
        f"{work[1] / work[0]:.0%}",
        *compared([inference_of(network, images, options) for network in (whole, small)], options),
        *compared([training_of(network, images, settings) for network in (whole, small)], options),
    ]


def inference_of(
    network: Network, images: decoded.Images, options: argparse.Namespace
) -> Callable[[], object]:
    """Logits of some test images, by all weight samples."""
    engine = Engine(network, images.image_shape, Plan())
    inputs = decoded.normalise(images.test.images[: options.images], images.mean, images.std)
    stream = generator("inference")

    def run() -> None:
        network.template.eval()
        engine.logits(inputs, network.noise(options.samples, stream))

    return run


def training_of(network: Network, images: decoded.Images, settings: dict) -> Callable[[], object]:
    """A step as `loop.train` takes it."""
    posterior = settings.get("bayesian") or {"samples": 1, "heat": 0.0, "likelihood": "elbo"}
    curriculum = Curriculum.of(settings["curriculum"])
    engine = Engine(network, images.image_shape, Plan())
    inputs = decoded.normalise(
        images.train.images[: curriculum.batch_size], images.mean, images.std
    )
    labels = images.train.labels[: curriculum.batch_size]
    optimizer = curriculum.build_optimizer(network.parameter_groups(curriculum.weight_decay))
    heat, stream = posterior["heat"] / len(images.train), generator("training")

    def run() -> None:
        network.template.train()
        noise = network.noise(posterior["samples"], stream)
        engine.gradients(inputs, labels, noise, posterior["likelihood"], heat)
        optimizer.step()
        optimizer.zero_grad()

    return run


def compared(pair: list[Callable[[], object]], options: argparse.Namespace) -> list[str]:
    """Median milliseconds of both, and the median over turns of how much faster the second is."""
    for run in [*pair, *pair]:
        run()
    times: tuple[list[float], list[float]] = ([], [])
    while len(times[0]) < 9 or sum(map(sum, times)) < 1e3 * options.seconds:
        for run, spent in zip(pair, times, strict=True):
            started = time.process_time()
            run()
            spent.append(1e3 * (time.process_time() - started))
    ratio = statistics.median(a / b for a, b in zip(*times, strict=True))
    return [*(f"{statistics.median(spent):.3g}" for spent in times), f"{ratio:.2f}"]


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
