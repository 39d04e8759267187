"""Linear layers by sparse and by dense products: where `inference.products` has its rule from.

    python benchmarks/products.py

Forward and backward, to weights and inputs, on one thread, in processor time; the two take turns.
Dense products include putting the survivors among zeros. "times as fast" is the median over turns.
"""

import argparse
import statistics
import time

import torch

from bayesian_lottery.inference.products import Pattern
from bayesian_lottery.models.layers import linear
from bayesian_lottery.training.engine import keep_freed_memory

# (inputs, outputs, samples, leading dimensions of the activations)
LAYERS = [
    (784, 300, 10, (128,)),
    (784, 300, 1, (128,)),
    (784, 300, 1, (64,)),
    (300, 100, 10, (128,)),
    (128, 128, 1, (128,)),
    (64, 100, 1, (64,)),
    (192, 768, 1, (32, 65)),
]
DENSITIES = (1 / 4, 1 / 8, 1 / 20, 1 / 32, 1 / 100)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=21, help="times each is timed (21)")
    turns = parser.parse_args().turns
    torch.set_num_threads(1)
    keep_freed_memory()
    columns = ("inputs", "outputs", "samples", "activations", "density", "dense, ms", "sparse, ms")
    print(f"| {' | '.join(columns)} | times as fast |\n|{' --- |' * 8}")
    for inputs, outputs, samples, leading in LAYERS:
        for density in DENSITIES:
            times = measure(inputs, outputs, samples, leading, density, turns)
            ratio = statistics.median(a / b for a, b in zip(*times, strict=True))
            ms = [f"{1e3 * statistics.median(spent):.3g}" for spent in times]
            shape = " x ".join(map(str, leading))
            row = (inputs, outputs, samples, shape, f"{density:.3g}", *ms, f"{ratio:.2f}")
            print(f"| {' | '.join(map(str, row))} |", flush=True)


def measure(
    inputs: int, outputs: int, samples: int, leading: tuple, density: float, turns: int
) -> tuple[list[float], list[float]]:
    """Seconds of each turn, dense and sparse."""
    stream = torch.Generator().manual_seed(0)
    kept = torch.rand(outputs, inputs, generator=stream) < density
    pattern, survivors = Pattern(kept), int(kept.sum())
    values = torch.randn(samples, survivors, generator=stream, requires_grad=True)
    x = torch.randn(*leading, samples * inputs, generator=stream, requires_grad=True)
    bias = torch.zeros(samples * outputs)
    gradient = torch.randn(*leading, samples * outputs, generator=stream)
    ways = (
        lambda: linear(x, pattern.dense(values), bias),
        lambda: pattern.linear(x, values, bias),
    )
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(turns + 2):
        for way, spent in zip(ways, times, strict=True):
            started = time.process_time()
            torch.autograd.grad(way(), (values, x), gradient)
            if turn >= 2:
                spent.append(time.process_time() - started)
    return times


if __name__ == "__main__":
    main()
