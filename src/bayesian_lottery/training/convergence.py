"""Whether chains of draws agree in what they predict.

Split R-hat and effective sample sizes of Vehtari et al. 2021, Rank-normalization, folding, and
localization: an improved R-hat (Bayesian Analysis 16), by arviz-stats: R-hat is the larger of the
rank-normalised and the folded one, the bulk's size is that of rank-normalised values, and the
tail's the smaller of the 5 and 95 % quantiles'.

They are of predictions: of the log-likelihood of all test images, and of the class probabilities of
some of them. Weights have symmetries (hidden units can change places and signs), so that chains
which agree in every prediction may have another R-hat of weights, and mean nothing by it.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from bayesian_lottery.errors import InputError
from bayesian_lottery.meter import Meter
from bayesian_lottery.training.draws import Draws, read

QUANTITIES = 2560  # class probabilities that are looked at: each takes milliseconds
FEWEST = 4  # draws a chain: of fewer there is no split R-hat
HIGHEST = 1000.0  # R-hats above are told as this: that of chains which never move is infinite
TAILS = (0.05, 0.95)
MEASURES = {"rhat": "R-hat", "ess_bulk": "bulk ESS", "ess_tail": "tail ESS"}  # in words


def load(paths: Sequence[Path]) -> list[Draws]:
    """The chains of these files.

    Raises:
        InputError: a file is no good, or the chains are not of the same draws, images and classes.
    """
    chains = [read(path) for path in paths]
    shape = tuple(chains[0].probabilities.shape)
    for path, chain in zip(paths, chains, strict=True):
        if tuple(chain.probabilities.shape) != shape:
            raise InputError(
                f"{path}: its probabilities have shape {tuple(chain.probabilities.shape)}, and "
                f"those of {paths[0]} {shape}; only chains of one shape can be compared."
            )
    return chains


def diagnose(chains: Sequence[Draws], rhat: float, ess: float) -> dict:
    """R-hat and effective sample sizes of several chains, and whether they agree.

    They agree where the log-likelihood, and 95 % of the class probabilities, have an R-hat of at
    most `rhat`, and effective sample sizes of at least `ess`, bulk and tail. The extremes of
    thousands of probabilities are told and judge nothing: of independent draws they are beyond such
    limits, too.

    Args:
        chains: of the same number of draws, images and classes.
        rhat, ess: the limits.

    Returns:
        `chains`, `draws` of each, and `quantities`, how many probabilities were compared; whether
        they have `converged`, and the `reason` if not. Unless draws are too few to know, of each of
        `MEASURES` that of the log-likelihood (`rhat_log_likelihood`), and of the probabilities the
        worst (`rhat_max`, `ess_bulk_min`), the one that 95 % reach (`rhat_95`) and the median.
    """
    quantities = _quantities(chains)
    draws, count = quantities.shape[1], quantities.shape[2] - 1
    told = {"chains": len(chains), "draws": draws, "quantities": count}
    if draws < FEWEST:
        reason = f"{draws} draws a chain are too few to know"
        return {**told, "converged": False, "reason": reason}
    reasons = []
    for name, values in _measured(quantities).items():
        numbers = _summary(name, values)
        told |= numbers
        for which, of in _JUDGED.items():
            value = numbers.get(f"{name}_{which}")
            if value is not None and (value > rhat if name == "rhat" else value < ess):
                limit = f"above {rhat:g}" if name == "rhat" else f"below {ess:g}"
                reasons.append(f"the {MEASURES[name]} of {of} is {value:.3g}, {limit}")
    return {**told, "converged": not reasons, "reason": "; ".join(reasons)}


_JUDGED = {"log_likelihood": "the log-likelihood", "95": "over 5 % of the class probabilities"}


def _quantities(chains: Sequence[Draws]) -> np.ndarray:
    """(chains, draws, 1 + quantities) float64: the log-likelihood, then class probabilities.

    These are of the first images, as many as `QUANTITIES` allows; those that no draw changes, such
    as 0 in float16, are left out.
    """
    classes = chains[0].probabilities.shape[-1]
    images = max(1, QUANTITIES // classes)
    kept = [chain.probabilities[:, :images].flatten(1).double() for chain in chains]
    whole = np.stack(
        [
            torch.cat([chain.log_likelihood[:, None].double(), probabilities], 1).numpy()
            for chain, probabilities in zip(chains, kept, strict=True)
        ]
    )
    changes = np.ptp(whole, (0, 1)) > 0
    changes[0] = True
    return whole[..., changes]


def _measured(quantities: np.ndarray) -> dict[str, np.ndarray]:
    """The `MEASURES` of each quantity; where nothing moves within a chain, the worst that is told.

    Args:
        quantities: (chains, draws, Q).
    """
    from arviz_stats.base import array_stats  # here, for it takes seconds to load

    measures: dict[str, Callable[[np.ndarray], float]] = {
        "rhat": array_stats.rhat,
        "ess_bulk": partial(array_stats.ess, method="bulk"),
        "ess_tail": partial(array_stats.ess, method="tail", prob=TAILS),
    }
    total = quantities.shape[-1]
    meter = Meter("measure", len(measures) * total)
    results = {}
    for number, (name, measure) in enumerate(measures.items()):
        values = np.empty(total)
        for index in range(total):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # of a division by 0
                values[index] = measure(quantities[..., index])
            meter.show(number * total + index + 1)
        if name == "rhat":
            results[name] = np.nan_to_num(values, nan=HIGHEST).clip(max=HIGHEST)
        else:
            results[name] = np.nan_to_num(values, nan=0.0)
    meter.close()
    return results


def _summary(name: str, values: np.ndarray) -> dict[str, float]:
    """What is told of a measure: of the log-likelihood, the first value, and of the others."""
    told, others = {f"{name}_log_likelihood": float(values[0])}, values[1:]
    if others.size:
        worst, share = ("max", 0.95) if name == "rhat" else ("min", 0.05)
        told[f"{name}_{worst}"] = float(getattr(others, worst)())
        told[f"{name}_95"] = float(np.quantile(others, share))
        told[f"{name}_median"] = float(np.median(others))
    return told
