"""A training step recorded as a CUDA graph: one launch instead of hundreds."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor


class Recording:
    """A function that leaves gradients behind, recorded once and replayed on other values.

    Recording computes nothing. What a call returns is overwritten by the next one.

    Args:
        function: takes `inputs` and returns tensors; launches the same kernels whatever the values,
            and has run before, so that libraries are set up.
        parameters: whose `grad` the function makes; None when recorded, and before every call.
        inputs: tensors of the shapes that every call will have.
    """

    def __init__(
        self,
        function: Callable[..., tuple[Tensor, ...]],
        parameters: Iterable[Tensor],
        inputs: tuple[Tensor, ...],
    ):
        self.inputs = [tensor.clone() for tensor in inputs]
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.outputs = function(*self.inputs)
        self.gradients = [(parameter, parameter.grad) for parameter in parameters]
        for parameter, _ in self.gradients:
            parameter.grad = None  # until a call has made it

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        for own, given in zip(self.inputs, inputs, strict=True):
            own.copy_(given)
        self.graph.replay()
        for parameter, gradient in self.gradients:
            parameter.grad = gradient
        return self.outputs
