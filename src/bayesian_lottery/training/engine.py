"""The arithmetic of a training step: weight samples pass by pass, precision, memory.

A step's S weight samples need not go through the network at once. However many go in a pass, the
loss, its gradients and the running statistics are the same up to rounding; time and memory are not
(docs/performance.md has the measurements).
"""

import contextlib
import copy
import ctypes
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bayesian_lottery.errors import choice
from bayesian_lottery.inference.networks import Network, Weights
from bayesian_lottery.models.layers import BatchNorm2d, Conv2d, Linear
from bayesian_lottery.training import devices

PRECISIONS = ("auto", "float32", "bfloat16")
# Multiply-adds of a pass by one sample, below which a CPU is busier with calls than arithmetic.
SMALL_PASS = 1e8


@dataclass(frozen=True)
class Plan:
    """The configuration's `compute` section: how a step is computed.

    Attributes:
        samples_per_pass: how many weight samples go through the network at once; None decides by
            the device and the size of the network.
        samples_held: with the likelihood "categorical", of how many weight samples to hold the
            activations until the backward pass; those of the others are computed twice. None: of
            all. The likelihood "elbo" goes backward pass by pass and holds one pass's.
        precision: "bfloat16" computes activations in bfloat16, while parameters, weight samples,
            losses and the optimiser stay in float32; "auto" does so on GPUs that have it.
        capture: on a GPU, record the whole step as a CUDA graph and replay it (see `steps`).
            Elsewhere without effect.
        deterministic: let torch use only algorithms that give the same numbers again; for the whole
            process, see `devices.set_algorithms`.
    """

    samples_per_pass: int | None = None
    samples_held: int | None = None
    precision: str = "auto"
    capture: bool = False
    deterministic: bool = True

    def __post_init__(self):
        if self.precision not in PRECISIONS:
            raise choice("compute.precision", self.precision, PRECISIONS)


