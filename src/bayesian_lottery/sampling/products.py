"""Products of a sparse matrix with units x images, and their gradients, in JAX."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.sparse import BCSR

from bayesian_lottery.sampling.layout import Block


def product(block: Block) -> Callable[[Any, Any], Any]:
    """The product of a matrix that has entries at the block's places only.

    Returns:
        From the entries' values (k,) and inputs (I, B) to (O, B); differentiable by both.
    """
    units, inputs = block.units.astype(np.int32), block.inputs.astype(np.int32)
    order = np.lexsort((units, inputs))
    forward = _Matrix(units, inputs, block.shape)
    backward = _Matrix(inputs[order], units[order], block.shape[::-1])

    @jax.custom_vjp
    def multiply(values, x):
        return forward(values, x)

    def fwd(values, x):
        return forward(values, x), (values, x)

    def bwd(kept, gradient):
        values, x = kept
        # A product with ones: XLA on a CPU sums a row number by number, and products in vectors.
        pairs = _rows(gradient, units) * _rows(x, inputs)
        return pairs @ jnp.ones(x.shape[1], x.dtype), backward(_rows(values, order), gradient)

    multiply.defvjp(fwd, bwd)
    return multiply


def _rows(array, places: np.ndarray):
    # Without a check of the places, which XLA would fold for seconds.
    return array.at[places].get(mode="promise_in_bounds")


class _Matrix:
    """A matrix in compressed rows, but for its values."""

    def __init__(self, rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]):
        counts = np.bincount(rows, minlength=shape[0])
        self.columns, self.shape = columns, shape
        self.ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)

    def __call__(self, values, x):
        return BCSR((values, self.columns, self.ends), shape=self.shape) @ x
