"""Layers that compute one network or S weight samples of it, by the same code.

Samples ride in the channel (or feature) dimension, sample-major: the activations of S samples are
(B, S·C, H, W), (B, T, S·D) or (B, S·F). A call by `torch.func.functional_call` may give the
weights and biases of convolutions and linear layers for S samples, stacked in dimension 0:
(S·O, I, kh, kw), (S·O, I), (S·O,). The image (B, C, H, W) is shared by all samples, so that the
first layer needs no copies of it. Norms and tokens have one set of parameters for all samples. With
the plain weights, S = 1, every layer is PyTorch's.

Between the products of a transformer samples are `apart` instead, in a dimension of their own:
(S, B, T, D). There each sample's product takes a contiguous input and leaves a contiguous output.

K networks side by side (see `packs`) are the same with K·C, K·D, K·F and K·O for C, D, F and O in
shapes of activations and parameters, norms' and tokens' too, and images (B, S·K·C, H, W).

S is read off shapes, never off values, so that the layers compile and can be captured in CUDA
graphs; no layer changes an activation in place, so that torch-blue can vmap over them.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MANY = 1e7  # multiply-adds of a linear layer, from which on a convolution is faster on CPUs


def unfold_samples(logits: Tensor, classes: int) -> Tensor:
    """View logits (B, S·classes) as (S, B, classes)."""
    return logits.unflatten(1, (-1, classes)).transpose(0, 1)


# torch-blue converts by class name: Conv2d and Linear become its VIConv2d and VILinear.
class Conv2d(nn.Conv2d):
    """Convolution of (B, C, H, W), shared by the samples, or (B, S·C, H, W) to (B, S·O, H', W')."""

    def forward(self, x: Tensor) -> Tensor:
        # One group when the input is shared, for any S; else each sample is a group of its own.
        groups = x.shape[1] // self.in_channels
        if self.groups > 1:  # a grouped convolution's groups are apart in each sample
            if groups == 1:
                groups = len(self.weight) // self.out_channels
                x = x.repeat(1, groups, 1, 1)
            groups *= self.groups
        return self.convolve(x, self.weight, self.bias, groups)

    def convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> Tensor:
        """The convolution of this stride, padding and dilation by any weights."""
        padding: str | int | tuple[int, ...] = self.padding
        if self.padding_mode != "zeros":
            x = F.pad(x, self._reversed_padding_repeated_twice, self.padding_mode)
            padding = 0
        return F.conv2d(x, weight, bias, self.stride, padding, self.dilation, groups)


class Linear(nn.Linear):
    """Linear map of (..., I), shared by the samples, or (..., S·I) to (..., S·O).

    Attributes:
        apart: whether it is one of (S, ..., I) to (S, ..., O) instead.
    """

    apart = False

    def forward(self, x: Tensor) -> Tensor:
        return (linear_apart if self.apart else linear)(x, self.weight, self.bias)


def linear_apart(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """What a `Linear` computes of samples apart, with weights (S·O, I) and biases (S·O,)."""
    if len(x) == 1:
        return _affine(x.flatten(0, 1), weight, bias).unflatten(0, (1, -1))
    return _products(x.flatten(1, -2), weight, bias).view(*x.shape[:-1], -1)


def _products(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(S, N, O) of inputs (S, N, I), weights (S·O, I) and biases (S·O,)."""
    weights = weight.unflatten(0, (len(inputs), -1)).transpose(1, 2)
    if bias is None:
        return torch.bmm(inputs, weights)
    return torch.baddbmm(bias.view(len(inputs), 1, -1), inputs, weights)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """What a `Linear` computes with weights (S·O, I) and biases (S·O,)."""
    features = weight.shape[1]
    if x.shape[-1] == features:
        return _affine(x, weight, bias)
    samples = x.shape[-1] // features
    # (S, N, I): a strided view where x is contiguous, since bmm takes any leading strides.
    inputs = x.reshape(-1, samples, features).transpose(0, 1)
    outputs = _products(inputs, weight, bias)
    return outputs.transpose(0, 1).reshape(*x.shape[:-1], -1)


