"""Variance of a training step's gradient, and its time, by estimator.

    python benchmarks/variance.py                                    # small models, 8 x 8 digits
    python benchmarks/variance.py --models resnet20 --size 32 --batch 64 --repeats 20
    python benchmarks/variance.py --seeds 5 --epochs 20              # what it is good for

The data are scikit-learn's digits, which need no download; `--size 32` scales them to CIFAR's
3 x 32 x 32. A table is of one network, at its initial weights or after `--epochs` of training. Its
variances are over `--repeats` gradients, summed over all mu or all log sigma, relative to those of
the first row, and with standard errors: of `one batch`, whose only randomness is that of the weight
samples; and `in all`, as the optimiser sees it, with another batch each time. Estimators take their
steps in turn, so that a busy machine slows all of them alike; times are medians, without the
optimiser's part.

With `--seeds` networks are trained by each estimator instead, and the table is of their tests, as
means over seeds with standard errors.
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor

from bayesian_lottery import models
from bayesian_lottery.data import decoded, sources
from bayesian_lottery.inference import networks
from bayesian_lottery.randomness import generator
from bayesian_lottery.tickets import masks
from bayesian_lottery.training.engine import Engine, Plan, keep_freed_memory
from bayesian_lottery.training.loop import train
from bayesian_lottery.training.records import Record

ESTIMATORS: dict[str, dict] = {
    "weights": {},
    "weights, antithetic": {"antithetic": True},
    "local reparameterisation": {"estimator": "local_reparameterisation"},
    "Flipout": {"estimator": "flipout"},
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    small = ["lenet_100_50", "resnet8_slim", "vit_nano"]
    parser.add_argument("--models", nargs="+", default=small, metavar="MODEL")
    parser.add_argument("--size", type=int, choices=[8, 32], default=8, help="of images (8)")
    parser.add_argument("--samples", type=int, nargs="+", default=[10, 2], help="a step (10 2)")
    parser.add_argument("--batch", type=int, default=128, help="images a step (128)")
    parser.add_argument("--repeats", type=int, default=100, help="gradients a row (100)")
    parser.add_argument("--epochs", type=int, nargs="+", default=[0, 10], help="trained (0 10)")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="of Adam (0.001)")
    parser.add_argument("--initial-std", type=float, default=0.01, help="as in the configuration")
    parser.add_argument("--likelihood", choices=["categorical", "elbo"], default="categorical")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1, help="(1)")
    parser.add_argument("--seeds", type=int, help="train networks of so many seeds instead")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.device == "cpu":
        keep_freed_memory()
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{platform.node()}, torch {torch.__version__}, {options}, load {load}")
    images = digits(options.size, options.device)
    for model in options.models:
        for epochs in options.epochs:
            if options.seeds:
                print(f"\n{model}, {images.image_shape}, {epochs} epochs\n", flush=True)
                print_table(tests(model, images, epochs, options))
                continue
            state, shown = trained(model, images, epochs, options)
            print(f"\n{model}, {images.image_shape}, {shown}\n", flush=True)
            print_table(measure(model, images, state, options))
    print(f"\nload {', '.join(f'{value:.1f}' for value in os.getloadavg())}")


def digits(size: int, device: str) -> decoded.Images:
    """scikit-learn's digits, in CIFAR's shape if `size` is 32."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits"
        sources.prepare("digits", {"source": "digits"}, path)
        images = decoded.load(path, device)
    if size == 8:
        return images

    def scaled(split: decoded.Split) -> decoded.Split:
        pixels = split.images.repeat_interleave(4, 2).repeat_interleave(4, 3)
        return decoded.Split(pixels.expand(-1, 3, -1, -1).contiguous(), split.labels)

    train, test = scaled(images.train), scaled(images.test)
    statistics = decoded.channel_statistics(train.images)
    return decoded.Images(images.name, images.classes, train, test, *statistics)


def build(model, images: decoded.Images, options: argparse.Namespace, seed=0, **estimator):
    """A Bayesian network with all of its weights, at its initial values."""
    template = models.build(model, images.image_shape, len(images.classes), seed=seed)
    shared = {"initial_std": options.initial_std, "prior_std": 1.0}
    template = template.to(options.device)
    network = networks.build("bayesian", template, {**shared, **estimator})
    network.load(network.state(), masks.ones(models.prunable(template)))
    return network


def trained(
    model: str, images: decoded.Images, epochs: int, options: argparse.Namespace
) -> tuple[networks.State, str]:
    """The state after training by plain weight samples, and words about it."""
    network = build(model, images, options)
    words = "initial weights"
    if epochs:
        record = trained_by(network, images, epochs, options.samples[0], options)
        words = f"after {epochs} epochs, test accuracy {passes(record, 'accuracy')[0]:.3f}"
    sizes, signals = network.log_std.detach(), network.mean.detach().abs()
    ratio = (signals / sizes.exp()).median()
    return network.state(), f"{words}, median sigma {sizes.exp().median():.2g}, SNR {ratio:.2g}"


def trained_by(
    network,
    images: decoded.Images,
    epochs: int,
    samples: int,
    options: argparse.Namespace,
    likelihood: str = "categorical",
    seed: int = 0,
) -> Record:
    """Train `network` in place, and measure it at the end."""
    curriculum = {"epochs": epochs, "optimizer": "adam", "weight_decay": 0.0, "gamma": 0.1}
    curriculum |= {"learning_rate": options.learning_rate, "batch_size": options.batch}
    curriculum |= {"milestones": (), "warmup_epochs": 0, "momentum": 0.9}
    settings = {
        "inference": "bayesian",
        "curriculum": curriculum,
        "validation": 0.0,
        "augment": {"flip": False, "crop": 0},
        "bayesian": {"samples": samples, "heat": 0.1, "likelihood": likelihood},
        "compute": {"precision": options.precision},
        "evaluation": {"samples": 10, "passes": 5, "every": epochs, "bins": 10, "batch_size": 500},
    }
    (record,) = train([network], images, settings, [("variance", seed)])
    return record


