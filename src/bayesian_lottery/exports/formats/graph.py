"""ONNX graphs by torch's exporter, run by onnxruntime; they can be used without this package.

A graph takes `images` (B, C, H, W), float32, normalised by the metadata's mean and std, and gives
`logits` (B, S·K), those of draw s in columns s·K to (s + 1)·K - 1. Its property "json" has the
metadata. Zeros are stored as other weights are.
"""

import contextlib
import io
import logging
import warnings
from functools import lru_cache
from pathlib import Path

import torch

from bayesian_lottery.errors import InputError
from bayesian_lottery.exports import containers, sources
from bayesian_lottery.exports.sources import Content, Exported, Source
from bayesian_lottery.files import Damaged
from bayesian_lottery.imports import reason
from bayesian_lottery.models.layers import unfold_samples

LARGEST = 2 * 10**9  # bytes of a graph in one file


def check(source: Source) -> None:
    """Raise `InputError` for networks that are too large for one file."""
    size = sum(tensor.nbytes for tensor in source.stacked.values())
    if size >= LARGEST:
        raise InputError(
            f"onnx: its {source.samples} networks take {size / 1e9:.1f} GB, and a graph in one "
            "file has at most 2 GB."
        )


def make(source: Source) -> Content:
    """The graph of all draws.

    Raises:
        InputError: torch cannot express the model as a graph.
    """
    graph = graph_of(source)
    return Content(graph, {}, weights_in(graph))


@lru_cache(maxsize=1)  # quantising starts from it, too
def graph_of(source: Source) -> bytes:
    """The graph of a source's draws."""
    model = sources.filled(source.template(), source.stacked)
    try:
        with quiet():
            program = torch.onnx.export(
                model,
                (source.tested()[:2],),
                input_names=["images"],
                output_names=["logits"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                dynamo=True,
                verbose=False,
            )
    except (Exception, SystemExit) as error:  # of many kinds, the model's own among them
        raise InputError(
            f"onnx: torch cannot make a graph of this model ({reason(error)})."
        ) from error
    assert program is not None  # it is where no file was named
    return program.model_proto.SerializeToString()


@contextlib.contextmanager
def quiet():
    """Without what libraries print and log of their own progress."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def weights_in(graph: bytes) -> int:
    """The bytes that a graph's constants take."""
    import onnx

    constants = onnx.load_model_from_string(graph).graph.initializer
    return sum(onnx.numpy_helper.to_array(each).nbytes for each in constants)


def load(path: Path, source: Source | None = None) -> Exported:
    """The graph, in onnxruntime on the CPU, with as many threads as torch.

    Raises:
        InputError: the file is missing, damaged, or no such graph.
    """
    import onnxruntime

    content, metadata = containers.read_graph(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        classes = len(metadata["classes"])
    except (KeyError, RuntimeError, ValueError) as error:
        raise Damaged(path, f"no exported ONNX graph ({reason(error)})") from None

    def logits(images: torch.Tensor) -> torch.Tensor:
        (output,) = session.run(["logits"], {"images": images.numpy()})
        return unfold_samples(torch.from_numpy(output), classes)

    return Exported(logits, metadata)