def _affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`F.linear`; of many tokens (B, T, I) on a CPU as a 1x1 convolution, by oneDNN and not MKL.

    On AMD's processors MKL takes twice the time (docs/performance.md).
    """
    many = x.dim() == 3 and x.numel() * len(weight) > MANY
    single = x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    if not (many and single and x.device.type == "cpu"):
        return F.linear(x, weight, bias)
    pixels = x.unsqueeze(1).permute(0, 3, 1, 2)  # (B, I, 1, T), channels-last: no copy
    return F.conv2d(pixels, weight[:, :, None, None], bias).permute(0, 2, 3, 1).squeeze(1)


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm of (B, S·C, H, W) with the statistics of each sample apart.

    In training each sample is normalised by its own batch mean and variance, and the running
    statistics move once, towards the means over samples of those. In evaluation all samples use
    the running statistics; without any (`running_mean` None), those of the batch.

    Attributes:
        turn: (first, last + 1, all): which of a step's samples the next pass computes, when they
            come in several passes. Together these move the running statistics as a single pass of
            all samples would. None: the next pass repeats an earlier one and moves nothing.
    """

    turn: tuple[int, int, int] | None = (0, 1, 1)
    momentum: float  # where torch would also take None, for an average of all batches
    num_batches_tracked: Tensor  # None only where there are no running statistics

    def forward(self, x: Tensor) -> Tensor:
        momentum = self._momentum()
        samples = x.shape[1] // self.weight.numel()
        mean, variance, weight, bias = (
            tensor if tensor is None or samples == 1 else tensor.repeat(samples)
            for tensor in (self.running_mean, self.running_var, self.weight, self.bias)
        )
        by_batch = self.training or mean is None
        if samples == 1 or not by_batch or mean is None or variance is None:
            return F.batch_norm(x, mean, variance, weight, bias, by_batch, momentum, self.eps)
        # With momentum 1 the copies become the batch's own mean and unbiased variance.
        output = F.batch_norm(x, mean, variance, weight, bias, True, 1.0, self.eps)
        for running, own in ((self.running_mean, mean), (self.running_var, variance)):
            if running is not None:
                running.lerp_(own.view(samples, -1).mean(0), momentum)
        return output

    @property
    def moves(self) -> bool:
        """Whether a pass moves the running statistics."""
        return self.training and self.running_mean is not None and self.turn is not None

    def _momentum(self) -> float:
        """How far the next pass moves the running statistics; counts the step's first one."""
        if not self.moves or self.turn is None:
            return 0.0
        start, stop, total = self.turn
        if start == 0:
            self.num_batches_tracked.add_(1)
        # Later passes shrink what this one adds, so that every sample ends up with an equal share.
        return self.momentum * (stop - start) / (total - self.momentum * (total - stop))


class BatchNormAct2d(BatchNorm2d):
    """timm's: batch norm, then its `drop` and `act`."""

    drop: nn.Module
    act: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.drop(super().forward(x)))


class LayerNorm(nn.LayerNorm):
    """Layer norm of (..., S·D), over the D features of each sample apart.

    Attributes:
        apart: whether it is one of (S, ..., D) instead.
    """

    apart = False

    def forward(self, x: Tensor) -> Tensor:
        if self.apart:
            return self._apart(x)
        apart = x.unflatten(-1, (-1, *self.normalized_shape))
        if self.weight.shape == self.normalized_shape:
            return super().forward(apart).flatten(-2)
        samples = x.shape[-1] // self.weight.numel()
        apart = F.layer_norm(apart, self.normalized_shape, eps=self.eps).flatten(-2)
        return torch.addcmul(self.bias.repeat(samples), apart, self.weight.repeat(samples))

    def _apart(self, x: Tensor) -> Tensor:
        if self.weight.shape == self.normalized_shape:
            return super().forward(x)
        normal = F.layer_norm(x, self.normalized_shape, eps=self.eps)
        ones = [1] * (x.dim() - 2)
        weight, bias = (p.view(-1, *ones, x.shape[-1]) for p in (self.weight, self.bias))
        times = len(x) // len(weight), *ones, 1
        return torch.addcmul(bias.repeat(times), normal, weight.repeat(times))


