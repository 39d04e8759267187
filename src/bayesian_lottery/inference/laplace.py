"""Laplace approximations: a normal posterior around the weights of an ordinary training.

Daxberger et al. 2021, Laplace Redux (NeurIPS): the covariance is the inverse of H + d I, with H the
curvature of the negative log-likelihood of all training images, as they are (see `curvature`), and
d the prior's precision. Of H either the diagonal is kept, of all survivors, or all of the block of
the classifier, whose other weights stay fixed. Where the precision is not given, it maximises the
marginal likelihood, which with the eigenvalues h_i of H and the trained weights w is, up to a
constant,

    sum_i log d / 2 - log(h_i + d) / 2  -  d |w|^2 / 2.

Predictions average draws of weights, not a linearised network's.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from bayesian_lottery.inference import curvature
from bayesian_lottery.inference.deterministic import DeterministicNetwork
from bayesian_lottery.inference.draws import OWN
from bayesian_lottery.inference.kinds import check_classifier
from bayesian_lottery.inference.networks import Batches, Training, Weights, prunable_of
from bayesian_lottery.inference.survivors import State
from bayesian_lottery.models import classifier_of
from bayesian_lottery.tickets.masks import Mask

PRECISIONS = (1e-6, 1e12)  # between which the marginal likelihood chooses


class LaplaceNetwork(DeterministicNetwork, ABC):
    """An ordinary network, and from its last step on a posterior around its weights.

    Its saved state is the plain model's, and what the posterior adds. Until that is fitted, its
    predictions are those of the weights.

    Attributes:
        spread: what makes deviations from the weights of standard normal noise; see `deviations`.
        fitted: 1 when the posterior predicts, else 0; a tensor, as checkpoints want it.
        precision: the prior's.
    """

    spread: Tensor

    def __init__(self, template: nn.Module, options: Mapping):
        super().__init__(template)
        self.curvature, self.given = options["curvature"], options.get("prior_precision")
        self.fitted, self.precision = self.weight.new_zeros(()), self.weight.new_zeros(())
        self.parts: Sequence[LaplaceNetwork] = [self]

    @classmethod
    def together(cls, networks):
        pack = super().together(networks)
        pack.parts = list(networks)
        return pack

    @abstractmethod
    def fit(self, batches: Batches) -> None:
        """Set `spread` and `precision` from batches of all training images."""

    @abstractmethod
    def deviations(self, noise: Tensor) -> Tensor:
        """(S, n) from standard normal noise (S, columns of `spread`)."""

    def load(self, state: Mapping[str, Tensor], mask: Mask) -> None:
        super().load(state, mask)
        for name in ("fitted", "precision"):
            getattr(self, name).data.copy_(state[OWN + name])

    def state(self) -> State:
        own = {"fitted": self.fitted, "precision": self.precision}
        return super().state() | {OWN + name: tensor.clone() for name, tensor in own.items()}

    def tensors(self) -> State:
        own = {
            f"{OWN}{index}.{name}": getattr(part, name)
            for index, part in enumerate(self.parts)
            for name in ("spread", "fitted", "precision")
        }
        return super().tensors() | own

    def optimizer(self, training: Training) -> torch.optim.Optimizer:
        for part in self.parts:  # the weights that it starts from may have had another posterior
            part.fitted.zero_()
        return super().optimizer(training)

    @torch.no_grad()
    def finish(self, batches: Batches) -> None:
        self.template.eval()
        self.fit(batches)
        self.fitted.fill_(1)
        self.template.train()

    def sampling(self) -> dict[str, float | None]:
        fitted = bool(self.fitted)
        return {"fitted": int(fitted), "prior_precision": self.precision.item() if fitted else None}

    def noise(self, samples: int, *generators: torch.Generator) -> Tensor:
        if not self._draws():
            return super().noise(samples, *generators)
        like, (generator,) = self.spread, generators
        size = (samples, like.shape[-1])
        return torch.randn(size, generator=generator, device=like.device, dtype=like.dtype)

    def logits(self, images: Tensor, weights: Weights, noise: Tensor) -> Tensor:
        if not self._draws():
            return super().logits(images, weights, noise)
        return self.survivors.logits(images, weights[0] + self.deviations(noise))

    def _draws(self) -> bool:
        # In training none does; then nothing waits for the device, which may be recording a step.
        return not self.template.training and bool(self.fitted)

    def draw(self, generator: torch.Generator) -> State:
        row = self.weight.detach()
        if self.fitted:
            noise = torch.randn(1, self.spread.shape[-1], generator=generator, device=row.device)
            row = row + self.deviations(noise.to(row))[0]
        others = {name: tensor.detach().clone() for name, tensor in self.survivors.others.items()}
        return others | self.survivors.named(row)

    def moments(self) -> dict[str, State]:
        return {"mean": prunable_of(self.survivors, self.weight.detach())}

    def _precision(self, eigenvalues: Tensor, weights: Tensor) -> float:
        """Note and give the prior's precision."""
        chosen = self.given or evidence_precision(eigenvalues.cpu().numpy(), weights.norm().item())
        self.precision.fill_(chosen)
        return chosen