def tests(
    model: str, images: decoded.Images, epochs: int, options: argparse.Namespace
) -> list[dict]:
    """A row for each estimator and number of samples: tests after training, over seeds."""
    rows = []
    for samples in options.samples:
        for name, estimator in ESTIMATORS.items():
            found, sigmas = [], []
            for seed in range(options.seeds):
                network = build(model, images, options, seed, **estimator)
                record = trained_by(
                    network, images, epochs, samples, options, options.likelihood, seed
                )
                measured = (passes(record, metric) for metric in ("accuracy", "nll", "ece"))
                found.append([statistics.mean(values) for values in measured])
                sigmas.append(float(network.log_std.detach().exp().mean()))
            accuracy, nll, ece = zip(*found, strict=True)
            rows.append(
                {
                    "estimator": name,
                    "samples": samples,
                    "accuracy, %": mean_and_error([100 * value for value in accuracy]),
                    "NLL, nats": mean_and_error(nll),
                    "ECE, %": mean_and_error([100 * value for value in ece]),
                    "mean sigma": mean_and_error(sigmas),
                }
            )
    return rows


def passes(record: Record, metric: str) -> list[float]:
    """A metric in each pass of the last test."""
    return record.passes[metric] or []


def mean_and_error(values) -> str:
    """The mean, and its standard error over seeds."""
    error = statistics.stdev(values) / len(values) ** 0.5
    return f"{statistics.mean(values):.4g} ± {error:.1g}"


def measure(
    model: str, images: decoded.Images, state: networks.State, options: argparse.Namespace
) -> list[dict]:
    """A row for each estimator and number of samples."""
    cases = [(name, samples) for samples in options.samples for name in ESTIMATORS]
    steps = [Step(model, images, state, case, options) for case in cases]
    found: list[list] = [[] for _ in steps]  # a row of `Step` for every repeat
    for index in range(options.repeats + 1):
        for step, kept in zip(steps, found, strict=True):
            values = step("one"), step("another")
            if index > 0:  # the first steps warm up
                kept.append([*values[0][:2], *values[1][:2], values[0][2]])
    rows, first = [], None
    for (name, samples), kept in zip(cases, found, strict=True):
        *gradients, seconds = zip(*kept, strict=True)
        seconds = statistics.median(seconds)
        traces = [trace(torch.stack(values)) for values in gradients]
        first = first or [*traces, seconds]
        mu, log_sigma, mu_in_all, log_sigma_in_all = map(relative, traces, first)
        rows.append(
            {
                "estimator": name,
                "samples": samples,
                "mu, one batch": mu,
                "mu, in all": mu_in_all,
                "log sigma, one batch": log_sigma,
                "log sigma, in all": log_sigma_in_all,
                "ms a step": f"{1e3 * seconds:.3g}",
                "time": f"{seconds / first[-1]:.2f}",
            }
        )
    return rows


class Step:
    """Computes gradients of one case, of one batch or of another one each time."""

    def __init__(self, model, images, state, case: tuple[str, int], options):
        name, self.samples = case
        self.images, self.options = images, options
        self.network = build(model, images, options, **ESTIMATORS[name])
        self.network.load(state, self.network.mask)
        plan = Plan(precision=options.precision)
        self.engine = Engine(self.network, images.image_shape, plan)
        self.noise = generator("noise", *case, device=options.device)
        self.others = generator("batches", *case)

    def __call__(self, batch: str) -> tuple[Tensor, Tensor, float]:
        """The gradients by mu and by log sigma, in float32 on the CPU, and the step's seconds."""
        training = self.images.train
        order = generator("batch") if batch == "one" else self.others
        chosen = torch.randperm(len(training), generator=order)[: self.options.batch]
        part = training[chosen.to(self.options.device)]
        inputs = decoded.normalise(part.images, self.images.mean, self.images.std)
        self.synchronise()
        started = time.perf_counter()
        noise = self.network.noise(self.samples, self.noise)
        self.engine.gradients(inputs, part.labels, noise, self.options.likelihood, 0.0)
        self.synchronise()
        seconds = time.perf_counter() - started
        found = [tensor.grad.cpu() for tensor in (self.network.mean, self.network.log_std)]
        for tensor in self.network.tensors().values():
            tensor.grad = None
        return *found, seconds

    def synchronise(self) -> None:
        if self.options.device != "cpu":
            torch.cuda.synchronize()


def trace(rows: Tensor) -> tuple[float, float]:
    """The sum of the columns' variances of rows (R, n), and its standard error over rows."""
    count = len(rows)
    squares = (rows - rows.mean(0)).square().sum(1, dtype=torch.float64) * count / (count - 1)
    return float(squares.mean()), float(squares.std() / count**0.5)


def relative(value: tuple[float, float], reference: tuple[float, float]) -> str:
    """The ratio of two traces, with the standard error of the first."""
    return f"{value[0] / reference[0]:.2g} ± {value[1] / reference[0]:.1g}"


def print_table(rows: list[dict]) -> None:
    print(f"| {' | '.join(rows[0])} |\n|{' --- |' * len(rows[0])}")
    for row in rows:
        print(f"| {' | '.join(map(str, row.values()))} |", flush=True)


if __name__ == "__main__":
    main()