class Tokens(nn.Module):
    """Prepend the class token to (S, B, N, D) and add position embeddings: (S, B, N + 1, D)."""

    def __init__(self, patches: int, dim: int):
        super().__init__()
        self.dim = dim
        self.class_token = nn.Parameter(torch.empty(1, 1, dim))
        self.positions = nn.Parameter(torch.empty(1, patches + 1, dim))
        nn.init.trunc_normal_(self.class_token, std=0.02)
        nn.init.trunc_normal_(self.positions, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        own = (self.class_token, self.positions)
        first, positions = (each.unflatten(-1, (-1, self.dim)).movedim(-2, 0) for each in own)
        if len(first) > 1:  # (K, 1, T, D) of K networks
            first, positions = (e.repeat(len(x) // len(e), 1, 1, 1) for e in (first, positions))
        return torch.cat([first.expand(len(x), x.shape[1], -1, -1), x], dim=2) + positions


class Attention(nn.Module):
    """Multi-head self-attention of (S, B, T, D), samples apart; D = heads · d."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.head_dim = dim // heads
        self.qkv = Linear(dim, 3 * dim)
        self.projection = Linear(dim, dim)
        self.qkv.apart = self.projection.apart = True

    def forward(self, x: Tensor) -> Tensor:
        # The rows of qkv are (heads, 3, d), not the usual (3, heads, d).
        qkv = self.qkv(x).flatten(0, 1).unflatten(-1, (-1, 3, self.head_dim))
        query, key, value = (part.transpose(1, 2) for part in qkv.unbind(-2))
        attended = F.scaled_dot_product_attention(query, key, value)
        return self.projection(attended.transpose(1, 2).flatten(2).unflatten(0, x.shape[:2]))


class SelfAttention(nn.Module):
    """`nn.MultiheadAttention` of tokens to themselves, without masks; samples as in `Attention`.

    Its projections are linear layers, so that they can be pruned and can carry samples.

    Args:
        plain: what it computes the same as, and takes the parameters of.
    """

    def __init__(self, plain: nn.MultiheadAttention):
        super().__init__()
        self.heads, self.head_dim = plain.num_heads, plain.head_dim
        self.batch_first = plain.batch_first
        biased = plain.in_proj_bias is not None
        with torch.device("meta"):
            self.in_proj = Linear(plain.embed_dim, 3 * plain.embed_dim, bias=biased)
            self.out_proj = Linear(plain.embed_dim, plain.embed_dim, bias=biased)
        self.in_proj.weight, self.in_proj.bias = plain.in_proj_weight, plain.in_proj_bias
        self.out_proj.weight, self.out_proj.bias = plain.out_proj.weight, plain.out_proj.bias

    # What makes `nn.TransformerEncoderLayer` call this module, and not compute around it.
    _qkv_same_embed_dim = False
    in_proj_bias = None

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, *masks: object, **options: object
    ) -> tuple[Tensor, None]:
        """The attended tokens, and None for the attention's own weights.

        Raises:
            ValueError: keys or values are not the queries, or there is a mask.
        """
        masked = any(options.get(name) is not None for name in ("attn_mask", "key_padding_mask"))
        if query is not key or query is not value or any(masks) or masked:
            raise ValueError("attention is to a layer's own input only, without a mask")
        x = query if self.batch_first else query.transpose(0, 1)
        qkv = self.in_proj(x).unflatten(-1, (-1, 3, self.heads, self.head_dim))
        heads = (part.flatten(2, 3).transpose(1, 2) for part in qkv.unbind(-3))
        attended = F.scaled_dot_product_attention(*heads)
        output = self.out_proj(attended.transpose(1, 2).flatten(2))
        return (output if self.batch_first else output.transpose(0, 1)), None


@contextlib.contextmanager
def forward_replaced(
    model: nn.Module, forwards: Mapping[str, Callable[[nn.Module, Tensor], Tensor]]
) -> Iterator[None]:
    """Let functions of layer and input compute the layers of `model` that they are named for."""
    layers = {name: model.get_submodule(name) for name in forwards}
    try:
        for name, layer in layers.items():
            layer.forward = partial(forwards[name], layer)
        yield
    finally:
        for layer in layers.values():
            vars(layer).pop("forward", None)
