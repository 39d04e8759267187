"""A trained node's network as one file of a format, written only if it predicts as it should."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from bayesian_lottery.errors import InputError, choice
from bayesian_lottery.exports import containers, sources, speed
from bayesian_lottery.exports.sources import Content, Exported, Source
from bayesian_lottery.files import read_shapes
from bayesian_lottery.study.formats import FORMATS, Format
from bayesian_lottery.training.engine import keep_freed_memory
from bayesian_lottery.training.metrics import Predictions, evaluate

COMPARED = ("accuracy", "nll", "ece")  # of the exported network with the float one
PASS = 250  # images at a time when testing


def export(
    folder: Path,
    data_file: Path,
    output: Path,
    multiple: int = 8,
    images: int = 256,
    samples: int = 10,
    format: str = "compact",
    predicts: str | None = None,
    batches: Sequence[int] = (),
    seconds: float = 1.0,
) -> dict:
    """Write the network of a trained node to `output`.

    Args:
        folder: the node's, with `metrics.json` and `weights.safetensors`.
        data_file: the decoded data set that it was trained on.
        output: the file to write.
        multiple: see `compact.cut`.
        images: how many test images to compare predictions on.
        samples: how many weight samples, of a Bayesian network.
        format: a key of `FORMATS`.
        predicts: of a Bayesian network "mean" or "samples" (None: samples).
        batches: of how many images to time.
        seconds: for each of them.

    Returns:
        The file's metadata; docs/sparse.md explains them.

    Raises:
        InputError: the format is not known or does not fit; a file is missing, truncated or of
            another network or data set; predictions differ; or `output` is there and is no
            exported network. Nothing is written then.
    """
    if format not in FORMATS:
        raise choice("format", format, FORMATS)
    _check_output(output, FORMATS[format])
    source = sources.read(folder, data_file, predicts, samples, multiple, images)
    return write(source, format, make(source, format), output, batches, seconds)


def _check_output(output: Path, entry: Format) -> None:
    """Refuse to write over anything but a network that was exported before."""
    if not output.exists():
        return
    read = containers.read_graph if entry.suffix == "onnx" else read_shapes
    try:
        told = read(output)[1]
    except InputError:
        told = {}
    if "format" not in told:
        raise InputError(f"{output}: it is there and is no network exported so; name another file.")


def make(source: Source, format: str) -> Content:
    """What a file of a format holds of a source.

    Raises:
        InputError: the format does not fit the network or the machine.
    """
    code = FORMATS[format].code()
    code.check(source)
    return code.make(source)


def write(
    source: Source,
    format: str,
    content: Content,
    output: Path,
    batches: Sequence[int] = (),
    seconds: float = 1.0,
) -> dict:
    """Write what `make` has made of a source in a format; see `export`.

    The file is written, loaded and tried beside the dense network, and then gets its place and
    what was measured among its metadata.
    """
    entry = FORMATS[format]
    metadata = {**source.description, "format": format, **content.told}
    dense = sources.predictor(source.description, source.stacked)
    with tempfile.TemporaryDirectory() as place:
        trial = Path(place) / f"trial.{entry.suffix}"
        containers.write(trial, content.data, metadata)
        exported = entry.code().load(trial, source)
        metadata |= measured(source, entry, dense, exported, batches, seconds)
    metadata["weights_bytes"] = content.weights
    metadata["dense_bytes"] = sum(tensor.nbytes for tensor in source.stacked.values())
    containers.write(output, content.data, metadata)
    return metadata


@torch.inference_mode()
def measured(
    source: Source,
    entry: Format,
    dense: Callable[[Tensor], Tensor],
    exported: Exported,
    batches: Sequence[int],
    seconds: float,
) -> dict:
    """What a file's metadata tell of its predictions and speed, beside the dense network's.

    Raises:
        InputError: its logits are not the dense network's, in a format that keeps them.
    """
    check = compare(source, entry, dense, exported)
    told: dict[str, object] = {"predictions": check}
    if batches:
        keep_freed_memory()
        inputs = source.inputs(source.images.test.images[: max(batches)])
        speeds = [
            speed.compare(dense, exported.logits, inputs, batch, seconds) for batch in batches
        ]
        told |= {
            "speed": speeds,
            "threads": torch.get_num_threads(),
            "slower": speed.slower(speeds),
        }
    return told


def compare(
    source: Source, entry: Format, dense: Callable[[Tensor], Tensor], exported: Exported
) -> dict:
    """The one check of all formats: predictions for the test images against the dense network's.

    Returns:
        The `largest_difference` between logits and the largest of these (`scale`); the share of
        images of which both predict the same class (`agreement`); and of each of `COMPARED` its
        value and that of the dense network (`dense_...`).

    Raises:
        InputError: logits differ by more than the format's tolerance.
    """
    test, both = source.images.test, []
    for predict in (dense, exported.logits):
        parts = [predict(source.inputs(batch)) for batch in test.images.split(PASS)]
        both.append(torch.cat(parts, 1))
    expected, actual = both
    difference = (actual - expected).abs().max().item()
    scale = max(1.0, expected.abs().max().item())
    if entry.tolerance is not None and not difference <= entry.tolerance * scale:  # NaN is refused
        raise InputError(
            f"{entry.words}: its logits differ from the dense network's by up to {difference:g}, "
            f"where the largest is {scale:g}; nothing was written."
        )
    predictions = [Predictions.of(logits) for logits in both]
    bins = source.settings["evaluation"].get("bins", 10)
    values = [evaluate(each, test.labels, bins, source.samples > 1) for each in predictions]
    classes = [each.log_probabilities.argmax(-1) for each in predictions]
    return {
        "images": len(test),
        "largest_difference": difference,
        "scale": scale,
        "agreement": (classes[0] == classes[1]).double().mean().item(),
        **{name: values[1][name] for name in COMPARED},
        **{f"dense_{name}": values[0][name] for name in COMPARED},
    }
