"""CUDA without a GPU: tensors that have shapes, layouts and devices, but no values.

PyTorch's FakeTensorMode computes what an operation's result would look like, and refuses operations
whose tensors lie on different devices and those whose result depends on values. It does so for
"cuda" on a machine without a driver, all but a few places, which `fake_cuda` replaces. What stays
out of sight: values, cuDNN's choices of algorithm, and which kernel attention takes (here it is
decomposed). A CUDA graph computes nothing, but refuses what a real one cannot hold.
"""

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.autograd.function import BackwardCFunction
from torch.utils._python_dispatch import TorchDispatchMode

import bayesian_lottery

PACKAGE = str(Path(bayesian_lottery.__file__).parent)
CUDA_STATE_BYTES = 16  # of a generator; on the CPU it has thousands
aten = torch.ops.aten
FREE = {aten._unsafe_view.default, aten.empty.memory_format, aten.detach.default}
# Without a fake of their own, beside the same with a number for the learning rate.
TENSOR_RATES = {
    aten._fused_adam_.tensor_lr: aten._fused_adam_.default,
    aten._fused_sgd_.tensor_lr: aten._fused_sgd_.default,
}
# Operations whose input, the argument of that number, should be channels-last; inference mode does
# not take the first one apart.
CONVOLUTIONS = {
    aten.conv2d.default: 0,
    aten.convolution.default: 0,
    aten.convolution_backward.default: 1,
}


class Trace(TorchDispatchMode):
    """What has been asked of the device.

    Attributes:
        operations: how many kernels have been launched; views and empty tensors take none.
        waits: where in the package the CPU has waited for the device, and how often.
        not_channels_last: where convolutions were given something else.
        names: of all operations.
        graph: what is being recorded; the kernels in it count as its own.
        graphs: those that were replayed, in order.
    """

    def __init__(self):
        super().__init__()
        self.operations = 0
        self.graph: Graph | None = None
        self.graphs: list[Graph] = []
        self.waits: Counter[str] = Counter()
        self.not_channels_last: Counter[str] = Counter()
        self.names: Counter[str] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is torch.ops.prim.device.default:  # asked half of the time; no GPU is
            return args[0].device
        if function is aten._local_scalar_dense.default:
            return self.value_of(args[0])
        if function in TENSOR_RATES:
            rate = kwargs["lr"]
            assert _is_on_gpu(rate) and rate.dtype == torch.float32  # as its kernel reads it
            function, kwargs = TENSOR_RATES[function], {**kwargs, "lr": 1.0}
        result = function(*args, **kwargs)
        on_gpu = any(_is_on_gpu(tensor) for tensor in (*_tensors(args), *_tensors((result,))))
        if function is aten._to_copy.default and _is_on_gpu(args[0]) != _is_on_gpu(result):
            assert not self.graph, f"{_caller()}: a copy between devices in a graph"
            if not (kwargs.get("non_blocking") and getattr(args[0], "pinned", False)):
                self.wait()
        elif on_gpu and not (function.is_view or function in FREE):
            counter = self.graph or self
            counter.operations += 1
            self.names[function._schema.name.removeprefix("aten::")] += 1
        if on_gpu and function in CONVOLUTIONS:
            given = args[CONVOLUTIONS[function]]
            if not given.is_contiguous(memory_format=torch.channels_last):
                self.not_channels_last[_caller()] += 1
        generator = kwargs.get("generator")
        if generator is not None:
            place = Generator.places[generator._cdata]
            assert place.type == result.fake_device.type, f"{function}: a generator on {place}"
            known = not self.graph or generator._cdata in self.graph.generators
            assert known, f"{_caller()}: a generator that the graph does not know"
        return result

    def wait(self) -> None:
        """Note that the CPU waits for the device."""
        assert not self.graph, f"{_caller()}: a wait in a graph"
        self.waits[_caller()] += 1

    def value_of(self, tensor: Tensor) -> bool | int | float:
        """A value made up for a tensor of one element: True, so that checks pass, or 1."""
        if _is_on_gpu(tensor):
            self.wait()
        return {torch.bool: True}.get(tensor.dtype, 1.0 if tensor.is_floating_point() else 1)


def _is_on_gpu(tensor: Tensor) -> bool:
    return isinstance(tensor, FakeTensor) and tensor.fake_device.type == "cuda"


def _tensors(values: Sequence) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


def _caller() -> str:
    """The function of the package that is at work, as "module.function"."""
    frame = sys._getframe(1)
    while frame and not frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    if frame is None:
        return "outside"
    path = Path(frame.f_code.co_filename).relative_to(PACKAGE).with_suffix("")
    return f"{'.'.join(path.parts)}.{frame.f_code.co_qualname}"


class Generator(torch.Generator):
    """A generator that says it is on the GPU, and is as choosy about its state as one there."""

    places: ClassVar[dict[int, torch.device]] = {}  # by what PyTorch hands on of a generator

    def __new__(cls, device="cpu"):
        return super().__new__(cls, "cpu")

    def __init__(self, device="cpu"):
        self.place = self.places[self._cdata] = torch.device(device)

    @property
    def device(self) -> torch.device:
        return self.place

    def manual_seed(self, seed: int) -> "Generator":
        super().manual_seed(seed)
        return self

    def get_state(self) -> Tensor:
        size = CUDA_STATE_BYTES if self.place.type == "cuda" else 5056
        return torch.zeros(size, dtype=torch.uint8)

    def set_state(self, state: Tensor) -> None:
        expected = self.get_state()
        assert (state.device.type, state.shape) == (expected.device.type, expected.shape)


class Event:
    """A CUDA event; to wait for it is a wait like any other."""

    trace: Trace

    def record(self) -> None:
        pass

    def synchronize(self) -> None:
        self.trace.wait()


