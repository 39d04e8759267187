"""What initial weights are worth: scores of whole networks, from their loss or their paths.

Where a posterior is over the weights, a score is its mean over draws of them. Scores are of the
network under its mask; a pruned weight's is 0.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from bayesian_lottery.data.decoded import Images
from bayesian_lottery.inference.networks import Network, State
from bayesian_lottery.randomness import generator
from bayesian_lottery.training import pruning


def drawn(network: Network, images: Images, settings: Mapping, stream: Sequence[object]) -> State:
    """Random numbers: the control of every other scorer."""
    drawing = generator(*stream, "scoring", "random")
    return {name: torch.rand(m.shape, generator=drawing) for name, m in network.mask.items()}


def snip(network: Network, images: Images, settings: Mapping, stream: Sequence[object]) -> State:
    """|w x dL/dw|, how sensitive the loss of a batch is (Lee et al. 2019, equations 5 and 6)."""
    inputs, labels = pruning.batch_of(images, settings, stream)

    def score(draw: State, weights: State) -> list[Tensor]:
        loss = _loss(network, draw, weights, inputs, labels)
        gradients = torch.autograd.grad(loss, [*weights.values()])
        return [(w * g).abs() for w, g in zip(weights.values(), gradients, strict=True)]

    return _mean(network, stream, score)


def grasp(network: Network, images: Images, settings: Mapping, stream: Sequence[object]) -> State:
    """w x Hg, what removing w takes from the gradient's norm (Wang et al. 2020, equation 8).

    The paper writes it with a minus and removes the highest. It is signed: weights whose removal
    lets the norm grow go first. g and H are of the prunable weights.
    """
    inputs, labels = pruning.batch_of(images, settings, stream)

    def score(draw: State, weights: State) -> list[Tensor]:
        chosen = [*weights.values()]
        with sdpa_kernel(SDPBackend.MATH):  # the other kernels have no second derivative
            loss = _loss(network, draw, weights, inputs, labels)
            gradients = torch.autograd.grad(loss, chosen, create_graph=True)
            norm = sum(((g.detach() * g).sum() for g in gradients), torch.zeros(()))
            products = torch.autograd.grad(norm, chosen)
        return [w * p for w, p in zip(chosen, products, strict=True)]

    return _mean(network, stream, score)


def synflow(network: Network, images: Images, settings: Mapping, stream: Sequence[object]) -> State:
    """|w| x dR/d|w|, R the sum of outputs for an image of ones (Tanaka et al. 2020, equation 3).

    Of all paths from input to output, each the product of its |w|: biases and what else is added
    are 0, and norms take their running statistics. In float64, where deep products fit.
    """
    image = torch.ones(1, *images.image_shape, dtype=torch.float64, device=images.mean.device)

    def score(draw: State, weights: State) -> list[Tensor]:
        chosen = {n: w.detach().double().abs().requires_grad_() for n, w in weights.items()}
        positive = {name: _positive(name, tensor) for name, tensor in draw.items()} | chosen
        network.template.eval()
        flow = functional_call(network.template, positive, (image,)).sum()
        gradients = torch.autograd.grad(flow, [*chosen.values()])
        return [(w * g).abs() for w, g in zip(chosen.values(), gradients, strict=True)]

    return _mean(network, stream, score)


def _positive(name: str, tensor: Tensor) -> Tensor:
    """A parameter or buffer that turns positive inputs into positive outputs, by products alone."""
    if not tensor.is_floating_point():
        return tensor
    kept = name.endswith(("weight", "running_var"))
    return tensor.double().abs() if kept else torch.zeros_like(tensor, dtype=torch.float64)


def _loss(network: Network, draw: State, weights: State, inputs: Tensor, labels: Tensor) -> Tensor:
    """The mean cross-entropy of a batch, whose own statistics norms take."""
    network.template.train()
    return F.cross_entropy(functional_call(network.template, draw | weights, (inputs,)), labels)


def _mean(
    network: Network, stream: Sequence[object], score: Callable[[State, State], list[Tensor]]
) -> State:
    """The mean of a score over draws of the network's weights.

    Args:
        network: which keeps its state, and its mode.
        stream: what names the random stream.
        score: from a draw, and those of its weights that are prunable, with gradients, to theirs.
    """
    trains = network.template.training
    network.template.eval()
    drawing = generator(*stream, "scoring", "weights", device=network.survivors.like.device)
    draws = [network.draw(drawing) for _ in range(network.objective.samples)]
    found = []
    for draw in draws:
        weights = {name: draw[name].requires_grad_() for name in network.mask}
        found.append(score(draw, weights))
    network.template.train(trains)
    means = [torch.stack(each).mean(0).detach() for each in zip(*found, strict=True)]
    return dict(zip(network.mask, means, strict=True))
