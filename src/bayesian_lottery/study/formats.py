"""Formats that a trained network can be exported in. To add one, add an entry to `FORMATS`.

An export holds S plain networks, its *draws*: one of a deterministic network, or of a Bayesian one
the posterior mean, or S weight samples. A format's module has

    check(source)      raise `InputError`, in a sentence, for a network or machine that does not fit
    make(source)       the file's `Content`
    load(path, source) the file, ready to predict (`sources.Exported`); `source` is what it was
                       written from, or None

This module loads no torch, so that the workflow can read the names quickly.
"""

import importlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Format:
    """A format of exported networks.

    Attributes:
        words: what tables call it.
        module: of `exports.formats`.
        suffix: of its files.
        tolerance: how far logits may be from the float network's, as a share of the largest (or
            of 1). None where values are rounded on purpose: there only what comes of it is told.
        alone: whether its files can be used without this package.
        skips: whether predictions take no product with pruned weights.
    """

    words: str
    module: str
    suffix: str = "safetensors"
    tolerance: float | None = 1e-4
    alone: bool = False
    skips: bool = False

    def code(self) -> Any:
        """The module; this imports torch."""
        return importlib.import_module(f"bayesian_lottery.exports.formats.{self.module}")


FORMATS: dict[str, Format] = {
    "dense": Format("dense, zeros included", "dense"),
    "compact": Format("compact dense", "cut", skips=True),
    "csr": Format("CSR", "csr", skips=True),
    "packed": Format("packed int8 survivors", "packed", tolerance=None),
    "onnx": Format("ONNX", "graph", suffix="onnx", alone=True),
    "int8": Format("ONNX, int8", "int8", suffix="onnx", tolerance=None, alone=True),
    "2of4": Format("2:4", "two_of_four", tolerance=1e-2, skips=True),  # float16
}

# What stands for a stochastic network: its posterior mean, or weight samples.
MEAN, SAMPLES = "mean", "samples"
PREDICTS = {MEAN: "mean", SAMPLES: "{} samples"}  # in words, of so many samples