class Engine:
    """Computes steps and predictions of one network.

    Args:
        network: on its device.
        image_shape: (C, H, W).
        plan: how.
        likelihoods: from logits, labels, and what else a step is given, to each sample's
            log-likelihood (S, B); None is `log_likelihoods`.
    """

    def __init__(
        self,
        network: Network,
        image_shape: tuple[int, int, int],
        plan: Plan,
        likelihoods: Callable[..., Tensor] | None = None,
    ):
        self.network = network
        self.likelihoods = likelihoods or log_likelihoods
        self.plan = plan
        template = network.template
        self.device = next(iter(network.tensors().values())).device
        self.norms = [m for m in template.modules() if isinstance(m, BatchNorm2d)]
        self.multiply_adds = multiply_adds(template, image_shape)
        self.reduced = devices.precision(plan.precision, self.device) == "bfloat16"

    def gradients(
        self,
        images: Tensor,
        labels: Tensor,
        noise: Tensor,
        likelihood: str,
        heat: float | Tensor,
        *beside: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Add the gradients of one step's loss, data term + `heat` x KL, to the parameters' `grad`.

        For a pack of K networks these are the gradients of every network's own loss, and B counts
        the images of all of them.

        Args:
            images: (B, C, H, W) float.
            labels: (B,) int64.
            noise: as `Network.noise` gives it; its S rows make the weight samples.
            likelihood: see `data_term`.
            heat: the factor on the KL term, or its parts' factors, as `Network.factors` has them.
            beside: what `likelihoods` takes besides the labels, (B, ...) each.

        Returns:
            Logits (S, B, classes), each network's data term (K,), and its KL as
            `Network.divergence` has it, without graphs.
        """
        weights = self.network.weights()
        divergence = self.network.divergence(weights)
        batch = len(images) // self.network.members
        # Passes end in leaves: there their gradients meet before they go on to the parameters.
        # Weights that are parameters are such leaves themselves.
        leaves = tuple(w if w.is_leaf else w.detach().requires_grad_() for w in weights)
        parts = self._parts(len(images), len(noise))

        # The data term's gradient is that of a weighted sum of the samples' log-likelihoods, so
        # each pass can go backward on its own. The elbo's weights are equal; those of the
        # categorical likelihood take the logits of all samples first.
        shares = images.new_full((len(noise), len(images)), 1 / len(noise))
        first: list[Tensor] = []
        if likelihood == "categorical" and len(noise) > 1:
            held = max(self.plan.samples_held or len(noise), parts[0][1])
            for start, stop in parts:
                with torch.set_grad_enabled(stop <= held):
                    first.append(self._forward(images, leaves, noise, start, stop))
            shares = self.likelihoods(torch.cat(first).detach(), labels, *beside).softmax(0)
        computed, terms = [], []
        for index, (start, stop) in enumerate(parts):
            if first and first[index].requires_grad:
                logits = first[index]
            else:
                logits = self._forward(images, leaves, noise, start, stop, repeated=bool(first))
            chosen = self.likelihoods(logits, labels, *beside)
            (-(chosen * shares[start:stop]).sum() / batch).backward()
            computed.append(logits.detach())
            terms.append(chosen.detach())

        pairs = zip(weights, leaves, strict=True)
        met = [(w, leaf.grad) for w, leaf in pairs if leaf is not w and leaf.grad is not None]
        if divergence.requires_grad:
            met.append((divergence, torch.ones_like(divergence) * heat))
        if met:
            tensors, gradients = zip(*met, strict=True)
            torch.autograd.backward(tensors, gradients)
        nll = data_term(torch.cat(terms).unflatten(1, (-1, batch)), likelihood)
        return torch.cat(computed), nll, divergence.detach()

    @torch.inference_mode()
    def logits(self, images: Tensor, noise: Tensor) -> Tensor:
        """Logits (S, B, classes) of images (B, C, H, W), without a graph."""
        weights = self.network.weights()
        parts = self._parts(len(images), len(noise))
        return torch.cat([self._forward(images, weights, noise, *part) for part in parts])

    def samples_per_pass(self, batch: int, samples: int) -> int:
        """How many of `samples` weight samples to compute at once for `batch` images.

        A rule and not a measurement, so that a resumed run does as it did before.
        """
        if self.plan.samples_per_pass is not None:
            return self.plan.samples_per_pass
        loop = self.device.type == "cpu" and batch * self.multiply_adds > SMALL_PASS
        return 1 if loop else samples

    def _parts(self, batch: int, samples: int) -> list[tuple[int, int]]:
        """The passes: (first, last + 1) of the samples that each computes."""
        size = self.samples_per_pass(batch, samples)
        return [(start, min(start + size, samples)) for start in range(0, samples, size)]

    def _forward(
        self,
        images: Tensor,
        weights: Weights,
        noise: Tensor,
        start: int,
        stop: int,
        repeated: bool = False,
    ) -> Tensor:
        """The logits of samples `start` to `stop`; `repeated`: norms have counted them already."""
        for norm in self.norms:
            norm.turn = None if repeated else (start, stop, len(noise))
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.reduced):
            logits = self.network.logits(images, weights, noise[start:stop])
        return logits if logits.dtype == torch.float64 else logits.float()


def log_likelihoods(logits: Tensor, labels: Tensor) -> Tensor:
    """Log probabilities (S, B) of the labels (B,), from logits (S, B, classes)."""
    # Not by gather, of whose backward pass GPUs have no deterministic algorithm.
    losses = F.cross_entropy(logits.flatten(0, 1), labels.repeat(len(logits)), reduction="none")
    return -losses.unflatten(0, (len(logits), -1))


def data_term(chosen: Tensor, likelihood: str) -> Tensor:
    """The mean negative log-likelihood over a batch, in nats, (...).

    Args:
        chosen: (S, ..., B) each sample's log probability of the labels.
        likelihood: "categorical", -log of the samples' mean probability, as torch-blue's
            `Categorical`; "elbo", the samples' mean of -log probability. Equal for S = 1.
    """
    if likelihood == "elbo":
        return -chosen.mean((0, -1))
    return math.log(len(chosen)) - chosen.logsumexp(0).mean(-1)


def multiply_adds(template: nn.Module, image_shape: tuple[int, int, int]) -> int:
    """Multiply-adds of one image's way through the convolutions and linear layers."""
    model, counts = copy.deepcopy(template).to("meta").eval(), []

    def count(layer: Conv2d | Linear, _, output: Tensor) -> None:
        counts.append(output.numel() * layer.weight[0].numel())

    for layer in model.modules():
        if isinstance(layer, (Conv2d, Linear)):
            layer.register_forward_hook(count)
    model(torch.empty(1, *image_shape, device="meta", dtype=next(model.parameters()).dtype))
    return sum(counts)


def keep_freed_memory() -> None:
    """Let this process keep freed memory for its next tensors; glibc only, elsewhere nothing.

    glibc gives every large block back and asks for it anew, and the system then clears its pages:
    on CPUs a third of a training step.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-4, 0)  # M_MMAP_MAX: no block of its own for any size
        mallopt(-1, -1)  # M_TRIM_THRESHOLD: never shrink the heap
