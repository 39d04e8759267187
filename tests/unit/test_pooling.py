"""Pools: whose predictions they average, what is refused, and that numbers are the mean's."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_study import SmallStudy
from torchmetrics.classification import MulticlassCalibrationError

from bayesian_lottery import study
from bayesian_lottery.errors import InputError
from bayesian_lottery.files import read_json, read_tensors, write_json, write_tensors
from bayesian_lottery.findings import results
from bayesian_lottery.findings.claims import verdicts
from bayesian_lottery.findings.claims.subjects import series
from bayesian_lottery.study import node_metrics
from bayesian_lottery.training import convergence, draws
from bayesian_lottery.training.pooling import Members, write_pool

MODEL = "lenet_100_50"
KINDS = {"pooled": {"pool": "reinit", "members": 2}, "seeds_of": {"pool": "seeds", "members": 2}}
BRANCHES = [
    {"branch": "reinit", "levels": [0], "inference": "deterministic", "replicates": 2},
    {"branch": "pooled", "levels": [0], "inference": "deterministic"},
]


@pytest.fixture(scope="module")
def pooled(tmp_path_factory) -> SmallStudy:
    """A study whose pool has two members, trained."""
    small = SmallStudy(tmp_path_factory.mktemp("pool"), branch_kinds=KINDS, branches=BRANCHES)
    for member in study.members(small.config, pool_of(small)):
        small.train(member)
    return small


def pool_of(small: SmallStudy) -> study.Node:
    return small.node(MODEL, branch="pooled")


def write(small: SmallStudy, node: study.Node, chosen: list[int]) -> dict:
    """Write a pool of some members of the node; its metrics."""
    task, starts = study.task(small.config, node), small.inputs(node)
    files = ([Path(starts[f"{name}{i}"]) for i in chosen] for name in ("predictions", "metrics"))
    folder = small.path(node, "")
    write_pool(task["node"], task["settings"], small.data, Members(*files), folder)
    return node_metrics.read(folder / "metrics.json")


def test_numbers_are_those_of_the_mean(pooled):
    """Against numpy in float64, and torchmetrics for the calibration error."""
    node = pool_of(pooled)
    metrics = write(pooled, node, [0, 1])
    labels = np.arange(50) % 10
    each = []
    for i in range(2):
        own = read_tensors(pooled.inputs(node)[f"predictions{i}"])[0]["probabilities"].double()
        each.append((own / own.sum(-1, keepdim=True)).numpy())
    mean = np.mean(each, 0)
    entropy = -(mean * np.log(mean)).sum(-1).mean()
    expected = {
        "accuracy": (mean.argmax(-1) == labels).mean(),
        "nll": -np.log(mean[np.arange(50), labels]).mean(),
        "brier": ((mean - np.eye(10)[labels]) ** 2).sum(-1).mean(),
        "entropy": entropy,
        "mutual_information": entropy
        - np.mean([-(p * np.log(np.maximum(p, 1e-300))).sum(-1).mean() for p in each]),
    }
    found = metrics["results"]["final"]
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)
    ece = MulticlassCalibrationError(10, n_bins=10)(torch.tensor(mean), torch.tensor(labels))
    assert found["ece"] == pytest.approx(float(ece), abs=1e-6)
    assert found["mutual_information"] > 0
    members = [read_json(pooled.inputs(node)[f"metrics{i}"]) for i in range(2)]
    total = sum(member["cost"]["seconds"] for member in members)
    assert metrics["cost"]["seconds"] == pytest.approx(total)
    assert metrics["layers"] == members[0]["layers"]
    kept, _ = read_tensors(pooled.path(node, "predictions.safetensors"))
    assert np.abs(kept["probabilities"].numpy() - mean).max() < 1e-3
    row = results.tables([pooled.path(node, "metrics.json")]).runs.iloc[0]
    assert row["members"] == 2 and np.isnan(row["rhat_max"])


def test_identical_members_are_the_member(pooled):
    node = pool_of(pooled)
    found = write(pooled, node, [0, 0])["results"]["final"]
    own = read_json(pooled.inputs(node)["metrics0"])["results"]["final"]
    for name in ("accuracy", "nll", "brier", "entropy", "ece"):
        assert found[name] == pytest.approx(own[name], abs=2e-3), name  # kept in float16
    assert found["mutual_information"] == pytest.approx(0, abs=1e-12)


def test_it_is_not_known_of_a_pool_what_is_not_known_of_its_members(pooled, tmp_path):
    node = pool_of(pooled)
    starts, task = pooled.inputs(node), study.task(pooled.config, node)
    members = [
        tmp_path / member.folder / "metrics.json" for member in study.members(pooled.config, node)
    ]
    for told, expected in {(True, True): True, (True, False): False, (None, None): None}.items():
        for i, connected in enumerate(told):
            metrics = {**read_json(starts[f"metrics{i}"]), "connected": connected}
            write_json(members[i], metrics)
        files = Members([Path(starts[f"predictions{i}"]) for i in range(2)], members)
        folder = tmp_path / node.folder
        write_pool(task["node"], task["settings"], pooled.data, files, folder)
        assert read_json(folder / "metrics.json")["connected"] is expected


def test_members_of_other_data_are_refused(pooled, tmp_path):
    node = pool_of(pooled)
    starts, task = pooled.inputs(node), study.task(pooled.config, node)
    other = tmp_path / "predictions.safetensors"
    write_tensors(other, {"probabilities": torch.full((40, 10), 0.1).half()})
    metrics = [Path(starts[f"metrics{i}"]) for i in range(2)]
    members = Members([Path(starts["predictions0"]), other], metrics)
    with pytest.raises(InputError, match=r"shape \(40, 10\), and digits has 50 test images"):
        write_pool(task["node"], task["settings"], pooled.data, members, tmp_path)
    settings = {**task["settings"], "dataset": "other"}
    with pytest.raises(InputError, match="of digits, and the pool is of other"):
        write_pool(task["node"], settings, pooled.data, members, tmp_path)


def chain(stream: np.random.Generator, shift: float, length: int = 200) -> draws.Draws:
    """Independent draws of three images' predictions, their logits shifted."""
    logits = torch.tensor(stream.normal(shift, 1, (length, 3, 4)))
    logits[:, 0] += torch.tensor([100.0, 0, 0, 0])  # a probability of 1 in every draw
    likelihood = torch.tensor(stream.normal(shift, 1, length))
    return draws.Draws(logits.softmax(-1).half(), likelihood)


