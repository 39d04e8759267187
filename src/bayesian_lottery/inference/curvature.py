"""Curvature of the data's negative log-likelihood, summed over images, at a network's weights.

The generalised Gauss-Newton matrix is J' (diag(p) - p p') J for logits with Jacobian J and class
probabilities p. It is the Fisher information, too: the sum over classes c of p_c g_c g_c' with g_c
the gradient of log p_c. The empirical Fisher has the gradient at the label alone. Norms take their
running statistics and do not move.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bayesian_lottery.inference.networks import Batches
from bayesian_lottery.inference.survivors import State, Survivors
from bayesian_lottery.meter import Meter
from bayesian_lottery.models import classifier_of
from bayesian_lottery.models.layers import Conv2d, Linear

ENTRIES = 2**25  # of per-image gradients of a layer that are held at once

Layer = Conv2d | Linear
Calls = dict[str, list[tuple[Tensor, Tensor]]]  # of each layer the input and output of its calls


def diagonal(survivors: Survivors, row: Tensor, batches: Batches, curvature: str) -> Tensor:
    """The diagonal for the weights `row` (n,) of the survivors: (n,) float64.

    Args:
        survivors: their template in evaluation mode.
        row: the weights.
        batches: all images.
        curvature: "ggn" or "fisher", of the labels.
    """
    total = row.new_zeros(len(survivors), dtype=torch.float64)
    row = row.detach().requires_grad_()
    for inputs, labels in _shown(batches):
        with _calls(survivors.template) as calls:
            log_p = survivors.logits(inputs, row[None])[0].log_softmax(-1)
        if curvature == "fisher":
            scores = log_p.gather(1, labels[:, None]).T
        else:  # the squares of a gradient of sqrt(p_c) log p_c, p_c held, have the weight p_c
            scores = (log_p.detach().exp().sqrt() * log_p).T
        squares = {name: log_p.new_zeros(shape) for name, shape in survivors.shapes.items()}
        for score in scores:
            _add_squares(squares, survivors.template, calls, score.sum())
        total += survivors.collect(squares).double()
    return total


def last_layer(survivors: Survivors, row: Tensor, batches: Batches, curvature: str) -> Tensor:
    """The matrix of the classifier's weights and biases, (P, P) float64.

    They are all of them, pruned or not: weights (K, H), then biases (K,). With the classifier's
    input f, and 1 for a bias, the block of classes k and l is the sum over images of c f f', where
    c is p_k (1[k = l] - p_l), or with the empirical Fisher (p_k - 1[k = y]) (p_l - 1[l = y]).

    Args:
        survivors, row, batches, curvature: as `diagonal` takes them.
    """
    name = classifier_of(survivors.template)
    biased = f"{name}.bias" in survivors.shapes
    classes, features = survivors.shapes[f"{name}.weight"]
    total = row.new_zeros(classes, classes, features + biased, features + biased).double()
    with torch.no_grad():
        for inputs, labels in _shown(batches):
            with _calls(survivors.template) as calls:
                p = survivors.logits(inputs, row[None])[0].softmax(-1)
            ((given, _),) = calls[name]
            error = p - F.one_hot(labels, classes)
            given = F.pad(given, (0, int(biased)), value=1.0)
            for k in range(classes):
                for other in range(k, classes):
                    weight = p[:, k] * (float(k == other) - p[:, other])
                    if curvature == "fisher":
                        weight = error[:, k] * error[:, other]
                    total[k, other] += ((given * weight[:, None]).T @ given).double()
    upper = torch.arange(classes)[:, None] < torch.arange(classes)
    total.transpose(0, 1)[upper] = total[upper]  # the blocks are symmetric
    whole = total.permute(0, 2, 1, 3)  # (K, H + 1, K, H + 1)
    places = torch.arange(classes * (features + biased)).view(classes, features + biased)
    order = torch.cat([places[:, :features].flatten(), places[:, features:].flatten()])
    return whole.reshape(len(order), len(order))[order][:, order]


def _shown(batches: Batches) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches, while the log says how far they are."""
    meter = Meter("batch", sum(1 for _ in batches()))
    for number, batch in enumerate(batches(), 1):
        yield batch
        meter.show(number)
    meter.close()


@contextmanager
def _calls(template: nn.Module) -> Iterator[Calls]:
    """The layers' calls within the block, by the layers' names."""
    calls: Calls = {}
    hooks = [
        layer.register_forward_hook(
            lambda _, given, output, name=name: calls.setdefault(name, []).append((*given, output))
        )
        for name, layer in template.named_modules()
        if isinstance(layer, (Conv2d, Linear))
    ]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def _add_squares(squares: State, template: nn.Module, calls: Calls, score: Tensor) -> None:
    """Add the squares of each image's gradient of `score`, a sum over images, by variable."""
    outputs = [output for each in calls.values() for _, output in each]
    gradients = iter(torch.autograd.grad(score, outputs, retain_graph=True))
    for name, each in calls.items():
        layer = template.get_submodule(name)
        assert isinstance(layer, (Conv2d, Linear))
        seen = [(given.detach(), next(gradients)) for given, _ in each]
        if isinstance(layer, Linear) and layer.apart:  # (1, B, T, I): there is one sample
            seen = [(given[0], gradient[0]) for given, gradient in seen]
        own = _squares(layer, seen)
        for variable, sums in zip(("weight", "bias"), own, strict=True):
            if f"{name}.{variable}" in squares:
                squares[f"{name}.{variable}"] += sums


def _squares(layer: Layer, calls: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """The sums over images of the squared gradients of a layer's weight and bias.

    Args:
        layer: a `Conv2d` or `Linear`.
        calls: of each the input and the gradient of the output, (B, ...).
    """
    given, gradient = calls[0]
    if isinstance(layer, Linear) and len(calls) == 1 and given.dim() == 2:
        # The squares of an outer product are the outer product of squares.
        return gradient.square().T @ given.square(), gradient.square().sum(0)
    size = max(1, ENTRIES // layer.weight.numel())
    parts = zip(*(zip(*(t.split(size) for t in call), strict=True) for call in calls), strict=True)
    weight = bias = gradient.new_zeros(())
    for part in parts:
        each = [_by_image(layer, *call) for call in part]
        weight = weight + torch.stack([one for one, _ in each]).sum(0).square().sum(0)
        bias = bias + torch.stack([one for _, one in each]).sum(0).square().sum(0)
    return weight, bias


def _by_image(layer: Layer, given: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients (B, ...) of a layer's weight and bias, image by image."""
    if isinstance(layer, Linear):
        gradient, given = gradient.flatten(1, -2), given.flatten(1, -2)
        return torch.einsum("bto,bti->boi", gradient, given), gradient.sum(1)
    any_weight = given.new_zeros(layer.weight.shape)  # the output is linear in it

    def one(image: Tensor, own: Tensor) -> Tensor:
        def convolve(weight: Tensor) -> Tensor:
            return layer.convolve(image[None], weight, None, layer.groups)

        back = torch.func.vjp(convolve, any_weight)[1]
        return back(own[None])[0]

    return torch.func.vmap(one)(given, gradient), gradient.sum((2, 3))