class Graph:
    """A CUDA graph.

    Attributes:
        operations: how many kernels it has.
        generators: those that may be drawn from while it is recorded.
    """

    trace: Trace

    def __init__(self):
        self.operations = 0
        self.generators: set[int] = set()

    def register_generator_state(self, generator: Generator) -> None:
        assert generator.device.type == "cuda"
        self.generators.add(generator._cdata)

    def replay(self) -> None:
        self.trace.operations += 1
        self.trace.graphs.append(self)


@contextlib.contextmanager
def record(graph: Graph) -> Iterator[None]:
    """As `torch.cuda.graph`. Optimisers that are not told of graphs refuse, as with a GPU."""

    def check(optimizer: torch.optim.Optimizer) -> None:
        assert all(group["capturable"] for group in optimizer.param_groups)

    graph.trace.graph = graph
    with patch.object(torch.optim.Optimizer, "_accelerator_graph_capture_health_check", check):
        yield
    graph.trace.graph = None


def backward(roots, gradients=None, **_) -> None:
    """As `torch.autograd.backward`, whose engine in C++ would ask the driver for streams."""
    roots = [roots] if isinstance(roots, Tensor) else list(roots)
    gradients = gradients or [torch.ones_like(root) for root in roots]
    found: dict = {}  # of each node of the graph, the gradients of its outputs

    def add(node, index: int, gradient: Tensor) -> None:
        expected = node._input_metadata[index]
        assert gradient.device == expected.device, (node.name(), gradient.device, expected.device)
        gradient = gradient.sum_to_size(expected.shape).to(expected.dtype)
        slots = found.setdefault(node, [None] * len(node._input_metadata))
        slots[index] = gradient if slots[index] is None else slots[index] + gradient

    with torch.no_grad():
        for root, gradient in zip(roots, gradients, strict=True):
            if root.grad_fn is None:  # a leaf
                root.grad = gradient if root.grad is None else root.grad + gradient
            else:
                add(root.grad_fn, root.output_nr, gradient)
        for node in _from_the_roots(root.grad_fn for root in roots if root.grad_fn):
            slots = found.pop(node, None)
            if slots is None:
                continue
            if node.name().endswith("AccumulateGrad"):
                leaf, (gradient,) = node.variable, slots
                leaf.grad = gradient if leaf.grad is None else leaf.grad + gradient
                continue
            if isinstance(node, BackwardCFunction):  # which has tensors first, then other values
                passed = node.apply(*slots)[: len(node.next_functions)]
            else:
                passed = node(*slots)
            passed = passed if isinstance(passed, tuple) else (passed,)
            for (following, index), gradient in zip(node.next_functions, passed, strict=True):
                if following is not None and gradient is not None:
                    add(following, index, gradient)


def _from_the_roots(roots) -> list:
    """The nodes of an autograd graph, each after all that lead to it."""
    order, seen = [], set()
    stack = [(root, False) for root in roots]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack += [(following, False) for following, _ in node.next_functions if following]
    return order[::-1]


def _deepcopy(tensor: Tensor, memo: dict) -> Tensor:
    """FakeTensor's own copies its mode too."""
    copy = tensor.detach().clone()
    return nn.Parameter(copy, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else copy


def _apply(module: nn.Module, function, recurse: bool = True) -> nn.Module:
    """`nn.Module._apply` would swap tensors in place, which fake ones refuse."""
    for part in module.modules():
        for name, value in part._parameters.items():
            if value is not None:
                changed = function(value.detach())
                part._parameters[name] = nn.Parameter(changed, value.requires_grad)
        for name, value in part._buffers.items():
            if value is not None:
                part._buffers[name] = function(value)
    return module


def _pin_memory(tensor: Tensor) -> Tensor:
    """A copy in pinned memory, from which a GPU fetches without a wait; the driver allocates it."""
    copy = tensor.clone()
    copy.pinned = True  # type: ignore[attr-defined]
    return copy


@contextlib.contextmanager
def fake_cuda() -> Iterator[Trace]:
    """Within the block "cuda" is there, and all tensors are fake."""
    import torch.cuda.amp.common

    trace = Trace()

    def tolist(tensor: Tensor):
        if _is_on_gpu(tensor):
            trace.wait()
        value = 1.0 if tensor.is_floating_point() else 1
        for size in reversed(tensor.shape):
            value = [value] * size
        return value

    replaced = [
        (torch.cuda.amp.common, "amp_definitely_not_available", lambda: False),
        (torch.cuda, "is_bf16_supported", lambda *_, **__: True),
        # Asked what it is, a card without a driver has no bfloat16 for cuDNN.
        (torch._C, "_select_conv_backend", lambda *_, **__: torch._C._ConvBackend.Cudnn),
        (torch.cuda, "get_device_name", lambda *_: "a fake"),
        (torch.cuda, "max_memory_reserved", lambda *_: 0),
        (torch.cuda, "Event", type("Event", (Event,), {"trace": trace})),
        (torch.cuda, "CUDAGraph", type("CUDAGraph", (Graph,), {"trace": trace})),
        (torch.cuda, "graph", record),
        (torch, "Generator", Generator),
        (torch.autograd, "backward", backward),
        (torch.Tensor, "backward", lambda tensor, gradient=None: backward(tensor, gradient)),
        (torch.Tensor, "pin_memory", _pin_memory),
        (FakeTensor, "tolist", tolist),
        (FakeTensor, "__deepcopy__", _deepcopy),
        (nn.Module, "_apply", _apply),
    ]
    with contextlib.ExitStack() as stack:
        for where, name, new in replaced:
            stack.enter_context(patch.object(where, name, new))
        stack.enter_context(FakeTensorMode())
        stack.enter_context(trace)
        yield trace