def test_chains_agree_or_not():
    """Against R-hat by hand: W and B of the halves' ranks' normal scores."""
    stream = np.random.default_rng(0)
    same = convergence.diagnose([chain(stream, 0), chain(stream, 0)], 1.05, 100)
    assert same["converged"] and same["reason"] == "" and same["quantities"] == 8
    assert 0.99 < same["rhat_median"] < 1.02 and 300 < same["ess_bulk_median"] < 500
    one, other = chain(stream, 0), chain(stream, 0)
    apart = draws.Draws(other.probabilities, other.log_likelihood + 3)
    told = convergence.diagnose([one, apart], 1.05, 100)
    assert not told["converged"] and "R-hat of the log-likelihood is" in told["reason"]
    assert told["rhat_95"] < 1.05
    halves = np.concatenate([np.split(d.log_likelihood.numpy(), 2) for d in (one, apart)])
    assert told["rhat_log_likelihood"] == pytest.approx(by_hand(halves), abs=1e-6)


def by_hand(halves: np.ndarray) -> float:
    """Rank-normalised split R-hat, Vehtari et al. 2021, equations 1 to 4 and 14."""
    from scipy import stats

    ranks = stats.rankdata(halves).reshape(halves.shape)
    values = stats.norm.ppf((ranks - 3 / 8) / (halves.size + 1 / 4))
    n = values.shape[1]
    within, between = values.var(1, ddof=1).mean(), n * values.mean(1).var(ddof=1)
    return float(np.sqrt(((n - 1) / n * within + between / n) / within))


