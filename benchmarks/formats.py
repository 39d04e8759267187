"""From which density on each format of export, and training by survivors, is faster than dense.

    python benchmarks/formats.py

Random masks of initial weights; one thread, processor time, by turns with the dense network
(`exports.speed`). Speeds of formats that take products with zeros too do not depend on density and
are measured once. docs/sparse.md has the tables.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from bayesian_lottery import models
from bayesian_lottery.data import decoded
from bayesian_lottery.exports import speed
from bayesian_lottery.exports.export import make, write
from bayesian_lottery.exports.sources import POINT, Source
from bayesian_lottery.inference.deterministic import DeterministicNetwork
from bayesian_lottery.inference.survivors import Survivors
from bayesian_lottery.randomness import generator
from bayesian_lottery.study.formats import FORMATS
from bayesian_lottery.tickets import masks
from bayesian_lottery.training.engine import Engine, Plan, keep_freed_memory

SHAPES = {"lenet_300_100": (1, 28, 28), "resnet20": (3, 32, 32)}
DENSITIES = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
ALIKE = ("onnx", "int8")  # at all densities


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=SHAPES, default=[*SHAPES])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 32, 256])
    parser.add_argument("--densities", nargs="+", type=float, default=DENSITIES)
    parser.add_argument(
        "--formats", nargs="+", choices=FORMATS, default=["csr", "compact", "onnx", "int8"]
    )
    parser.add_argument("--seconds", type=float, default=1, help="time for a comparison (1)")
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    columns = ["model", "what", "density", *(f"batch {batch}" for batch in given.batches)]
    print(f"| {' | '.join(columns)} | times smaller |\n|{' --- |' * (len(columns) + 1)}")
    for model in given.models:
        for density in given.densities:
            source = random_source(model, density)
            for format in given.formats:
                if format not in ALIKE or density == given.densities[0]:
                    told = written(source, format, given)
                    fast = [row["times_as_fast"] for row in told["speed"]]
                    smaller = told["dense_bytes"] / told["weights_bytes"]
                    say(model, FORMATS[format].words, density, fast, f"{smaller:.1f}")
            trained = [training(source, batch, given.seconds) for batch in given.batches]
            say(model, "training", density, trained, "")


def say(model: str, what: str, density: float, fast: list[float], smaller: str) -> None:
    cells = [model, what, f"{density:g}", *(f"{each:.2f}" for each in fast), smaller]
    print(f"| {' | '.join(cells)} |", flush=True)


def random_source(model: str, density: float) -> Source:
    """Initial weights under a random mask, and images of noise."""
    shape, stream = SHAPES[model], generator("formats")
    template = models.build(model, shape, 10, seed=0)
    state = {name: tensor.detach() for name, tensor in template.state_dict().items()}
    scores = {n: torch.rand(s, generator=stream) for n, s in models.prunable(template).items()}
    mask = masks.prune(masks.ones(models.prunable(template)), scores, 1 - density)
    pixels = torch.randint(256, (256, *shape), dtype=torch.uint8, generator=stream)
    split = decoded.Split(pixels, torch.arange(256) % 10)
    statistics = decoded.channel_statistics(pixels)
    images = decoded.Images("noise", tuple("abcdefghij"), split, split, *statistics)
    settings = {"model": model, "evaluation": {}}
    return Source(
        Path("random"), {}, settings, images, masks.apply(mask, state), POINT, {}, 1, 8, 32
    )


def written(source: Source, format: str, given: argparse.Namespace) -> dict:
    """The metadata of a file that goes at once."""
    with tempfile.TemporaryDirectory() as folder:
        path, content = Path(folder) / "network", make(source, format)
        return write(source, format, content, path, given.batches, given.seconds)


def training(source: Source, batch: int, seconds: float) -> float:
    """How many times as fast a training step is by survivors as by dense products."""
    dense, sparse = step_of(source, sparse=False), step_of(source, sparse=True)
    images = source.inputs(source.images.train.images)
    return speed.compare(dense, sparse, images, batch, seconds)["times_as_fast"]


def step_of(source: Source, sparse: bool) -> Callable:
    """Gradients of a batch, as training takes them."""
    network = DeterministicNetwork(source.template())
    network.survivors = Survivors(source.template(), sparse)
    network.load(source.state, source.mask)
    network.template.train()
    engine = Engine(network, source.images.image_shape, Plan())
    labels = source.images.train.labels

    @torch.inference_mode(False)
    def step(images: torch.Tensor) -> None:
        inputs = images.clone()  # out of the mode of predictions
        engine.gradients(inputs, labels[: len(inputs)], network.noise(1), "elbo", 0.0)

    return step


if __name__ == "__main__":
    main()
