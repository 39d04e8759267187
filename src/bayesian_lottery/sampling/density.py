"""The log-likelihood of a row of survivors and its gradient, full batch, in JAX.

The gradient is made with the value, chunk by chunk of images, so that no activation is stored.
Activations of linear layers are units x images. Images are arguments of what is compiled: as its
constants, XLA would fold them for seconds.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from torch import Tensor

from bayesian_lottery.sampling.layout import Block, Convolution, Layout
from bayesian_lottery.sampling.products import product

CHUNK = 500  # images at a time


class Data(NamedTuple):
    """Images in chunks of B.

    inputs: (chunks, B, C, H, W), or for a chain without convolutions (chunks, live inputs, B).
    labels: (chunks, B).
    counts: (chunks, B), 1 for an image and 0 for what fills the last chunk.
    """

    inputs: jax.Array
    labels: jax.Array
    counts: jax.Array


def arrange(layout: Layout, images: Tensor, labels: Tensor, chunk: int = CHUNK) -> Data:
    """Images (N, C, H, W), normalised, and labels (N,) as `log_likelihood` takes them."""
    chunk = min(chunk, len(labels))
    missing = -len(labels) % chunk
    inputs = np.concatenate([images.numpy(), np.zeros((missing, *images.shape[1:]), np.float32)])
    inputs = inputs.astype(images.numpy().dtype).reshape(-1, chunk, *images.shape[1:])
    if not layout.convolutions:
        flat = inputs.reshape(*inputs.shape[:2], -1)[:, :, layout.inputs]
        inputs = np.ascontiguousarray(flat.transpose(0, 2, 1))
    counts = np.concatenate([np.ones(len(labels)), np.zeros(missing)]).astype(inputs.dtype)
    targets = np.concatenate([labels.numpy(), np.zeros(missing, np.int64)]).astype(np.int32)
    shape = (-1, chunk)
    return Data(*map(jnp.asarray, (inputs, targets.reshape(shape), counts.reshape(shape))))


def log_likelihood(layout: Layout) -> Callable[[jax.Array, Data], jax.Array]:
    """The sum of the labels' log probabilities, in nats, as a function of a row (n,) and data."""
    logits = _logits(layout)

    def chunk(parameters, inputs, labels, counts):
        scores = logits(parameters, inputs)
        chosen = jnp.take_along_axis(scores, labels[None], 0)[0]
        return ((chosen - jax.nn.logsumexp(scores, 0)) * counts).sum()

    def total(function: Callable, start: Any, parameters, data: Data):
        def add(sums, each):
            return jax.tree.map(jnp.add, sums, function(parameters, *each)), None

        return jax.lax.scan(add, start, data)[0]

    @jax.custom_vjp
    def likelihood(parameters, data: Data):
        return total(chunk, jnp.zeros((), data.counts.dtype), parameters, data)

    def forward(parameters, data: Data):
        start = jnp.zeros((), data.counts.dtype), jax.tree.map(jnp.zeros_like, parameters)
        return total(jax.value_and_grad(chunk), start, parameters, data)

    def backward(gradient, cotangent):
        return jax.tree.map(partial(jnp.multiply, cotangent), gradient), None

    likelihood.defvjp(forward, backward)
    return lambda row, data: likelihood(_parameters(layout, row), data)


def _parameters(layout: Layout, row: jax.Array) -> list[tuple]:
    """Of each layer what its chunks are multiplied by: a matrix or the values of its survivors, and
    biases, to which constant units have been added."""
    made: list[tuple] = []
    for layer in layout.convolutions:
        weights = (
            jnp.zeros(np.prod(layer.shape), row.dtype)
            .at[layer.entries]
            .set(row[layer.places], unique_indices=True)
        )
        made.append((weights.reshape(layer.shape), _at(row, layer.biases, layer.shape[0])))
    constants = jnp.zeros(0, row.dtype)
    for each in layout.linears:
        live, constant = each.biases if each.biases is not None else (None, None)
        offset = _at(row, live, each.live.shape[0]) + _dense(row, each.offset) @ constants
        values = row[each.live.places] if each.sparse else _dense(row, each.live)
        made.append((values, offset))
        constants = _at(row, constant, each.constant.shape[0]) + (
            _dense(row, each.constant) @ constants
        )
        constants = jax.nn.relu(constants)
    return made


def _at(row: jax.Array, places: np.ndarray | None, count: int) -> jax.Array:
    return jnp.zeros(count, row.dtype) if places is None else row[places]


def _dense(row: jax.Array, block: Block) -> jax.Array:
    empty = jnp.zeros(block.shape, row.dtype)
    return empty.at[block.units, block.inputs].set(row[block.places], unique_indices=True)


def _logits(layout: Layout) -> Callable[[list[tuple], jax.Array], jax.Array]:
    """Logits (K, B) of a chunk, as a function of parameters and inputs."""
    products = [product(each.live) if each.sparse else jnp.matmul for each in layout.linears]

    def logits(parameters, x):
        for layer, (weights, biases) in zip(layout.convolutions, parameters, strict=False):
            x = _pooled(jax.nn.relu(_convolved(layer, weights, x) + biases[:, None, None]), layer)
        if layout.convolutions:
            x = x.reshape(len(x), -1)[:, layout.inputs].T
        linear = parameters[len(layout.convolutions) :]
        for multiply, (values, biases) in zip(products[:-1], linear[:-1], strict=True):
            x = jax.nn.relu(multiply(values, x) + biases[:, None])
        values, biases = linear[-1]
        return products[-1](values, x) + biases[:, None]

    return logits


def _convolved(layer: Convolution, weights: jax.Array, x: jax.Array) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x,
        weights,
        layer.stride,
        [(each, each) for each in layer.padding],
        rhs_dilation=layer.dilation,
        feature_group_count=layer.groups,
    )


def _pooled(x: jax.Array, layer: Convolution) -> jax.Array:
    """Max-pooling of whole squares; what is left over at the ends is left out, as torch does."""
    side = layer.pool
    if side == 1:
        return x
    batch, channels, height, width = x.shape
    rows, columns = height // side, width // side
    x = x[:, :, : rows * side, : columns * side]
    return x.reshape(batch, channels, rows, side, columns, side).max((3, 5))
