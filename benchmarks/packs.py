"""Time of a training step for K networks side by side, against K steps of one network.

    python benchmarks/packs.py
    python benchmarks/packs.py --models resnet20 --channels 3 --size 32 --batch 128 --samples 10

The numbers of networks take their steps in turn, so that a busy machine slows all alike. Images are
made up.
"""

import argparse
import statistics
import time

import torch
from cases import steps_of

from bayesian_lottery import models
from bayesian_lottery.inference import networks
from bayesian_lottery.tickets import masks
from bayesian_lottery.training.engine import Plan, keep_freed_memory

UNTIMED = 5  # steps before the timed ones: three, one that may be recorded, and one replayed
BLOCK = 50 if torch.cuda.is_available() else 1  # steps between two waits for the device


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=["lenet_100_50", "resnet8_slim", "vit_nano"])
    parser.add_argument("--inference", nargs="+", default=["deterministic", "bayesian"])
    parser.add_argument("--networks", nargs="+", type=int, default=[1, 2, 4, 8], metavar="K")
    parser.add_argument("--channels", type=int, default=1, help="of the images (1)")
    parser.add_argument("--size", type=int, default=8, help="pixels a side (8)")
    parser.add_argument("--batch", type=int, default=64, help="images of each network (64)")
    parser.add_argument("--samples", type=int, default=3, help="weight samples (3)")
    parser.add_argument("--steps", type=int, default=20, help="times each is timed (20)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--capture", action="store_true", help="as a CUDA graph, on a GPU")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    print("| model | inference | networks | ms a step | ms a network | times as fast |")
    print("| --- | --- | --- | --- | --- | --- |")
    for model in options.models:
        for inference in options.inference:
            measure(model, inference, options)


def measure(model: str, inference: str, options: argparse.Namespace) -> None:
    """Print a row for every number of networks."""
    steps = {k: step_of(model, inference, k, options) for k in options.networks}
    seconds: dict[int, list[float]] = {k: [] for k in steps}
    for step in steps.values():
        seconds_of(step, UNTIMED)
    for _ in range(options.steps):
        for k, step in steps.items():
            seconds[k].append(seconds_of(step, BLOCK))
    first = options.networks[0]
    alone = [taken / first for taken in seconds[first]]
    for k, taken in seconds.items():
        gain = statistics.median(k * a / b for a, b in zip(alone, taken, strict=True))
        ms = 1e3 * statistics.median(taken)
        print(f"| {model} | {inference} | {k} | {ms:.2f} | {ms / k:.2f} | {gain:.2f} |", flush=True)


def step_of(model: str, inference: str, count: int, options: argparse.Namespace):
    """A function that takes a step of `count` networks."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    shape = (options.channels, options.size, options.size)
    posterior = {"initial_std": 0.01, "prior_std": 1.0, "samples": options.samples}

    def network_of(seed: int) -> networks.Network:
        template = models.build(model, shape, 10, seed=seed).to(device)
        network = networks.build(inference, template, {**posterior, "likelihood": "categorical"})
        network.load(network.state(), masks.ones(models.prunable(template)))
        return network

    built = [network_of(seed) for seed in range(count)]
    return steps_of(built, Plan(capture=options.capture), options.batch, shape)


def seconds_of(function, count: int) -> float:
    """Seconds that each of `count` calls of `function` takes, until the device is done with all."""
    started = time.perf_counter()
    for _ in range(count):
        function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / count


if __name__ == "__main__":
    main()
