"""ONNX graphs with weights and activations of eight bits, by onnxruntime's static quantisation.

Ranges of activations are those of some training images. Weights are symmetrical, each output
channel by itself, and of seven bits (`reduce_range`), since on processors without VNNI the sums of
full ones overflow. Zeros are stored as other weights are.
"""

import tempfile
from pathlib import Path

from bayesian_lottery.exports.formats import graph
from bayesian_lottery.exports.sources import CALIBRATION, Content, Source

BATCH = 32


def check(source: Source) -> None:
    """As for float graphs."""
    graph.check(source)


def make(source: Source) -> Content:
    """The quantised graph."""
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder, graph.quiet():
        exact, fused, rounded = (Path(folder) / name for name in ("exact", "fused", "rounded"))
        exact.write_bytes(graph.graph_of(source))
        quant_pre_process(str(exact), str(fused), skip_symbolic_shape=True)
        quantization.quantize_static(
            str(fused),
            str(rounded),
            _Images(source),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
        )
        content = rounded.read_bytes()
    calibrated = min(CALIBRATION, len(source.images.train))
    return Content(content, {"calibrated_on": calibrated}, graph.weights_in(content))


class _Images:
    """Calibration images, batch by batch, as onnxruntime asks for them."""

    def __init__(self, source: Source):
        self.batches = iter(source.calibration().split(BATCH))

    def get_next(self) -> dict | None:
        batch = next(self.batches, None)
        return None if batch is None else {"images": batch.numpy()}


load = graph.load