class DiagonalLaplace(LaplaceNetwork):
    """Every survivor has a variance of its own; `spread` (n,) is its root."""

    def __init__(self, template: nn.Module, options: Mapping):
        super().__init__(template, options)
        self.spread = torch.zeros_like(self.weight).detach()

    def load(self, state: Mapping[str, Tensor], mask: Mask) -> None:
        super().load(state, mask)
        named = {name: state[f"{OWN}std.{name}"] for name in self.survivors.shapes}
        self.spread.data = self.survivors.collect(named)

    def state(self) -> State:
        std = self.survivors.named(self.spread)
        return super().state() | {f"{OWN}std.{name}": each for name, each in std.items()}

    def fit(self, batches: Batches) -> None:
        with torch.enable_grad():
            found = curvature.diagonal(self.survivors, self.weight, batches, self.curvature)
        precision = self._precision(found, self.weight.double())
        self.spread.copy_((found + precision).rsqrt())

    def deviations(self, noise: Tensor) -> Tensor:
        return self.spread * noise

    def moments(self) -> dict[str, State]:
        return super().moments() | {"std": prunable_of(self.survivors, self.spread)}


class LastLayerLaplace(LaplaceNetwork):
    """The classifier's weights and biases have a full covariance; all others stay fixed.

    `spread` (P, P) is a root of it, of all P of them, with rows of zeros where pruned.
    """

    def __init__(self, template: nn.Module, options: Mapping):
        super().__init__(template, options)
        name = classifier_of(template)
        sizes = {each: shape.numel() for each, shape in self.survivors.shapes.items()}
        own = [each for each in sizes if each.rpartition(".")[0] == name]
        count = sum(sizes[each] for each in own)
        check_classifier("laplace.hessian", count)
        start = sum(list(sizes.values())[: list(sizes).index(own[0])])
        self._entries = slice(start, start + count)  # of all variables' entries, its own
        self.spread = self.weight.detach().new_zeros(count, count)

    def load(self, state: Mapping[str, Tensor], mask: Mask) -> None:
        super().load(state, mask)
        self.spread.copy_(state[f"{OWN}root"])

    def state(self) -> State:
        return super().state() | {f"{OWN}root": self.spread.clone()}

    def _columns(self) -> Tensor:
        """(P,) the column of each of the classifier's entries in a row, n where it is pruned."""
        return self.survivors.columns[self._entries]

    def fit(self, batches: Batches) -> None:
        columns, row = self._columns(), self.weight
        kept = columns < len(self.survivors)
        found = curvature.last_layer(self.survivors, row, batches, self.curvature)
        eigenvalues, vectors = torch.linalg.eigh(found[kept][:, kept])
        eigenvalues = eigenvalues.clamp_min(0)  # rounding may leave less
        precision = self._precision(eigenvalues, row[columns[kept]].double())
        root = vectors * (eigenvalues + precision).rsqrt()
        whole = found.new_zeros(len(found), len(root))
        whole[kept] = root
        self.spread.copy_(F.pad(whole, (0, len(found) - len(root))))

    def deviations(self, noise: Tensor) -> Tensor:
        rows = noise.new_zeros(len(noise), len(self.survivors) + 1)  # the last is of what is pruned
        return rows.index_copy(1, self._columns(), noise @ self.spread.T)[:, :-1]


HESSIANS: Mapping[str, Callable[[nn.Module, Mapping], LaplaceNetwork]] = {
    "diagonal": DiagonalLaplace,
    "last_layer": LastLayerLaplace,
}


def build(template: nn.Module, options: Mapping) -> LaplaceNetwork:
    """From the options of `kinds.Laplace`.

    Raises:
        InputError: the classifier is too large for a full covariance.
    """
    return HESSIANS[options["hessian"]](template, options)


def evidence_precision(eigenvalues: np.ndarray, norm: float) -> float:
    """The prior's precision that maximises the marginal likelihood, within `PRECISIONS`.

    Args:
        eigenvalues: those of the curvature, at least 0.
        norm: of the trained weights whose prior it is.
    """

    def loss(log_precision: float) -> float:
        precision = np.exp(log_precision)
        logs = np.log(eigenvalues + precision) - log_precision
        return float(logs.sum() + precision * norm**2) / 2

    bounds = tuple(np.log(PRECISIONS))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))
