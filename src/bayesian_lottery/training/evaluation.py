"""Evaluation: a network's predictions for images, and how good they are."""

from collections.abc import Mapping, Sequence

import torch

from bayesian_lottery.data.decoded import Images, Split, normalise, to_device
from bayesian_lottery.inference import kinds
from bayesian_lottery.randomness import generator
from bayesian_lottery.study.node_metrics import RANKING
from bayesian_lottery.training import draws
from bayesian_lottery.training.draws import Draws
from bayesian_lottery.training.engine import Engine, log_likelihoods
from bayesian_lottery.training.metrics import METRICS, Predictions, evaluate

Stream = Sequence[object]  # the coordinates that name a random stream


def predict(
    engine: Engine,
    images: Images,
    split: Split,
    samples: int,
    batch_size: int,
    stream: torch.Generator,
) -> Predictions:
    """Predictions for `split`, by `samples` weight samples a batch; running norm statistics."""
    network = engine.network
    network.template.eval()
    parts = []
    for batch in split.images.split(batch_size):
        inputs = normalise(to_device(batch, images.mean.device), images.mean, images.std)
        parts.append(Predictions.of(engine.logits(inputs, network.noise(samples, stream))))
    network.template.train()
    return Predictions.concatenate(parts)


def one_pass(
    engine: Engine, images: Images, split: Split, settings: Mapping, stream: Stream
) -> Predictions:
    """The predictions of one stochastic pass over `split`."""
    options = settings["evaluation"]
    samples = options["samples"] if kinds.kind_of(settings).redraws else 1
    drawing = generator(*stream, device=images.mean.device)
    return predict(engine, images, split, samples, options["batch_size"], drawing)


def judge(
    predictions: Predictions, images: Images, split: Split, settings: Mapping
) -> dict[str, float | None]:
    """All metrics of `predictions` for `split` of `images`."""
    stochastic, bins = kinds.kind_of(settings).stochastic, settings["evaluation"]["bins"]
    labels = to_device(split.labels, images.mean.device)
    return evaluate(predictions, labels, bins, stochastic, images.ranked)


def measure(
    engine: Engine, images: Images, validation: Split, settings: Mapping, stream: Stream, epoch: int
) -> dict[str, float | None]:
    """Metrics of one pass over the test images and, if there are any, the held-out ones."""
    row: dict[str, float | None] = {}
    for name, split in {"test": images.test, "validation": validation}.items():
        if len(split):
            predictions = one_pass(engine, images, split, settings, (*stream, name, epoch))
            values = judge(predictions, images, split, settings)
            row |= {f"{name}_{metric}": value for metric, value in values.items()}
    return row


def measure_at_step(
    engine: Engine, images: Images, validation: Split, settings: Mapping, stream: Stream, step: int
) -> dict[str, float | None]:
    """As `measure`, between epochs."""
    return measure(engine, images, validation, settings, (*stream, "step"), step)


def untested(settings: Mapping) -> dict:
    """The settings of a training without any test; how a population is selected stays."""
    return {**settings, "evaluation": {**settings.get("evaluation", {}), "every": None}}


def due(settings: Mapping, epoch: int) -> bool:
    """Whether networks are tested after an epoch: every so many, and after the last."""
    every = settings["evaluation"]["every"]
    last = epoch == settings["curriculum"]["epochs"]
    return every is not None and (last or epoch % every == 0)


def due_at_step(settings: Mapping, step: int) -> bool:
    """Whether networks are tested after `step` steps, besides the tests after epochs."""
    every = settings["evaluation"].get("every_steps")
    return bool(every) and step % every == 0


def final(
    engine: Engine, images: Images, settings: Mapping, stream: Stream
) -> tuple[dict[str, list[float] | None], torch.Tensor]:
    """Repeated passes over the test images with the final weights.

    Returns:
        Every metric's values, one a pass: its error bar. And the first pass's class probabilities,
        (images, classes) float16 on the CPU.
    """
    repeats = settings["evaluation"]["passes"] if kinds.kind_of(settings).redraws else 1
    values, probabilities = [], torch.empty(0)
    for index in range(repeats):
        predictions = one_pass(engine, images, images.test, settings, (*stream, "pass", index))
        values.append(judge(predictions, images, images.test, settings))
        if index == 0:
            probabilities = predictions.log_probabilities.exp().half().cpu()
    passes: dict[str, list[float] | None] = {}
    for metric in values[0]:
        known = [value for row in values if (value := row[metric]) is not None]
        passes[metric] = known if len(known) == repeats else None
    return passes, probabilities


def by_draw(engine: Engine, images: Images, settings: Mapping, stream: Stream) -> Draws:
    """What each of the draws that a network keeps predicts of the test images."""
    network, device = engine.network, images.mean.device
    network.template.eval()
    noise = network.noise(1, generator(*stream, device=device))
    likelihood = torch.zeros(len(noise), dtype=torch.float64, device=device)
    kept: list[torch.Tensor] = []
    size = settings["evaluation"]["batch_size"]
    for start in range(0, len(images.test), size):
        batch = images.test[start : start + size]
        inputs = normalise(to_device(batch.images, device), images.mean, images.std)
        logits = engine.logits(inputs, noise)
        likelihood += log_likelihoods(logits, to_device(batch.labels, device)).double().sum(1)
        kept.append(logits[:, : max(0, draws.IMAGES - start)].softmax(-1).half())
    network.template.train()
    return Draws(torch.cat(kept, 1).cpu(), likelihood.cpu())


def _predicts(row: Mapping) -> bool:
    """Whether draws predicted after an epoch, or a fitted posterior; see `Network.sampling`."""
    return bool(row.get("draws") or row.get("fitted"))


def summarise(history: list[dict]) -> dict[str, dict | None]:
    """The test metrics at the `peak`, `final` and `selected` epochs.

    peak: the best test accuracy (optimistic: chosen on the test images); final: the last epoch;
    selected: the best validation accuracy, None without held-out images. Ties: the first epoch.
    Where the number of survivors fell in training, only epochs at the last one count; and where
    draws predict in the end, or a posterior fitted to the trained network, only epochs at which
    they did.
    """
    ended, drawn = history[-1].get("survivors"), _predicts(history[-1])
    tested = [row for row in history if "test_accuracy" in row]
    alike = [row for row in tested if _predicts(row) == drawn]
    measured = [row for row in alike if row.get("survivors") == ended]
    names = [*METRICS, *(metric for metric in RANKING if f"test_{metric}" in measured[-1])]

    def at(row: dict) -> dict:
        return {"epoch": row["epoch"], **{metric: row[f"test_{metric}"] for metric in names}}

    validated = "validation_accuracy" in measured[-1]
    return {
        "peak": at(max(measured, key=lambda row: row["test_accuracy"])),
        "final": at(measured[-1]),
        "selected": at(max(measured, key=lambda row: row["validation_accuracy"]))
        if validated
        else None,
    }
