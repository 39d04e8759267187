"""Accuracy, calibration and uncertainty of predictive distributions.

All functions take whole data sets at once: a few kernels, one synchronisation.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bayesian_lottery.study.node_metrics import RANKING

METRICS = ("accuracy", "nll", "brier", "ece", "mace", "entropy", "mutual_information")


@dataclass(frozen=True)
class Predictions:
    """The predictive distribution of N images over K classes, the mean of the samples' softmax.

    log_probabilities: (N, K) log of the mean over samples.
    expected_entropy: (N,) mean over samples of the samples' entropies, in nats.
    """

    log_probabilities: Tensor
    expected_entropy: Tensor

    @classmethod
    def of(cls, logits: Tensor) -> "Predictions":
        """From logits (S, N, K)."""
        log_probabilities = logits.float().log_softmax(-1)
        return cls(
            log_probabilities.logsumexp(0) - math.log(len(logits)),
            entropy_of(log_probabilities).mean(0),
        )

    def entropy(self) -> Tensor:
        """(N,) entropy of each image's predictive distribution, in nats."""
        return entropy_of(self.log_probabilities)

    def mutual_information(self) -> Tensor:
        """(N,) mutual information of label and weights, in nats; Jensen makes it at least 0."""
        return (self.entropy() - self.expected_entropy).clamp_min(0)

    @classmethod
    def concatenate(cls, parts: list["Predictions"]) -> "Predictions":
        """Those of all images, from batches' in their order."""
        return cls(
            torch.cat([part.log_probabilities for part in parts]),
            torch.cat([part.expected_entropy for part in parts]),
        )


def entropy_of(log_probabilities: Tensor) -> Tensor:
    """Entropy (...) of distributions (..., K), in nats."""
    # The product is 0 where the probability is 0, though its log is -inf.
    return -(log_probabilities.exp() * log_probabilities.clamp_min(-1e4)).sum(-1)


def evaluate(
    predictions: Predictions, labels: Tensor, bins: int, stochastic: bool, ranked: bool = False
) -> dict:
    """All metrics of `predictions` against `labels` (N,) int64.

    Returns:
        A float for each name in `METRICS`: accuracy; negative log-likelihood (nats an image); Brier
        score (sum over classes of squared errors, mean over images); ECE and MACE over `bins`
        equal-width bins of the confidence; entropy of the predictive distribution (nats);
        mutual information of label and weights (nats), None unless `stochastic`. If `ranked`, of
        two classes, also for each name in `RANKING`: `ranking` of the second class, None where it
        is not defined.
    """
    log_probabilities = predictions.log_probabilities
    probabilities = log_probabilities.exp()
    confidence, predicted = probabilities.max(-1)
    correct = (predicted == labels).double()
    one_hot = torch.nn.functional.one_hot(labels, probabilities.shape[-1])
    ece, mace = calibration_errors(confidence, correct, bins)
    entropy = entropy_of(log_probabilities).mean()
    values = torch.stack(
        [
            correct.mean(),
            -log_probabilities.gather(-1, labels[:, None]).double().mean(),
            (probabilities - one_hot).square().sum(-1).double().mean(),
            ece,
            mace,
            entropy.double(),
            # Jensen makes it >= 0; rounding may not.
            (entropy - predictions.expected_entropy.mean()).clamp_min(0).double(),
        ]
    )
    names: tuple[str, ...] = METRICS
    if ranked:
        names = (*METRICS, *RANKING)
        odds = log_probabilities[:, 1] - log_probabilities[:, 0]  # they do not round to 1
        values = torch.cat([values, torch.stack(ranking(odds, labels == 1))])
    found = dict(zip(names, values.tolist(), strict=True))
    undefined = {name: None for name in RANKING if math.isnan(found.get(name, 0))}
    return found | undefined | ({} if stochastic else {"mutual_information": None})


def ranking(scores: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
    """(AUC, average precision) of scores (N,), the higher the more `positive` (N,) bool; float64.

    AUC is the share of pairs of a positive and a negative in which the positive scores higher;
    equal scores count half (Mann and Whitney, 1947). Average precision is the mean, over the
    positives, of the precision at a threshold of their score. NaN where either class is missing.
    """
    order = scores.sort()
    below = torch.searchsorted(order.values, scores)
    up_to = torch.searchsorted(order.values, scores, right=True)
    # Of whole numbers, of which GPUs have a deterministic sum: how many positives come before.
    before = torch.cat([order.indices.new_zeros(1), positive[order.indices].long().cumsum(0)])
    positives, negatives = positive.sum(), (~positive).sum()
    higher = (up_to + below).double() / 2 - (before[up_to] + before[below]).double() / 2
    auc = (higher * positive).sum() / (positives * negatives)
    precision = (positives - before[below]).double() / (len(scores) - below)
    average = (precision * positive).sum() / positives
    return auc, torch.where(negatives > 0, average, math.nan)


def calibration_errors(confidence: Tensor, correct: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """(ECE, MACE): the bins' gaps |accuracy - confidence|, averaged over images and over bins.

    MACE (arXiv 2602.18825) is the unweighted mean over non-empty bins; bin i of n holds the
    confidences in (i/n, (i+1)/n].

    Args:
        confidence: (N,) the predicted class's probability.
        correct: (N,) 1 where the prediction is right, else 0.
        bins: the number of equal-width bins.
    """
    index = ((confidence * bins).ceil().long() - 1).clamp(0, bins - 1)
    sums = torch.zeros(3, bins, dtype=torch.float64, device=confidence.device)
    rows = torch.stack([torch.ones_like(correct), correct, confidence.double()])
    count, hits, total = sums.index_add_(1, index, rows)
    filled = count > 0
    gaps = torch.where(filled, (hits - total).abs() / count.clamp_min(1), 0)
    return (gaps * count).sum() / count.sum(), gaps.sum() / filled.sum()
