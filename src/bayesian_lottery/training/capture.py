"""Work recorded as a CUDA graph: one launch instead of hundreds."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from bayesian_lottery.errors import InputError


class Recording:
    """A function recorded once and replayed on other values of its inputs.

    Recording computes nothing. What a call returns is overwritten by the next one. Tensors that the
    function changes in place, and the generators, are changed by every call.

    Args:
        function: from `inputs` to a tensor; launches the same kernels whatever the values, reads
            none of them, and has run before, so that libraries are set up.
        inputs: tensors of the shapes that every call will have.
        generators: those on the GPU that it draws from.

    Raises:
        InputError: the function does what a graph cannot hold.
    """

    def __init__(
        self,
        function: Callable[..., Tensor],
        inputs: tuple[Tensor, ...],
        generators: Iterable[torch.Generator],
    ):
        self.inputs = [tensor.clone() for tensor in inputs]
        self.graph = torch.cuda.CUDAGraph()
        for generator in generators:
            self.graph.register_generator_state(generator)
        try:
            with torch.cuda.graph(self.graph):
                self.output = function(*self.inputs)
        except RuntimeError as error:
            first = error.__context__ or error  # a graph that cannot be ended fails once more
            if isinstance(first, torch.OutOfMemoryError):
                raise first from None
            fault = str(first).partition("\n")[0]
            raise InputError(
                f"compute.capture: true, but a step cannot be recorded ({fault}); set it to false."
            ) from first

    def __call__(self, *inputs: Tensor) -> Tensor:
        for own, given in zip(self.inputs, inputs, strict=True):
            own.copy_(given)
        self.graph.replay()
        return self.output
