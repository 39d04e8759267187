"""A made-up study of posteriors on the masks of tickets: metrics, predictions and draws."""

import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from unittest import mock

import synthetic
import torch

from bayesian_lottery.files import write_tensors
from bayesian_lottery.findings import arms

PIECES = {
    "chain": {"inference": "hmc_long", "weights": "reinitialised"},
    "sampled": {"pool": "chain", "members": 2},
    "chain_even": {"inference": "hmc_long", "mask": "shuffle_even"},
    "sampled_even": {"pool": "chain_even", "members": 2},
    "anew": {"weights": "reinitialised"},
    "ensemble": {"pool": "anew", "members": 5},
    "vi": {"inference": "bayesian"},
    "tuned_vi": {"inference": "population"},
}
# What `study.arms` tells of the study.
TOLD = {
    "arms": {
        "branches": PIECES,
        "inferences": {"hmc_long": "hmc", "population": "tuned"},
        "convergence": {"rhat": 1.04, "ess": 100},
    }
}
REPLICATES = {"anew": 5, "chain": 2, "chain_even": 2}
CHAINS = ("chain", "chain_even")
IMAGES, DRAWS, KEPT = 200, 150, 20  # test images, draws of a chain, images whose draws are kept
LABELS = torch.nn.functional.one_hot(torch.arange(IMAGES) % 10, 10)
# How far from the sampler's each arm's logits are, what it gains, and the gradients it takes.
FAR = {None: 2.0, "anew": 2.5, "ensemble": 0.8, "vi": 1.2, "tuned_vi": 0.6, "sampled": 0.0}
GAINS = {"sampled": 0.02, "sampled_even": -0.02, "ensemble": 0.015, "vi": 0.0, "tuned_vi": 0.01}
SPENT = {"sampled": 4000, "sampled_even": 4000, "ensemble": 200, "vi": 400, "tuned_vi": 3200}


def branches(
    models=("resnet20",), seeds=(0, 1), levels=(0, 3, 6), disagree: int = 20
) -> Iterator[dict]:
    """The metrics of all branches from some levels of deterministic trunks.

    disagree: the first level at which the chains of samplers do.
    """
    for model in models:
        for seed in seeds:
            for level in levels:
                for branch in PIECES:
                    for replicate in range(REPLICATES.get(branch, 1)):
                        yield _metrics(model, seed, level, branch, replicate, level < disagree)


def _metrics(
    model: str, seed: int, level: int, branch: str, replicate: int, converged: bool
) -> dict:
    made = synthetic.metrics(
        level, model=model, inference="deterministic", scorer="magnitude", seed=seed,
        branch=branch, replicate=replicate,
    )  # fmt: skip
    for result in made["results"].values():
        result["accuracy"] += GAINS.get(branch, -0.005)
    made["sampling"] = {"gradients": SPENT.get(branch, 40)}
    if "pool" in PIECES[branch]:
        own = {**made["node"], "branch": PIECES[branch]["pool"]}
        made["members"] = [{**own, "replicate": number} for number in range(2)]
    if branch.startswith("sampled"):
        known = {"chains": 2, "draws": DRAWS, "quantities": IMAGES, "reason": ""}
        made["convergence"] = {**known, "converged": converged}
    return made


def trunks(models=("resnet20",), seeds=(0, 1), levels=(0, 3, 6)) -> Iterator[dict]:
    """The metrics of the tickets that `branches` start from."""
    for model in models:
        for seed in seeds:
            for level in levels:
                yield synthetic.metrics(
                    level, model=model, inference="deterministic", scorer="magnitude", seed=seed
                )


def write(root: Path, nodes: Iterable[Mapping]) -> None:
    """Write the predictions that the table of agreement compares, and the draws of chains.

    Of one level all predictions are near the same ones, those of the sampler.
    """
    nodes = list(nodes)
    compared = [node for pair in arms.compared(nodes, TOLD["arms"]) for node in pair]
    chains = [node for node in nodes if node["branch"] in CHAINS]
    with mock.patch("os.fsync"):  # what is made up need not survive a power cut
        for folder, node in {arms.folder(node): node for node in [*compared, *chains]}.items():
            _write(root / folder, node)


def _write(folder: Path, node: Mapping) -> None:
    shared = torch.Generator().manual_seed(node["level"])
    own = torch.Generator().manual_seed(zlib.crc32(arms.folder(node).encode()))
    logits = 3 * LABELS + torch.randn(IMAGES, 10, generator=shared)
    logits = logits + FAR.get(node["branch"], 1.5) * torch.randn(IMAGES, 10, generator=own)
    probabilities = {"probabilities": logits.softmax(-1).half()}
    write_tensors(folder / "predictions.safetensors", probabilities)
    if node["branch"] in CHAINS:
        walk = torch.randn(DRAWS, generator=own).double().cumsum(0) / 8 + 5 * node["replicate"]
        wander = torch.randn(DRAWS, KEPT, 10, generator=own) + logits[:KEPT]
        draws = {"log_likelihood": walk, "probabilities": wander.softmax(-1).half()}
        write_tensors(folder / "draws.safetensors", draws)


def chain_files(root: Path, plan: object) -> dict[str, Path]:
    """The draws that a plan shows, by its names; most plans show none."""
    chains = getattr(plan, "chains", {})
    return {name: root / arms.folder(where) / "draws.safetensors" for name, where in chains.items()}
