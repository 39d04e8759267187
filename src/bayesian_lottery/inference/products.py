"""Linear layers as products with their surviving weights alone.

The weights of S samples are one sparse matrix (CSR), O rows a sample: one below the other where the
samples share their input, else block by block along the diagonal. Forward it is multiplied by the
activations. Backward, the weights' gradient is a product of which the survivors' entries alone are
computed, and the input's gradient one with the transposed matrix. Activations are units x images.

Which layers are computed so is a rule and not a measurement, so that runs repeat; docs/sparse.md
has the measurements that it comes from. GPUs and packs use dense products.
"""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.amp import custom_bwd, custom_fwd

from bayesian_lottery.inference.places import Places, placed

# A layer's weights, from which on, and its density, up to which sparse products are faster on CPUs.
LEAST_WEIGHTS = 2**14
DENSITY = 1 / 8
DENSITY_OF_TOKENS = 1 / 32  # of layers that see each image at many positions

for words in ("Sparse CSR tensor support is in beta", "Sparse invariant checks are implicitly"):
    warnings.filterwarnings("ignore", words)


def pay(size: int, survivors: int, device: torch.device) -> bool:
    """Whether sparse products are used for a linear layer of `size` weights."""
    possible = device.type == "cpu" and torch.backends.mkl.is_available()
    return possible and size >= LEAST_WEIGHTS and survivors <= DENSITY * size


class Pattern:
    """Where a linear layer's n survivors are.

    Args:
        kept: (O, I) bool, with survivors counted row by row.
    """

    def __init__(self, kept: Tensor):
        flat, self.shape = kept.flatten(), kept.shape
        survivors = int(flat.sum())
        self.density = survivors / len(flat)
        source = torch.where(flat, flat.cumsum(0) - 1, survivors)
        self.places = Places(source, survivors, kept.device)
        self.rows = Layout.of(kept)
        self.columns = Layout.of(kept.T)
        numbers = source.view_as(kept).T[kept.T]
        self.order = numbers.int()  # of the survivors in the transposed matrix

    def suits(self, inputs: Tensor) -> bool:
        """Whether sparse products are used for inputs of this shape."""
        return inputs.dim() == 2 or self.density <= DENSITY_OF_TOKENS

    def dense(self, values: Tensor) -> Tensor:
        """The weights (S·O, I) of `values` (S, n), 0 where pruned."""
        return placed(values, self.places).view(-1, self.shape[1])

    def linear(self, inputs: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
        """What `models.layers.linear` gives for the surviving weights `values` (S, n)."""
        outputs = _Product.apply(values, inputs.flatten(0, -2), self)
        outputs = outputs if bias is None else outputs + bias
        return outputs.view(*inputs.shape[:-1], -1)


class Layout:
    """Where rows end (height,), and the columns of entries (n,), of a sparse matrix; int32.

    Stacked for samples.
    """

    @classmethod
    def of(cls, kept: Tensor) -> "Layout":
        """From where entries are (bool)."""
        return cls(kept.shape, kept.sum(1).cumsum(0).int(), kept.nonzero()[:, 1].int())

    def __init__(self, shape: Sequence[int], ends: Tensor, columns: Tensor):
        self.shape, self.ends, self.columns = tuple(shape), ends, columns
        self.stacks: dict[tuple[int, bool], tuple[Tensor, Tensor]] = {}

    def matrix(self, values: Tensor, shared: bool = False) -> Tensor:
        """The matrix (S·height, S·width) of values (S, n), or (S·height, width) if shared."""
        samples, (height, width) = len(values), self.shape
        if (samples, shared) not in self.stacks:
            numbers = torch.arange(samples, dtype=torch.int32)[:, None]
            ends = self.ends + numbers * values.shape[1]
            columns = self.columns + numbers * (0 if shared else width)
            stack = torch.cat([ends.new_zeros(1), ends.flatten()]), columns.flatten()
            self.stacks[samples, shared] = stack
        size = samples * height, width if shared else samples * width
        return torch.sparse_csr_tensor(
            *self.stacks[samples, shared], values.flatten(), size, check_invariants=False
        )


class _Product(torch.autograd.Function):
    """(B, S·O) of values (S, n) and inputs, (B, I) if shared or (B, S·I)."""

    @staticmethod
    @custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(ctx, values: Tensor, inputs: Tensor, pattern: Pattern) -> Tensor:
        ctx.save_for_backward(values, inputs)
        ctx.pattern, ctx.shared = pattern, inputs.shape[1] == pattern.shape[1]
        return (pattern.rows.matrix(values, ctx.shared) @ inputs.T).T

    @staticmethod
    @custom_bwd(device_type="cpu")
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        values, inputs = ctx.saved_tensors
        outputs, pattern = gradient.T.contiguous(), ctx.pattern
        of_values, of_inputs = None, None
        if ctx.needs_input_grad[0]:
            matrix = pattern.rows.matrix(values, ctx.shared)
            sampled = torch.sparse.sampled_addmm(matrix, outputs, inputs, beta=0.0)
            of_values = sampled.values().view_as(values)
        if ctx.needs_input_grad[1]:
            transposed = values.index_select(1, pattern.order)
            of_inputs = (pattern.columns.matrix(transposed) @ outputs).T
            if ctx.shared:
                of_inputs = of_inputs.unflatten(1, (len(values), -1)).sum(1)
        return of_values, of_inputs, None
