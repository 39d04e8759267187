"""The experiments as one would write them without this project: plain loops, torch's own pruning,
torch-blue's own modules and loss. Whole runs of this project are compared with them, by outside.py
on MNIST and by tests/unit/test_outside.py on scikit-learn's digits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import prune

Data = tuple[Tensor, Tensor]  # images (N, C, H, W) float, normalised, and labels (N,)


@dataclass(frozen=True)
class Recipe:
    """Adam, whose rate falls to a tenth after so many epochs."""

    epochs: int
    rate: float
    batch: int
    milestones: Sequence[int] = ()


def perceptron(*widths: int) -> nn.Sequential:
    """Linear layers with ReLU between, in PyTorch's initial weights."""
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def fit(model: nn.Module, loss_of: Callable[[Tensor, Tensor], Tensor], data: Data, by: Recipe):
    """The plainest of loops: a new order each epoch, the last incomplete batch dropped."""
    images, labels = data
    optimizer = torch.optim.Adam(model.parameters(), lr=by.rate)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, list(by.milestones), 0.1)
    for _ in range(by.epochs):
        order = torch.randperm(len(labels))
        for batch in order[: len(order) // by.batch * by.batch].split(by.batch):
            optimizer.zero_grad()
            loss_of(images[batch], labels[batch]).backward()
            optimizer.step()
        schedule.step()


def accuracy_of(model: nn.Module, data: Data) -> float:
    with torch.no_grad():
        return (model(data[0]).argmax(1) == data[1]).float().mean().item()


def fit_plainly(model: nn.Module, training: Data, test: Data, by: Recipe) -> float:
    """Train a network by cross-entropy; its accuracy."""
    fit(model, lambda x, y: F.cross_entropy(model(x), y), training, by)
    return accuracy_of(model, test)


def pruned_iteratively(
    model: nn.Sequential, training: Data, test: Data, by: Recipe, levels: int, share: float
) -> list[float]:
    """Accuracies of global magnitude pruning with reset, level 0 to the last.

    Args:
        model: with its initial weights; its last layer is not pruned.
        share: of the weights that a level prunes.
    """
    layers = [layer for layer in model if isinstance(layer, nn.Linear)]
    initial = [(layer.weight.detach().clone(), layer.bias.detach().clone()) for layer in layers]
    found = [fit_plainly(model, training, test, by)]
    for _ in range(levels):
        pairs = [(layer, "weight") for layer in layers[:-1]]
        prune.global_unstructured(pairs, prune.L1Unstructured, amount=share)
        for layer, (weight, bias) in zip(layers, initial, strict=True):
            getattr(layer, "weight_orig", layer.weight).data.copy_(weight)
            layer.bias.data.copy_(bias)
        found.append(fit_plainly(model, training, test, by))
    return found


def pruned_at_random(
    model: nn.Sequential, training: Data, test: Data, by: Recipe, share: float
) -> float:
    """The accuracy of a network that lost `share` of its weights at random before training."""
    layers = [layer for layer in model if isinstance(layer, nn.Linear)]
    pairs = [(layer, "weight") for layer in layers[:-1]]
    prune.global_unstructured(pairs, prune.RandomUnstructured, amount=share)
    return fit_plainly(model, training, test, by)


def by_torch_blue(
    model: nn.Sequential,
    training: Data,
    test: Data,
    by: Recipe,
    samples: int,
    heat: float,
    std: float,
    draws: int,
) -> tuple[float, float]:
    """Test accuracy and NLL of a Bayesian network: torch-blue's modules, samples, loss and no more.

    Args:
        samples, heat: of the loss.
        std: of the weights, at the start; the prior's is 1.
        draws: weight samples of a prediction.
    """
    from torch_blue.vi import KullbackLeiblerLoss
    from torch_blue.vi.distributions import Categorical, MeanFieldNormal
    from torch_blue.vi.utils.convert import convert_to_vimodule

    convert_to_vimodule(
        model,
        keep_weights=True,
        variational_distribution=MeanFieldNormal(std=std),
        prior=MeanFieldNormal(std=1.0),
    )
    loss = KullbackLeiblerLoss(Categorical(), dataset_size=len(training[1]), heat=heat)
    fit(model, lambda x, y: loss(model(x, samples=samples), y), training, by)
    with torch.no_grad():
        logits = model(test[0], samples=draws).as_subclass(Tensor)
    probabilities = logits.softmax(-1).mean(0)
    nll = F.nll_loss(probabilities.log(), test[1]).item()
    return (probabilities.argmax(1) == test[1]).float().mean().item(), nll


def apart(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float]:
    """The difference of two means of independent values, and its standard error."""
    error = np.sqrt(np.var(ours, ddof=1) / len(ours) + np.var(theirs, ddof=1) / len(theirs))
    return float(np.mean(ours) - np.mean(theirs)), float(error)