def test_chains_that_stand_still_do_not_agree():
    stream = np.random.default_rng(0)
    still = chain(stream, 0)
    fixed = draws.Draws(still.probabilities[:1].repeat(9, 1, 1), torch.zeros(9).double())
    other = draws.Draws(fixed.probabilities, torch.ones(9).double())
    told = convergence.diagnose([fixed, other], 1.05, 100)
    assert told["rhat_log_likelihood"] == convergence.HIGHEST and not told["converged"]
    short = convergence.diagnose([chain(stream, 0, 3)] * 2, 1.05, 100)
    assert short["reason"] == "3 draws a chain are too few to know" and "rhat_max" not in short


def test_pool_tells_what_its_chains_do_and_claims_say_so(pooled, tmp_path):
    node = pool_of(pooled)
    stream = np.random.default_rng(0)
    paths = [tmp_path / f"draws{i}.safetensors" for i in range(2)]
    for shift, path in enumerate(paths):
        draws.write(path, chain(stream, 5 * shift), node.coordinates())
    limits = {"convergence": {"rhat": 1.05, "ess": 100}}
    task, starts = study.task(pooled.config, node), pooled.inputs(node)
    files = ([Path(starts[f"{n}{i}"]) for i in range(2)] for n in ("predictions", "metrics"))
    members = Members(*files, paths)
    folder = tmp_path / node.folder
    write_pool(task["node"], {**task["settings"], **limits}, pooled.data, members, folder)
    row = results.tables([folder / "metrics.json"]).runs
    assert results.disagreeing(row).all() and row["rhat_log_likelihood"].iloc[0] > 1.05
    values = series(row.assign(level=1), "final_accuracy")
    assert not values["converged"].any()
    found = verdicts.interval([0.9, 0.91, 0.92], 0.95)
    verdict, reason = verdicts.judge(verdicts.unconverged(found), verdicts.beats(0.0))
    assert verdict == verdicts.UNDECIDED and "chains" in reason


@pytest.mark.parametrize(
    ("kinds", "branches", "message"),
    [
        ({"a": {"pool": "reinit"}}, [], "branch_kinds.a.pool: it needs branch_kinds.a.members"),
        ({"a": {"members": 2}}, [], "branch_kinds.a.members: it needs branch_kinds.a.pool"),
        ({"a": {"pool": "reinit", "members": 1}}, [], "must be a whole number of at least 2"),
        ({"a": {"pool": "nothing", "members": 2}}, [], "branch_kinds.a.pool: 'nothing'"),
        (
            {**KINDS, "a": {"pool": "pooled", "members": 2}}, [],
            "branch_kinds.a.pool: 'pooled' is a pool itself",
        ),
        (
            {"a": {"pool": "reinit", "members": 2, "weights": "signs"}}, [],
            "branch_kinds.a.weights: a pool trains nothing",
        ),
        (KINDS, BRANCHES[1:], "pools replicates 0 to 1 of reinit"),
        (KINDS, [{"branch": "seeds_of", "levels": [1]}], "pools its level at seeds 0 to 1"),
        (
            {**KINDS, "seeds": {"weights": "signs"}}, [],
            "branch_kinds.seeds_of.pool: 'seeds' is the level at several seeds",
        ),
    ],
)  # fmt: skip
def test_refusals_are_one_sentence(tmp_path, kinds, branches, message):
    with pytest.raises(InputError, match=message):
        SmallStudy(tmp_path, prepare=False, branch_kinds=kinds, branches=branches)


def test_replicates_of_a_pool_share_no_member(tmp_path):
    branches = [{**BRANCHES[0], "replicates": 4}, {**BRANCHES[1], "replicates": 2}]
    small = SmallStudy(tmp_path, prepare=False, branch_kinds=KINDS, branches=branches)
    first = pool_of(small)
    second = replace(first, replicate=1)
    numbers = [m.replicate for node in (first, second) for m in study.members(small.config, node)]
    assert numbers == [0, 1, 2, 3]
    assert study.trained(small.config, first).inference == "deterministic"
    wanted = {"predictions0", "predictions1", "metrics0", "metrics1", "data"}
    assert set(study.node_inputs(small.config, first)) == wanted
